import csv
import json
import shutil
from dataclasses import replace
from typing import ClassVar

import pytest
import torch

from discover.equations.equation import Equation
from discover.equations.library import PolynomialLibrary
from discover.latent.autoencoder import Architecture, Autoencoder
from discover.latent.laligan import LaLiGAN
from discover.latent.symmetry import LatentSymmetry
from discover.latent.windows import prepare_windows
from equivariant import LieAlgebra
from tasks.common.results import ResultTable, Target
from tasks.latent import metrics, report, runner
from tasks.latent.data import Trajectories
from tasks.latent.forecasting import find_equation, latent_motion
from tasks.latent.report import write_latent_report
from tasks.latent.results import LatentResults, SeedResult
from tasks.latent.study import LatentStudy
from tasks.latent.systems.presets import SYSTEMS, System

pytest.importorskip("pysindy", reason="equations need the extra sindy: pip install 'liesmith[sindy]'")

TURN = torch.tensor([[[0.0, -1.0], [1.0, 0.0]]])


def circle(seed=0, n=3, steps=100, time_step=0.1):
    """Circles of several radii, with exact rates: z1' = -z2, z2' = z1."""
    radius = 0.5 + torch.rand(n, 1, generator=torch.Generator().manual_seed(seed))
    angle = time_step * torch.arange(steps) + torch.arange(n)[:, None]
    states = radius[..., None] * torch.stack([angle.cos(), angle.sin()], dim=-1)
    rates = torch.stack([-states[..., 1], states[..., 0]], dim=-1)
    return Trajectories(
        name="circle", states=states, time_step=time_step, coordinates=("x", "y"), rates=rates
    )


class StubLaLiGAN(LaLiGAN):
    """In place of the estimator: a linear autoencoder that knows the plane, and a record of what it was given."""

    runs: ClassVar[list] = []

    def fit(self, trajectories, coefficients=None, rates=None):
        self.runs.append(vars(self) | {"rates": rates})
        windows, _ = prepare_windows(
            trajectories, window=self.window, stride=self.stride, tolerance=self.reduction
        )
        kept = windows.split(self.held_out, self.seed)[1]
        about = {"config": self.config(), "data": kept.digest}
        self.symmetry_ = LatentSymmetry(plane(), LieAlgebra(TURN.double(), provenance=about))
        self.reconstruction_error_, self.diagnosis_ = 0.0, "Nothing wrong was seen."
        self.history_ = [{"step": 50.0, "reconstruction": 1e-3}, {"step": 100.0, "reconstruction": 1e-4}]
        linear = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
        self.equation_ = (
            None if self.gan_weight else Equation(PolynomialLibrary(dim=2, degree=1, constant=False), linear)
        )
        return self


def plane():
    """An autoencoder of (2,) that changes nothing."""
    made = Autoencoder(Architecture(encoder="mlp", shape=(2,), latent_dim=2, modes=0, width=4, depth=0))
    for module in made.modules():
        if isinstance(module, torch.nn.Linear):
            torch.nn.init.eye_(module.weight)
            torch.nn.init.zeros_(module.bias)
    return made


@pytest.fixture(scope="module")
def stub():
    """The stub in place of LaLiGAN, and two systems: a circle, and the same with the discovery alone."""
    circles = System(
        title="Circle",
        simulate=lambda seed, discard, quick: circle(seed),
        settings={"latent_dim": 2},
        energy=lambda x: x.square().sum(-1),
        forecast=True,
        baseline=True,
        targets=(
            Target(measure="energy_drift", at_most=0.02),
            Target(measure="terms", at_least=2, at_most=2),
        ),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SYSTEMS, "circle", circles)
        patch.setitem(SYSTEMS, "short", replace(circles, forecast=False, baseline=False))
        patch.setattr(runner, "LaLiGAN", StubLaLiGAN)
        yield StubLaLiGAN.runs


@pytest.fixture
def study(tmp_path, stub):
    stub.clear()
    return LatentStudy(out=tmp_path / "run", progress=False)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, stub):
    """One run with its page, shared by the tests that look at what it left."""
    stub.clear()
    study = LatentStudy(out=tmp_path_factory.mktemp("circle"), seeds=2, progress=False)
    results = study.run("circle")
    return study, results, write_latent_report(study, results), list(stub)


def test_a_run_leaves_everything_in_one_folder(finished):
    study, results, *_ = finished
    left = {path.name for path in study.out.iterdir()}
    assert {"results.json", "results.csv", "equations.txt", "report.html", "orbit.gif", "run.json"} <= left
    assert {"symmetry.safetensors", "adapted.safetensors"} <= {
        path.name for path in (study.out / "seed-0").iterdir()
    }
    assert [result.seed for result in results.seeds] == [0, 1]
    gif = (study.out / "orbit.gif").read_bytes()
    assert gif[:3] == b"GIF"
    assert len(gif) < 1_500_000


def test_the_first_screen_has_the_group_the_equation_the_gain_and_how_sure(finished):
    study, _, headline, _ = finished
    assert headline.found == "Rotation in a plane of 2 latent coordinates, so(2): z1' = -z2, z2' = z1"
    assert headline.gain.startswith("Largest forecast error on the unseen last fifth: ")
    assert headline.gain.endswith(" without (SINDy autoencoder)")
    assert headline.sure.startswith(
        "Sure: 2 of 2 targets are met by all seeds (relative change of the energy"
    )
    assert headline.passed
    assert headline.warning == ""
    page = (study.out / "report.html").read_text()
    assert page.index(headline.gain) < page.index('src="data:image/gif;base64,') < page.index("<details>")
    assert page.index("<details>") < page.index("constrained whole forecast late")
    assert "-0.00" not in page


def test_a_quick_run_says_so_and_a_missed_target_is_named(study):
    study.quick = True
    results = study.run("short")
    results.targets = (Target(measure="energy_drift", at_least=1.0),)
    headline = report.describe(study, results, study_symmetry(study))
    assert headline.warning.startswith("A quick run")
    assert headline.sure.startswith("Not sure: the target is not met")
    assert not headline.passed
    assert headline.gain.startswith("Error of dz/dt: ")


def test_figures_of_a_known_circle_are_known(finished):
    first = finished[1].seeds[0]
    assert first.measures["cosine_inner"] == pytest.approx(1)
    assert first.measures["energy_drift"] < 1e-5
    assert first.measures["terms"] == 2
    assert first.measures["coefficient_mismatch"] < 1e-4
    assert first.measures["equation_frequency"] == pytest.approx(1, rel=1e-4)
    assert first.measures["forecast_end"] < 1e-3
    assert first.measures["forecast_end_euler"] > 0.05
    assert first.equations["symmetry"] == "z1' = -z2\nz2' = z1"
    ways = [{f"{name}_{way}" for name in ("constrained", "free", "baseline")} for way in ("refined", "whole")]
    assert set(first.equations) == {"symmetry", "constrained", "baseline"} | ways[0] | ways[1]
    for name in ways[0]:
        assert first.measures[f"{name}_forecast_unseen"] < 1e-5
    assert first.measures["isometry_cosine"] == pytest.approx(1)
    assert first.curves["times"].shape == first.curves["constrained, refined"].shape
    assert any(word.startswith("constrained refined: error along trajectories") for word in first.words)
    assert first.curves["symmetry, rk"].shape == (100,)


def test_files_say_what_made_them(finished):
    folder = finished[0].out
    content = json.loads((folder / "results.json").read_text())
    assert content["command"].startswith("liesmith latent circle --out")
    assert "--seeds 2" in content["command"]
    assert content["config"]["laligan"] == {"latent_dim": 2}
    assert len(content["data"]["digest"]) == 64
    assert content["environment"]["versions"]["torch"]
    assert content["targets"][0]["measure"] == "energy_drift"
    assert ResultTable.read(folder / "results.json").summary()[0]["terms"].median == 2
    with (folder / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["seed"] for row in rows] == ["0", "1"]
    assert float(rows[0]["terms"]) == 2
    assert "seed 0, symmetry:\nz1' = -z2" in (folder / "equations.txt").read_text()


def test_settings_of_laligan_can_be_given(study, stub):
    study.laligan = "gan_weight=0.5, encoder=mlp"
    study.run("short")
    assert (stub[0]["gan_weight"], stub[0]["encoder"]) == (0.5, "mlp")
    for wrong in ("gan_weigth=1", "gan_weight"):
        with pytest.raises(ValueError, match="laligan"):
            LatentStudy(out=study.out, laligan=wrong).run("circle")


def test_finished_seeds_are_kept_and_an_unfinished_one_is_run(study, stub):
    study.seeds = 2
    study.run("short")
    shutil.rmtree(study.out / "seed-1")
    stub.clear()
    again = study.run("short")
    assert [run["seed"] for run in stub] == [1]
    assert len(again.seeds) == 2


def test_an_interrupted_seed_keeps_its_symmetry(study, stub, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(metrics, "generator_measures", interrupt)
        with pytest.raises(KeyboardInterrupt):
            study.run("short")
    stub.clear()
    assert study.run("short").seeds[0].measures["terms"] == 2
    assert not stub


def interrupt(*_):
    raise KeyboardInterrupt


@pytest.mark.parametrize("change", [{"seed": 3}, {"steps": 7}, {"system": "circle"}, {"discard": 1}])
def test_another_run_is_refused_unless_it_is_to_be_overwritten(study, change):
    study.run("short")
    before = (study.out / "results.json").read_bytes()
    other = LatentStudy(out=study.out, progress=False, **{k: v for k, v in change.items() if k != "system"})
    with pytest.raises(ValueError, match=r"belongs to another run .*--overwrite"):
        other.run(change.get("system", "short"))
    assert (study.out / "results.json").read_bytes() == before
    (study.out / "notes.txt").write_text("mine")
    other.overwrite = True
    assert [result.seed for result in other.run("short").seeds] == [other.seed]
    assert (study.out / "notes.txt").exists()
    assert (study.out / "seed-0").exists() == (other.seed == 0)


def test_equations_are_repeated_without_another_discovery(study, stub, monkeypatch):
    before = study.run("short").seeds[0]
    stub.clear()
    monkeypatch.setitem(SYSTEMS, "short", replace(SYSTEMS["short"], constrained={"degree": 1}))
    after = study.run("short").seeds[0]
    assert not stub
    assert after.run != before.run
    assert after.words[0] == before.words[0]
    assert after.seconds["discovery"] == before.seconds["discovery"]
    assert Equation.load(study.out / "seed-0" / "equation-constrained.safetensors").library.degree == 1


def test_files_of_other_data_are_refused(study, monkeypatch):
    study.run("short")
    other = replace(
        SYSTEMS["short"], constrained={"degree": 1}, simulate=lambda seed, discard, quick: circle(seed, n=2)
    )
    monkeypatch.setitem(SYSTEMS, "short", other)
    with pytest.raises(ValueError, match=r"other data or version 0\.1; give another --out"):
        study.run("short")


def test_a_baseline_that_fails_is_recorded(study, monkeypatch):
    def fails(self, *args, **kwargs):
        if not self.gan_weight:
            raise RuntimeError("NaN everywhere")
        return StubLaLiGAN.fit(self, *args, **kwargs)

    monkeypatch.setattr(runner, "LaLiGAN", type("Fails", (StubLaLiGAN,), {"fit": fails}))
    monkeypatch.setitem(SYSTEMS, "short", replace(SYSTEMS["short"], baseline=True))
    result = study.run("short").seeds[0]
    assert result.equations["baseline"] == "none: NaN everywhere"
    assert result.measures["terms"] == 2


def study_of(monkeypatch, study, autoencoder, generator, system="short"):
    """One seed of the study with this result of the training."""

    def fit(self, *args, **kwargs):
        StubLaLiGAN.fit(self, *args, **kwargs)
        self.symmetry_ = LatentSymmetry(
            autoencoder, LieAlgebra(generator, provenance=self.symmetry_.algebra.provenance)
        )
        return self

    monkeypatch.setattr(runner, "LaLiGAN", type("Other", (StubLaLiGAN,), {"fit": fit}))
    return study.run(system).seeds[0]


def test_equations_are_in_coordinates_adapted_to_the_group(study, monkeypatch):
    squeeze = torch.diag(torch.tensor([2.0, 1.0], dtype=torch.float64))
    generator = squeeze @ TURN.double() @ squeeze.inverse()
    result = study_of(monkeypatch, study, plane().in_frame(squeeze), generator)
    assert result.measures["coefficient_mismatch"] < 1e-4
    assert result.measures["coefficient_mismatch_learned"] == pytest.approx(0.75, abs=1e-3)
    assert result.measures["isometry_cosine"] == pytest.approx(1, abs=1e-6)
    assert result.equations["symmetry"] == "z1' = -z2\nz2' = z1"
    equation = Equation.load(study.out / "seed-0" / "equation-symmetry.safetensors")
    coder = LatentSymmetry.load(study.out / "seed-0" / "adapted.safetensors")
    z, rates = latent_motion(coder, SYSTEMS["short"].simulate(0, 0, False))
    torch.testing.assert_close(equation(z.double()), rates.double(), rtol=1e-4, atol=1e-5)


def test_the_latent_space_is_drawn_in_coordinates_adapted_to_the_group(study, monkeypatch):
    squeeze = torch.diag(torch.tensor([2.0, 1.0], dtype=torch.float64))
    generator = squeeze @ TURN.double() @ squeeze.inverse()
    first = study_of(monkeypatch, study, plane().in_frame(squeeze), generator)
    drawn, draw = [], report.draw_latent_motion
    monkeypatch.setattr(report, "draw_latent_motion", lambda seen, *a: drawn.append(seen) or draw(seen, *a))
    monkeypatch.setattr(report, "animate_orbit", lambda seen, *a, **k: drawn.append(seen) or b"GIF")
    write_latent_report(study, LatentResults(system="short", seeds=[first]))
    assert len(drawn) == 2
    for seen in drawn:
        basis = seen.algebra.basis[0]
        torch.testing.assert_close(basis, -basis.mT, rtol=1e-9, atol=1e-9)


def test_generators_that_do_not_rotate_leave_no_equivariant_equation(study, monkeypatch):
    result = study_of(monkeypatch, study, plane(), torch.diag(torch.tensor([1.0, -1.0]))[None].double())
    assert "no inner product" in result.equations["constrained"]
    assert result.measures["isometry_rank"] is None
    assert result.equations["symmetry"] == "z1' = -z2\nz2' = z1"


def test_each_stage_has_its_own_checkpoint_and_the_baseline_no_critic(finished):
    discovery, baseline = finished[3][:2]
    assert discovery["checkpoint"] == finished[0].out / "seed-0" / "checkpoints" / "discovery.pt"
    assert baseline["checkpoint"] != discovery["checkpoint"]
    assert baseline["gan_weight"] == 0
    assert baseline["equation"].degree == 2
    assert baseline["rates"] is not None


def test_held_out_data_differ_from_the_training_data():
    system = SYSTEMS["double-bump"]
    held = system.held_out(0, 0, True)
    assert held is not None
    assert held.digest != system.simulate(0, 0, True).digest
    assert SYSTEMS["reaction-diffusion"].held_out(0, 0, True) is None


@pytest.mark.parametrize("name", [name for name in SYSTEMS if "diffusion" not in name])
def test_every_system_simulates_quickly(name):
    data = SYSTEMS[name].simulate(0, 0, True)
    assert len(data) > 10
    assert (data.coefficients is None) == (SYSTEMS[name].degree > 0)


def test_latent_rates_are_those_of_the_encoded_data(stub, study):
    data = SYSTEMS["short"].simulate(0, 0, False)
    symmetry = study_symmetry(study)
    z, rates = latent_motion(symmetry, data, most=100)
    assert len(z) <= 100
    assert torch.allclose(rates, torch.stack([-z[:, 1], z[:, 0]], dim=-1), atol=1e-6)
    constrained = find_equation(z, rates, degree=2, symmetry=symmetry).equation_
    assert constrained.terms == 2
    with pytest.raises(ValueError, match="rates"):
        latent_motion(symmetry, SYSTEMS["double-bump"].simulate(0, 0, True))


def test_a_latent_coordinate_that_hardly_moves_has_no_terms():
    z, rates = circle().states.flatten(0, 1), circle().rates.flatten(0, 1)
    drift = 0.005 * z[:, :1].square()
    equation = find_equation(
        torch.cat([z, z.prod(1, keepdim=True)], 1), torch.cat([rates, drift], 1), degree=2
    )
    assert str(equation.equation_) == "z1' = -z2\nz2' = z1\nz3' = 0"


def study_symmetry(study):
    study.run("short")
    return LatentSymmetry.load(study.out / "seed-0" / "symmetry.safetensors")


def test_what_is_not_finite_becomes_none_on_disk(tmp_path):
    SeedResult(seed=1, run="r", measures={"a": float("inf"), "b": 1.0}).save(tmp_path)
    back = SeedResult.load(tmp_path)
    assert back is not None
    assert back.measures == {"a": None, "b": 1.0}
    assert SeedResult.load(tmp_path / "nowhere") is None
    (tmp_path / "result.json").write_text("{")
    with pytest.raises(ValueError, match="not a result of a seed"):
        SeedResult.load(tmp_path)


@pytest.mark.parametrize(
    ("settings", "name", "says"),
    [
        ({}, "sun", "unknown system 'sun'; choose from"),
        ({"seeds": 0}, "pendulum", "seeds"),
        ({"steps": 0}, "pendulum", "steps"),
        ({"discard": -1}, "pendulum", "discard"),
    ],
)
def test_settings_out_of_range_are_refused(settings, name, says, tmp_path):
    with pytest.raises(ValueError, match=says):
        LatentStudy(out=tmp_path, progress=False, **settings).run(name)
