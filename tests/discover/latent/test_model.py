import math
from typing import Any, cast

import pytest
import torch
from conftest import EXACT, LEARNED
from torch import Tensor

from discover import LaLiGAN
from discover.latent.group import GivenGroup, latent_group
from discover.latent.model import LatentMotion, equivariance_loss

TURN = torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64)
SHEAR = torch.tensor([[0.0, 0.0], [1.0, 0.0]], dtype=torch.float64)


def linear(matrix: Tensor) -> LatentMotion:
    """A motion that is f(z) = matrix z."""
    motion = LatentMotion(2, 4).double()
    with torch.no_grad():
        motion.network[-1].weight.zero_()
        motion.network[-1].bias.copy_(torch.cat([torch.zeros(2, 1), matrix], dim=1).flatten())
    return motion


def rotations(n: int, rng: torch.Generator) -> Tensor:
    angle = 2 * math.pi * torch.rand(n, 1, 1, generator=rng, dtype=torch.float64)
    return torch.linalg.matrix_exp(angle * TURN)


@pytest.fixture
def drawn(generator) -> tuple[Tensor, Tensor]:
    """Elements and points."""
    return rotations(50, generator), torch.randn(50, 2, generator=generator, dtype=torch.float64)


def test_an_equivariant_motion_has_no_loss(drawn):
    g, z = drawn
    assert linear(TURN).loss(g, z, z @ TURN.mT).detach() < EXACT


def test_the_loss_of_another_motion_is_what_the_formula_says(drawn):
    g, z = drawn
    wrong = z @ SHEAR.mT
    missed = ((SHEAR @ g - g @ SHEAR) @ z[..., None]).square().sum() / (g @ wrong[..., None]).square().sum()
    assert torch.isclose(linear(SHEAR).loss(g, z, wrong), missed, rtol=EXACT)
    assert torch.isclose(linear(SHEAR).loss(g, z, 7 * wrong), linear(SHEAR / 7).loss(g, z, wrong), rtol=EXACT)


@pytest.mark.parametrize(("motion", "least"), [(TURN, 0.0), (SHEAR, 0.5)])
def test_the_best_field_is_the_mean_over_the_group(motion, least, generator):
    """The mean of the shear over all rotations is a rotation by half of it: half of its square is lost."""
    torch.manual_seed(0)
    f = LatentMotion(2, 16).double()
    adam = torch.optim.Adam(f.parameters(), lr=1e-2)
    z = torch.randn(400, 2, generator=generator, dtype=torch.float64)
    for _ in range(200):
        loss = f.loss(rotations(400, generator), z, z @ motion.mT)
        adam.zero_grad()
        loss.backward()
        adam.step()
    assert abs(float(loss.detach()) - least) < 5 * LEARNED


def test_points_elements_and_rates_get_gradients(drawn):
    g, z = (t.requires_grad_() for t in drawn)
    dz = (z.detach() @ SHEAR.mT).requires_grad_()
    linear(TURN).loss(g, z, dz).backward()
    assert all(float(t.grad.norm()) > 0 for t in (g, z, dz))


def mixed(m: list[list[float]]) -> Tensor:
    """A matrix (4, 4) that mixes two copies of a plane: it commutes with the rotation of both."""
    return torch.kron(torch.tensor(m, dtype=torch.float64), torch.eye(2, dtype=torch.float64))


PLANES = cast(GivenGroup, latent_group("2*so(2)", 4, 1, "normal", 1.0))
ANGLES = torch.linspace(-2, 2, 50, dtype=torch.float64)[:, None, None]


def known(z: Tensor) -> float:
    """``equivariance_loss`` of windows (50, 2, 4) for rotations of both copies of a plane by known angles."""
    return float(equivariance_loss(PLANES, z, ANGLES))


def follow(z: Tensor) -> Tensor:
    """Windows (50, 2, 4) of z (50, 1, 4) and g z."""
    return torch.cat([z, torch.einsum("nwij,nwj->nwi", PLANES.element(ANGLES), z)], dim=1)


def test_windows_that_follow_their_elements_have_no_loss(generator):
    z = torch.randn(50, 1, 4, generator=generator, dtype=torch.float64)
    assert known(follow(z)) < EXACT
    assert known(torch.cat([z, z], dim=1)) > 0.1


def test_a_bad_copy_counts_however_small_its_own_part_is(generator):
    """A copy that hides behind a good one: the loss is measured in units of unit covariance."""
    good = follow(torch.randn(50, 1, 4, generator=generator, dtype=torch.float64))
    bad = torch.randn(50, 2, 4, generator=generator, dtype=torch.float64)
    z = torch.cat([good[..., :2], bad[..., 2:]], dim=-1)
    hidden = z @ mixed([[1.0, 0.0], [1.0, 0.1]]).mT
    assert known(z) > 0.3
    assert abs(known(hidden) / known(z) - 1) < 0.05


def test_the_loss_stays_finite_where_a_direction_is_lost(generator):
    z = torch.randn(50, 2, 4, generator=generator, dtype=torch.float64)
    assert math.isfinite(known(z * torch.tensor([1.0, 1.0, 0.0, 0.0], dtype=torch.float64)))
    assert math.isfinite(known(0 * z))


def swings(m: int = 40, length: int = 60) -> tuple[Tensor, Tensor]:
    """Bent circles (m, T, 2) of many sizes about one centre, larger ones slower, and their rates."""
    radius = torch.linspace(0.2, 1.5, m)[:, None]
    speed = 1 - 0.2 * radius
    angle = 2.4 * torch.arange(m)[:, None] + 0.2 * speed * torch.arange(length)
    u, v = radius * angle.cos(), radius * angle.sin()
    x = torch.stack([u + 0.3 * v.square(), v], dim=-1)
    return x, torch.stack([speed * (0.6 * u * v - v), speed * u], dim=-1)


BRIEF: dict[str, Any] = {
    "width": 32, "depth": 2, "steps": 500, "cooldown": 400, "averaging": 0.98, "starts": 1, "evaluation_steps": 0,
    "progress": False,
}  # fmt: skip


def drift(fitted: LaLiGAN, x: Tensor) -> float:
    """Of the square of the size over a full period, against its spread."""
    size = [
        (y[..., 0] - 0.3 * y[..., 1].square()).square() + y[..., 1].square()
        for y in (x, full_period(fitted, x))
    ]
    return float((size[1] - size[0]).square().mean().sqrt() / size[0].std())


def full_period(fitted: LaLiGAN, x: Tensor) -> Tensor:
    rate = float(torch.linalg.eigvals(fitted.algebra_.basis[0]).imag.max())
    return fitted.symmetry_.flow(x, torch.linspace(0, 2 * math.pi / rate, 24, dtype=torch.float64))


def test_an_equivariant_motion_makes_orbits_keep_their_size():
    x, rates = swings()
    alone = LaLiGAN(**BRIEF).fit(x)
    with_motion = LaLiGAN(motion_weight=1.0, **BRIEF).fit(x, rates=rates)
    assert drift(with_motion, x) < 0.5 * drift(alone, x)
    assert drift(with_motion, x) < 10 * LEARNED
    assert with_motion.history_[-1]["motion"] < LEARNED
    assert "motion" not in alone.history_[-1]


def test_differences_replace_rates_and_none_are_refused():
    x, _ = swings(8)
    settings = BRIEF | {"steps": 50, "cooldown": 20, "motion_weight": 1.0}
    assert "motion" in LaLiGAN(**settings).fit(x, dt=0.2).history_[-1]
    assert "motion" not in LaLiGAN(**settings, gan_weight=0.0).fit(x, dt=0.2).history_[-1]
    with pytest.raises(ValueError, match="needs rates"):
        LaLiGAN(**settings).fit(x)
    with pytest.raises(ValueError, match="motion_weight must not be negative"):
        LaLiGAN(**(settings | {"motion_weight": -1.0})).fit(x, dt=0.2)
