import math
from types import SimpleNamespace
from typing import cast

import pytest
import torch
from conftest import LEARNED

from discover import LaLiGAN, Verdict
from discover.equations.joint import JointEquation
from discover.latent.diagnosis import Diagnosis
from equivariant import catalogue, cosine

QUICK = {"width": 32, "steps": 900, "cooldown": 600, "tolerance": 0.0, "starts": 1, "restarts": 0,
         "evaluation_steps": 100, "learning_rate": 1e-2, "gan_weight": 0.03, "progress": False}  # fmt: skip
BRIEF = QUICK | {"width": 8, "steps": 60, "cooldown": 30, "evaluation_steps": 0}


SOME = torch.randn(2, 20, 4)


def curved_circle(m: int = 60, size: int = 20, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Trajectories (m, 30, size) of a uniform rotation by 0.1 a step, from all angles, bent into R^20."""
    random = torch.Generator().manual_seed(0)
    start = 2 * math.pi * torch.arange(m, dtype=torch.float64)[:, None] / m
    angle = start + 0.1 * torch.arange(30, dtype=torch.float64)
    into, out = (torch.randn(shape, generator=random, dtype=torch.float64) for shape in ((2, 40), (40, size)))
    circle = torch.stack([angle.cos(), angle.sin()], dim=-1)
    return (torch.tanh(circle @ into) @ out).to(dtype)


@pytest.fixture(scope="module")
def fitted() -> LaLiGAN:
    return LaLiGAN(**QUICK).fit(curved_circle())


def test_finds_the_rotation_of_a_curved_circle(fitted):
    assert cosine(fitted.algebra_, catalogue.rotation(2)) > 1 - LEARNED
    assert fitted.symmetry_.inner_product().violation < 5 * LEARNED
    assert fitted.reconstruction_error_ < 10 * LEARNED


def test_the_latent_moves_as_its_generator_says(fitted):
    """One step of time is a rotation by 0.1 in the latent space, which nothing in the training says."""
    z = fitted.symmetry_.encode(curved_circle())
    angle = torch.atan2(z[..., 1], z[..., 0])
    steps = torch.remainder(angle.diff(dim=1) + math.pi, 2 * math.pi) - math.pi
    assert abs(float(steps.mean().abs()) / 0.1 - 1) < 2 * LEARNED
    assert float(steps.std()) < 0.1 * 0.2


def test_nothing_wrong_is_found_in_a_good_latent_space(fitted):
    assert not {"collapsed latent", "hyperbolic", "nilpotent", "poor reconstruction"} & set(
        fitted.diagnosis_.flags
    )
    assert fitted.algebra_.space == f"latent:{fitted.symmetry_.encoder_digest}"
    assert fitted.algebra_.provenance["stride"] == fitted.stride_


def test_same_seed_same_digest_and_other_seed_another():
    def run(seed: int) -> str:
        torch.rand(seed + 1)  # the global generator must not matter
        return LaLiGAN(seed=seed, **BRIEF).fit(curved_circle(10)).symmetry_.digest

    assert run(1) == run(1)
    assert run(1) != run(2)


def test_a_run_interrupted_within_a_step_continues_as_if_it_had_not_been(tmp_path, ctrl_c):
    x, path = curved_circle(10), tmp_path / "run.ckpt"
    settings = BRIEF | {"threshold": 0.01, "starts": 2, "trial_steps": 5, "motion_weight": 1.0}
    whole = LaLiGAN(**settings).fit(x, dt=0.1)
    ctrl_c(step=40)
    with pytest.raises(KeyboardInterrupt):
        LaLiGAN(checkpoint=path, **settings).fit(x, dt=0.1)
    assert path.exists()
    resumed = LaLiGAN(checkpoint=path, **settings).fit(x, dt=0.1)
    assert resumed.symmetry_.digest == whole.symmetry_.digest
    with pytest.raises(ValueError, match="other settings or data"):
        LaLiGAN(checkpoint=path, **(settings | {"seed": 5})).fit(x, dt=0.1)


def diagnoses(monkeypatch, *found: tuple[tuple[str, ...], float]) -> None:
    """Runs whose flags and AUC are these, one after the other."""
    answers = iter([Diagnosis(flags=flags, numbers={"auc": auc}) for flags, auc in found])
    monkeypatch.setattr("discover.latent.laligan.diagnose", lambda *_, **__: next(answers))


GOOD, BAD, WORSE = ((), 0.5), (("critic wins",), 0.7), (("critic wins",), 0.9)


def test_a_run_in_which_something_is_wrong_is_followed_by_another(monkeypatch):
    x = curved_circle(10)
    diagnoses(monkeypatch, BAD, BAD, GOOD)
    first = LaLiGAN(**BRIEF).fit(x)
    second = LaLiGAN(**(BRIEF | {"restarts": 3})).fit(x)
    assert (first.restarts_, second.restarts_) == (0, 1)
    assert second.diagnosis_
    assert second.symmetry_.digest != first.symmetry_.digest


def test_a_verdict_that_establishes_nothing_is_not_ok():
    """A critic between chance and certainty: nothing to flag, and no symmetry either."""
    undecided, sure = SimpleNamespace(passed=False), SimpleNamespace(passed=True)
    assert not Diagnosis(flags=(), numbers={}, verdict=cast(Verdict, undecided)).ok
    assert Diagnosis(flags=(), numbers={}, verdict=cast(Verdict, sure)).ok
    assert Diagnosis(flags=(), numbers={}).ok
    assert not Diagnosis(flags=("no motion",), numbers={}, verdict=cast(Verdict, sure)).ok


def test_of_runs_that_all_went_wrong_the_least_severe_is_the_result(monkeypatch):
    x = curved_circle(10)
    diagnoses(monkeypatch, BAD, BAD, WORSE)
    first = LaLiGAN(**BRIEF).fit(x)
    kept = LaLiGAN(**(BRIEF | {"restarts": 1})).fit(x)
    assert kept.restarts_ == 1
    assert kept.diagnosis_.numbers["auc"] == BAD[1]
    assert kept.symmetry_.digest == first.symmetry_.digest


def test_a_restart_that_was_stopped_is_resumed(monkeypatch, tmp_path, ctrl_c):
    x, settings = curved_circle(10), BRIEF | {"restarts": 1}
    diagnoses(monkeypatch, BAD, GOOD, BAD, BAD, GOOD)
    whole = LaLiGAN(**settings).fit(x)
    ctrl_c(step=40, run=1)
    with pytest.raises(KeyboardInterrupt):
        LaLiGAN(checkpoint=tmp_path / "run.ckpt", **settings).fit(x)
    resumed = LaLiGAN(checkpoint=tmp_path / "run.ckpt", **settings).fit(x)
    assert resumed.symmetry_.digest == whole.symmetry_.digest


@pytest.mark.parametrize("encoder", ["mlp", "conv1d"])
def test_decoded_data_can_be_shown_to_the_critic(encoder):
    """The loss of the critic then reaches the decoder, so the result is another one."""
    x = curved_circle(10)
    shown, plain = (LaLiGAN(encoder=encoder, show_decoded=on, **BRIEF).fit(x) for on in (True, False))
    assert shown.symmetry_.digest != plain.symmetry_.digest
    assert math.isfinite(shown.reconstruction_error_)


def test_float64_is_trained_in_float64():
    fitted = LaLiGAN(dtype="float64", **BRIEF).fit(curved_circle(10, dtype=torch.float64))
    assert fitted.symmetry_.encode(curved_circle(4, dtype=torch.float64)).dtype == torch.float64


def test_known_elements_are_fitted_without_a_critic():
    """Two snapshots a known rotation apart, in a conv1d ring: the encoder is equivariant."""
    random = torch.Generator().manual_seed(0)
    start, move = 2 * math.pi * torch.rand(600, 1, generator=random), torch.randn(600, 1, 1, generator=random)
    angle = torch.cat([start, start + move[:, :, 0]], dim=1)
    grid = 2 * math.pi * torch.arange(16) / 16
    rings = (2 * (grid - angle[..., None]).cos()).exp()
    settings = QUICK | {"steps": 300, "cooldown": 250, "width": 8, "depth": 2, "learning_rate": 1e-2}
    fitted = LaLiGAN(structure="so(2)", encoder="conv1d", padding="circular", **settings)
    fitted.fit(rings, coefficients=move)
    assert fitted.verdict_ is None
    assert fitted.equivariance_error_ < 0.1
    assert all("critic" not in row for row in fitted.history_)


def test_an_equation_is_learned_too():
    settings = BRIEF | {"gan_weight": 0.0, "steps": 200, "cooldown": 100}
    fitted = LaLiGAN(equation=JointEquation(degree=1, threshold_every=1), **settings)
    fitted.fit(curved_circle(10), dt=0.1)
    assert fitted.equation_ is not None
    assert fitted.equation_.dim == 2
    assert "equation_latent" in fitted.history_[-1]


def test_a_planted_collapse_is_found():
    """Without an anchor and without reconstruction the encoder shrinks to a point, which every g leaves invariant."""
    settings = QUICK | {"steps": 150, "cooldown": 50, "evaluation_steps": 0}
    fitted = LaLiGAN(**(settings | {"anchor_weight": 0.0, "reconstruction_weight": 0.0, "gan_weight": 1.0}))
    fitted.fit(curved_circle(10))
    assert not fitted.diagnosis_
    assert {"collapsed latent", "poor reconstruction"} & set(fitted.diagnosis_.flags)
    assert "Not to be trusted" in str(fitted.diagnosis_)


@pytest.mark.parametrize(
    ("settings", "data", "sentence"),
    [
        ({}, {"trajectories": torch.randn(50, 1, 4)}, "every rotation"),
        ({"window": 1}, {"trajectories": torch.randn(5, 20, 4)}, "every rotation"),
        ({}, {"trajectories": torch.full((2, 20, 4), torch.nan)}, "must be finite"),
        ({}, {"trajectories": torch.ones(2, 40, 4)}, "must differ"),
        ({}, {"trajectories": torch.randn(20, 4)}, "shape"),
        ({"stride": 30}, {"trajectories": SOME}, "smaller stride"),
        ({"structure": "so(5)"}, {"trajectories": SOME}, "latent_dim=5"),
        ({"structure": "round"}, {"trajectories": SOME}, "unknown structure"),
        ({"structure": "2*free(3)"}, {"trajectories": SOME}, "acts on 6"),
        ({"encoder": "gnn"}, {"trajectories": SOME}, "encoder must be one of"),
        ({"encoder": "conv2d"}, {"trajectories": SOME}, "conv2d takes"),
        ({"held_out": 1.0}, {"trajectories": SOME}, "held_out"),
        ({"restarts": -1}, {"trajectories": SOME}, "restarts must not be negative"),
        ({"structure": "so(2)"}, {"trajectories": SOME, "coefficients": torch.randn(2, 20, 1)}, "T - 1"),
        ({"structure": "so(2)"}, {"trajectories": SOME, "coefficients": torch.randn(2, 19, 3)}, "1 entries"),
        ({}, {"trajectories": SOME, "coefficients": torch.randn(2, 19, 1)}, "given group"),
        ({}, {"trajectories": SOME, "labels": torch.randn(3)}, "labels must have shape"),
        ({}, {"trajectories": SOME, "rates": torch.randn(2, 19, 4)}, "rates must have shape"),
        ({"equation": JointEquation()}, {"trajectories": SOME}, "rates of change"),
    ],
)  # fmt: skip
def test_refusals_say_what_was_expected(settings, data, sentence):
    with pytest.raises(ValueError, match=sentence):
        LaLiGAN(**(BRIEF | settings)).fit(**data)


def test_single_samples_need_labels():
    x = torch.randn(200, 1, 3)
    for labels in (x[:, 0].norm(dim=1), (x[:, 0].norm(dim=1) > 1.5).long()):
        assert LaLiGAN(**BRIEF).fit(x, labels=labels).algebra_.n_generators == 1


def test_arrays_lists_and_whole_numbers_are_read():
    x = (10 * curved_circle(5)).round()
    expected = LaLiGAN(**BRIEF).fit(x.double()).symmetry_.digest
    assert LaLiGAN(**BRIEF).fit(x.numpy().astype(int)).symmetry_.digest == expected
    assert LaLiGAN(**BRIEF).fit(x.tolist()).symmetry_.digest == expected
    with pytest.raises(ValueError, match="must be real"):
        LaLiGAN(**BRIEF).fit(x.to(torch.complex64))
