import math

import pytest
import torch
from conftest import EXACT, SINGLE

from equivariant import CoefficientDistribution, LieAlgebra, catalogue
from tasks.two_body import simulated_orbits, windows
from tasks.two_body.models import OURS, PAPER, Recipe, augment_windows, build, full_period
from tasks.two_body.results import true_symmetry
from tasks.two_body.time_frame import Forecaster, TimeFrame

TURN = true_symmetry()


@pytest.fixture(scope="module")
def samples():
    return windows(simulated_orbits(40, 2).train)


def turned(g, x):
    return (x.unflatten(-1, (-1, 8)) @ g.mT).flatten(-2)


def size_one(model):
    """Weights of size one, so that a broken layer cannot hide behind small ones."""
    with torch.no_grad():
        for weight in model.parameters():
            weight.normal_(generator=torch.Generator().manual_seed(1))
            weight.div_(max(1.0, weight.shape[-1] ** 0.5))
    return model


def test_a_time_frame_commutes_with_any_matrix(samples, generator):
    x, y = samples
    x, y = x[:, -16:], y[:, :16]
    frame = TimeFrame.of(x, y, 8)
    model = Forecaster(torch.nn.Identity(), frame, 8).double()
    assert model.patterns.shape[0] == 2  # as many as future steps, so the identity fits between
    anything = torch.randn(8, 8, generator=generator, dtype=torch.float64)
    error = model(turned(anything, x)) - turned(anything, model(x))
    assert error.norm() / model(x).norm() < EXACT


def test_patterns_have_unit_size_and_the_base_forecasts(samples):
    x, y = samples
    frame = TimeFrame.of(x, y, 8, smoothing=0)
    seen = frame.patterns @ x.unflatten(-1, (5, 8))
    assert torch.allclose(seen.square().mean((0, 2)), torch.ones(frame.n_patterns).double(), atol=1e-4)
    left = y.unflatten(-1, (5, 8)) - frame.base @ x.unflatten(-1, (5, 8))
    assert left.norm() / y.norm() < 1e-2


@pytest.mark.parametrize("name", ["EMLP"])
def test_an_emlp_forecaster_is_equivariant_and_an_mlp_is_not(samples, name):
    x, y = samples
    frame = TimeFrame.of(x, y, 8)
    g = TURN.element(torch.tensor([1.0]).double()).float()
    errors = {}
    for kind in (name, "MLP, framed"):
        model = size_one(build(OURS[kind], frame, 8, TURN, seed=0)).eval()
        model.residual.fill_(1.0)
        a, b = model(turned(g, x.float())), turned(g, model(x.float()))
        errors[kind] = ((a - b).norm() / b.norm()).item()
    assert errors[name] < SINGLE
    assert errors["MLP, framed"] > 1e-2


@pytest.mark.parametrize(
    "recipe", [*OURS.values(), *PAPER.values()], ids=[*OURS, *(f"paper {n}" for n in PAPER)]
)
def test_every_recipe_builds_and_answers(samples, recipe):
    x, y = samples
    model = build(recipe, TimeFrame.of(x, y, 8), 8, TURN, seed=0)
    assert model(x[:7].float()).shape == (7, 40)


def test_weights_come_from_the_seed(samples):
    x, y = samples
    frame = TimeFrame.of(x, y, 8)
    first, again, other = (build(OURS["EMLP"], frame, 8, TURN, seed=s)(x[:3].float()) for s in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_augmentation_gives_one_element_to_past_and_future(samples, generator):
    x, y = samples
    new_x, new_y, back = augment_windows(full_period(TURN), 5, 5)(x, y, generator)
    assert torch.equal(back(y), y)
    angle = [torch.atan2(z.view(-1, 5, 8)[..., 1], z.view(-1, 5, 8)[..., 0]) for z in (x, new_x, y, new_y)]
    past, future = ((angle[i + 1] - angle[i]) % (2 * math.pi) for i in (0, 2))
    assert torch.allclose(past.cos(), past[:, :1].cos().expand_as(past), atol=1e-9)
    assert torch.allclose(future.cos(), past.cos(), atol=1e-9)
    assert past[:, 0].std() > 1  # and a different one for each sample


def test_a_prediction_pulled_back_is_compared_with_the_original_target(samples, generator):
    x, y = samples
    moved, target, back = augment_windows(full_period(TURN), 5, 5, pull_back=True)(x, y, generator)
    assert torch.equal(target, y)
    assert (moved - x).norm() > 0.1 * x.norm()
    assert (back(moved) - x).norm() / x.norm() < EXACT


def test_a_period_does_not_depend_on_the_size_of_the_generator():
    small = LieAlgebra(0.1 * TURN.basis)
    distribution = full_period(small).distribution
    assert distribution.kind == "uniform"
    assert float(distribution.scale) == pytest.approx(10 * math.pi)
    assert float(full_period(TURN, 3.0).distribution.scale) == 3.0
    still = LieAlgebra(catalogue.scaling(2).basis, CoefficientDistribution.normal(1, 0.2))
    assert float(full_period(still).distribution.scale) == pytest.approx(0.2)


def test_an_emlp_without_an_algebra_is_refused(samples):
    x, y = samples
    with pytest.raises(ValueError, match="needs an algebra"):
        build(Recipe(network="emlp"), TimeFrame.of(x, y, 8), 8, None, seed=0)


def test_windows_of_another_size_are_refused(samples):
    with pytest.raises(ValueError, match=r"steps \* 8"):
        TimeFrame.of(samples[0][:, :39], samples[1], 8)
