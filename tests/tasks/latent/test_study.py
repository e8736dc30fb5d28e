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
from tasks.latent import report
from tasks.latent import runner as seeds
from tasks.latent.data import Trajectories
from tasks.latent.forecasting import find_equation, latent_motion
from tasks.latent.report import finish
from tasks.latent.results import LatentOutcome, SeedResult
from tasks.latent.study import LatentStudy
from tasks.latent.systems.presets import SYSTEMS, System, Target

pytest.importorskip("pysindy", reason="equations need the extra sindy: pip install 'liesmith[sindy]'")

TURN = torch.tensor([[[0.0, -1.0], [1.0, 0.0]]])


def circle(seed=0, n=3, steps=200, time_step=0.05):
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
    """The study with the stub and the circle instead of LaLiGAN and the systems' data."""
    known = System(
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
        patch.setitem(SYSTEMS, "circle", known)
        patch.setattr(seeds, "LaLiGAN", StubLaLiGAN)
        yield StubLaLiGAN.runs


@pytest.fixture
def study(tmp_path, stub):
    stub.clear()
    return LatentStudy(out=tmp_path / "run", seeds=2, progress=False)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, stub):
    """One run with its page, shared by the tests that look at what it left."""
    study = LatentStudy(out=tmp_path_factory.mktemp("circle"), seeds=2, progress=False)
    said = []
    outcome = study.run("circle", said.append)
    finish(study, outcome)
    return study.out, outcome, said


def test_a_run_leaves_everything_in_one_folder(finished):
    folder, outcome, said = finished
    left = {path.name for path in folder.iterdir()}
    assert {
        "results.json",
        "results.csv",
        "equations.txt",
        "report.html",
        "orbit.gif",
        "seed-0",
        "seed-1",
    } <= left
    assert {"symmetry.safetensors", "adapted.safetensors"} <= {
        path.name for path in (folder / "seed-0").iterdir()
    }
    assert [result.seed for result in outcome.results] == [0, 1]
    assert len(said) == 2
    assert "<svg" in (folder / "report.html").read_text()
    assert (folder / "orbit.gif").stat().st_size < 1_500_000
    assert (folder / "orbit.gif").read_bytes()[:3] == b"GIF"


def test_figures_of_a_known_circle_are_known(finished):
    first = finished[1].results[0]
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
    assert first.curves["symmetry, rk"].shape == (200,)


def test_files_say_what_made_them(finished):
    folder = finished[0]
    content = json.loads((folder / "results.json").read_text())
    assert content["command"].startswith("liesmith latent circle --out")
    assert "--seeds 2" in content["command"]
    assert content["config"]["laligan"] == {"latent_dim": 2}
    assert len(content["data"]["digest"]) == 64
    assert content["environment"]["versions"]["torch"]
    assert content["targets"][0]["measure"] == "energy_drift"
    with (folder / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["seed"] for row in rows] == ["0", "1"]
    assert float(rows[0]["terms"]) == 2
    assert "seed 0, symmetry:\nz1' = -z2" in (folder / "equations.txt").read_text()


def test_settings_of_the_game_can_be_given(study, stub):
    study.laligan, study.seeds = "gan_weight=0.5, encoder=mlp", 1
    study.run("circle")
    assert (stub[0]["gan_weight"], stub[0]["encoder"]) == (0.5, "mlp")
    assert stub[1]["gan_weight"] == 0
    for wrong in ("gan_weigth=1", "gan_weight"):
        with pytest.raises(ValueError, match="laligan"):
            LatentStudy(out=study.out, laligan=wrong).run("circle")


def test_finished_seeds_are_kept_and_an_unfinished_one_is_made(study, stub):
    study.run("circle")
    shutil.rmtree(study.out / "seed-1")
    stub.clear()
    again = study.run("circle")
    assert [run["seed"] for run in stub] == [1, 1]
    assert len(again.results) == 2


def test_seeds_of_other_processes_are_counted(study):
    LatentStudy(out=study.out, seed=5, progress=False).run("circle")
    study.seeds = 1
    assert [result.seed for result in study.run("circle").results] == [0, 5]


def test_a_folder_of_other_settings_is_refused(study):
    study.run("circle")
    with pytest.raises(ValueError, match="other settings"):
        LatentStudy(out=study.out, steps=7, progress=False).run("circle")


def test_equations_are_remade_without_another_discovery(study, stub, monkeypatch):
    study.seeds = 1
    before = study.run("circle").results[0]
    stub.clear()
    monkeypatch.setitem(SYSTEMS, "circle", replace(SYSTEMS["circle"], constrained={"degree": 1}))
    after = study.run("circle").results[0]
    assert not stub
    assert after.run != before.run
    assert after.words[0] == before.words[0]
    assert after.measures["reconstruction_error"] == before.measures["reconstruction_error"]
    assert after.seconds["discovery"] == before.seconds["discovery"]
    assert Equation.load(study.out / "seed-0" / "equation-constrained.safetensors").library.degree == 1


def test_other_data_need_another_discovery(study, monkeypatch):
    study.seeds = 1
    study.run("circle")
    other = replace(
        SYSTEMS["circle"], constrained={"degree": 1}, simulate=lambda seed, discard, quick: circle(seed, n=2)
    )
    monkeypatch.setitem(SYSTEMS, "circle", other)
    with pytest.raises(ValueError, match="other data"):
        study.run("circle")


@pytest.mark.parametrize(("rate", "fits"), [(2e-2, True), (3e-3, False)])
def test_settings_of_version_0_1_are_read_under_their_old_names(rate, fits, study, stub, monkeypatch):
    study.seeds = 1
    study.run("circle")
    path = study.out / "seed-0" / "symmetry.json"
    record = json.loads(path.read_text())
    names = {"learning_rate": "rate", "distribution": "law", "evaluation_steps": "judge_steps"}
    record["settings"] = {names.get(n, n): value for n, value in record["settings"].items()} | {"rate": rate}
    path.write_text(json.dumps(record))
    monkeypatch.setitem(SYSTEMS, "circle", replace(SYSTEMS["circle"], constrained={"degree": 1}))
    stub.clear()
    if fits:
        study.run("circle")
        assert not stub
    else:
        with pytest.raises(ValueError, match="other settings"):
            study.run("circle")


def test_a_symmetry_without_a_record_is_known_by_its_provenance(study, stub):
    study.seeds = 1
    study.run("circle")
    seed = study.out / "seed-0"
    (seed / "symmetry.json").unlink()
    result = json.loads((seed / "result.json").read_text())
    (seed / "result.json").write_text(json.dumps(result | {"run": "an older one"}))
    stub.clear()
    assert study.run("circle").results[0].measures["reconstruction_error"] == 0
    assert not stub
    (seed / "result.json").unlink()
    study.run("circle")
    assert len(stub) == 1


def test_a_baseline_that_fails_is_an_answer(study, monkeypatch):
    def fails(self, *args, **kwargs):
        if not self.gan_weight:
            raise RuntimeError("NaN everywhere")
        return StubLaLiGAN.fit(self, *args, **kwargs)

    monkeypatch.setattr(seeds, "LaLiGAN", type("Fails", (StubLaLiGAN,), {"fit": fails}))
    study.seeds = 1
    result = study.run("circle").results[0]
    assert result.equations["baseline"] == "none: NaN everywhere"
    assert result.measures["terms"] == 2


def study_of(monkeypatch, study, autoencoder, generator):
    """One seed of the study with this outcome of the game."""

    def fit(self, *args, **kwargs):
        StubLaLiGAN.fit(self, *args, **kwargs)
        self.symmetry_ = LatentSymmetry(
            autoencoder, LieAlgebra(generator, provenance=self.symmetry_.algebra.provenance)
        )
        return self

    monkeypatch.setattr(seeds, "LaLiGAN", type("Other", (StubLaLiGAN,), {"fit": fit}))
    study.seeds = 1
    return study.run("circle").results[0]


def test_equations_are_written_in_the_coordinates_that_suit_the_group(study, monkeypatch):
    squeeze = torch.diag(torch.tensor([2.0, 1.0], dtype=torch.float64))
    generator = squeeze @ TURN.double() @ squeeze.inverse()
    result = study_of(monkeypatch, study, plane().in_frame(squeeze), generator)
    assert result.measures["coefficient_mismatch"] < 1e-4
    assert result.measures["coefficient_mismatch_learned"] == pytest.approx(0.75, abs=1e-3)
    assert result.measures["isometry_cosine"] == pytest.approx(1, abs=1e-6)
    assert result.equations["symmetry"] == "z1' = -z2\nz2' = z1"
    assert result.measures["forecast_end"] < 1e-3
    equation = Equation.load(study.out / "seed-0" / "equation-symmetry.safetensors")
    coder = LatentSymmetry.load(study.out / "seed-0" / "adapted.safetensors")
    z, rates = latent_motion(coder, SYSTEMS["circle"].simulate(0, 0, False))
    torch.testing.assert_close(equation(z.double()), rates.double(), rtol=1e-4, atol=1e-5)


def test_the_page_draws_the_latent_where_the_group_turns_circles(study, monkeypatch):
    squeeze = torch.diag(torch.tensor([2.0, 1.0], dtype=torch.float64))
    first = study_of(
        monkeypatch, study, plane().in_frame(squeeze), squeeze @ TURN.double() @ squeeze.inverse()
    )
    drawn, draw = [], report.draw_latent_motion
    monkeypatch.setattr(report, "draw_latent_motion", lambda seen, *a: drawn.append(seen) or draw(seen, *a))
    finish(study, LatentOutcome(system="circle", title="Circle", targets=(), results=[first]))
    basis = drawn[0].algebra.basis[0]
    torch.testing.assert_close(basis, -basis.mT, rtol=1e-9, atol=1e-9)


def test_generators_that_do_not_turn_leave_no_constrained_equation(study, monkeypatch):
    result = study_of(monkeypatch, study, plane(), torch.diag(torch.tensor([1.0, -1.0]))[None].double())
    assert "no inner product" in result.equations["constrained"]
    assert result.measures["isometry_rank"] is None
    assert result.equations["symmetry"] == "z1' = -z2\nz2' = z1"


def test_each_stage_has_its_own_checkpoint_and_the_baseline_no_critic(study, stub):
    study.seeds = 1
    study.run("circle")
    discovery, baseline = stub
    assert discovery["checkpoint"] == study.out / "seed-0" / "checkpoints" / "discovery.pt"
    assert baseline["checkpoint"] != discovery["checkpoint"]
    assert baseline["gan_weight"] == 0
    assert baseline["equation"].degree == 2
    assert baseline["rates"] is not None


def test_held_out_data_differ_from_what_was_learned_from():
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


def test_latent_rates_are_pushed_through_the_encoder(stub, study):
    data = SYSTEMS["circle"].simulate(0, 0, False)
    symmetry = study_symmetry(study)
    z, rates = latent_motion(symmetry, data, most=100)
    assert len(z) <= 100
    assert torch.allclose(rates, torch.stack([-z[:, 1], z[:, 0]], dim=-1), atol=1e-6)
    constrained = find_equation(z, rates, degree=2, symmetry=symmetry).equation_
    assert constrained.terms == 2
    with pytest.raises(ValueError, match="rates"):
        latent_motion(symmetry, SYSTEMS["double-bump"].simulate(0, 0, True))


def test_a_latent_coordinate_that_hardly_moves_is_given_no_law_of_its_own():
    z, rates = circle().states.flatten(0, 1), circle().rates.flatten(0, 1)
    drift = 0.005 * z[:, :1].square()
    equation = find_equation(
        torch.cat([z, z.prod(1, keepdim=True)], 1), torch.cat([rates, drift], 1), degree=2
    )
    assert str(equation.equation_) == "z1' = -z2\nz2' = z1\nz3' = 0"


def study_symmetry(study):
    study.run("circle")
    return LatentSymmetry.load(study.out / "seed-0" / "symmetry.safetensors")


def test_a_target_is_met_by_numbers_alone():
    target = Target(measure="terms", at_least=2, at_most=2)
    assert target.met(2.0)
    assert not target.met(3.0)
    assert not target.met(None)
    assert not target.met(float("nan"))
    assert str(target) == "at least 2 and at most 2"


def test_medians_leave_out_what_has_no_value():
    results = [
        SeedResult(seed=i, run="", measures={"drift": value}) for i, value in enumerate([0.01, None, 0.03])
    ]
    outcome = LatentOutcome(
        system="x", title="x", targets=(Target(measure="drift", at_most=0.02),), results=results
    )
    (row,) = outcome.summary
    assert row["median"] == pytest.approx(0.02)
    assert (row["seeds"], row["met"]) == (2, 1)
    assert "1 of 3 seeds" in outcome.text()
    assert outcome.verdicts() == [
        "Met in part: drift at most 0.02, by 1 of 3 seeds; median 0.02, from 0.01 to 0.03."
    ]


def test_what_is_not_finite_becomes_none_on_disk(tmp_path):
    SeedResult(seed=1, run="r", measures={"a": float("inf"), "b": 1.0}).save(tmp_path)
    back = SeedResult.load(tmp_path)
    assert back is not None
    assert back.measures == {"a": None, "b": 1.0}
    assert SeedResult.load(tmp_path / "nowhere") is None
    (tmp_path / "result.json").write_text("{")
    with pytest.raises(ValueError, match="no result"):
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
def test_settings_without_meaning_are_refused(settings, name, says, tmp_path):
    with pytest.raises(ValueError, match=says):
        LatentStudy(out=tmp_path, progress=False, **settings).run(name)
