"""Invariant inner products of groups, and adapted coordinates."""

import pytest
import torch
from conftest import EXACT

from discover.latent.frames import adapted_frame, inner_product
from equivariant import catalogue


def test_inner_product_of_an_ellipse():
    stretch = torch.diag(torch.tensor([1.0, 3.0], dtype=torch.float64))
    L = stretch @ catalogue.rotation(2).basis @ torch.linalg.inv(stretch)
    found = inner_product(L)
    expected = torch.linalg.inv(stretch @ stretch)
    torch.testing.assert_close(found.metric, expected * (2 / expected.trace()), rtol=EXACT, atol=EXACT)
    assert found.violation < EXACT
    torch.testing.assert_close(found.skewed, -found.skewed.mT, rtol=EXACT, atol=EXACT)


def test_no_inner_product_is_kept_by_a_boost():
    assert inner_product(torch.tensor([[[0.0, 1.0], [1.0, 0.0]]])).violation > 0.5


def test_the_inner_product_of_a_turn_in_space():
    assert inner_product(catalogue.rotation(3).basis[:1]).violation < EXACT


def in_frame(frame, L):
    return frame @ L @ torch.linalg.inv(frame)


@pytest.mark.parametrize("k", [2, 3, 5])
def test_one_generator_turns_coordinate_planes_in_its_frame(k, generator):
    """Whatever the coordinates it was learned in: the planes come back, the fastest first."""
    speeds = [2.0, 0.5][: k // 2]
    turning = torch.zeros(k, k, dtype=torch.float64)
    for plane, speed in enumerate(speeds):
        turning[2 * plane + 1, 2 * plane], turning[2 * plane, 2 * plane + 1] = speed, -speed
    change = torch.eye(k, dtype=torch.float64) + 0.3 * torch.randn(
        k, k, generator=generator, dtype=torch.float64
    )
    L = in_frame(change, turning)
    assert float((L + L.mT).norm()) > 0.1
    found = in_frame(adapted_frame(L[None]), L)
    torch.testing.assert_close(found, turning, rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(in_frame(adapted_frame(-L[None]), -L), turning, rtol=1e-7, atol=1e-7)


def test_two_planes_of_one_speed_come_apart(generator):
    turning = torch.block_diag(*[torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64)] * 2)
    change = torch.linalg.qr(torch.randn(4, 4, generator=generator, dtype=torch.float64)).Q
    L = in_frame(change, turning)
    torch.testing.assert_close(in_frame(adapted_frame(L[None]), L), turning, rtol=1e-9, atol=1e-9)


def test_several_generators_get_the_frame_nearest_to_the_old_one(generator):
    basis = catalogue.rotation(3).basis.double()
    torch.testing.assert_close(
        adapted_frame(basis), torch.eye(3, dtype=torch.float64), rtol=EXACT, atol=EXACT
    )
    change = torch.diag(torch.tensor([1.0, 2.0, 0.7], dtype=torch.float64))
    seen = in_frame(adapted_frame(in_frame(change, basis)), in_frame(change, basis))
    torch.testing.assert_close(seen, -seen.mT, rtol=EXACT, atol=EXACT)


def test_nothing_that_turns_leaves_the_coordinates_alone():
    torch.testing.assert_close(
        adapted_frame(torch.zeros(1, 3, 3)).abs().sum(0), torch.ones(3, dtype=torch.float64)
    )


def test_no_generators_keep_everything():
    nothing = torch.zeros(0, 3, 3)
    assert inner_product(nothing).violation == 0
    assert torch.equal(inner_product(nothing).metric, torch.eye(3, dtype=torch.float64))
    assert torch.equal(adapted_frame(nothing), torch.eye(3, dtype=torch.float64))
