import math

import pytest
import torch
from conftest import EXACT

from tasks.latent.systems.bumps import bump, double_bumps, ring

STEP = 2 * math.pi / 64


def test_a_move_by_whole_points_is_a_roll_of_that_bump_alone():
    positions = torch.tensor([0.3, 2.0], dtype=torch.float64)
    wide, narrow = (
        ring(positions, 64) - bump(positions[i], 64, *s) for i, s in ((1, (0.8, 40.0)), (0, (1.0, 4.0)))
    )
    moved = ring(positions + STEP * torch.tensor([5.0, -3.0], dtype=torch.float64), 64)
    assert (moved - wide.roll(5) - narrow.roll(-3)).abs().max() < EXACT
    assert (moved - (wide + narrow).roll(5)).abs().max() > 0.1


def test_a_whole_turn_of_either_bump_changes_nothing(generator):
    positions = torch.rand(10, 2, generator=generator, dtype=torch.float64)
    turned = positions + 2 * math.pi * torch.tensor([1.0, -1.0], dtype=torch.float64)
    assert (ring(turned) - ring(positions)).abs().max() < EXACT


def test_coefficients_give_the_element_between_two_snapshots():
    data = double_bumps(20, steps=4, seed=1)
    assert data.states.shape == (20, 4, 64)
    assert data.coefficients is not None
    assert data.coefficients.abs().max() <= math.pi
    start = 2 * math.pi * torch.rand(20, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    moved = ring(start + data.coefficients.sum(1))
    assert (ring(start) - data.states[:, 0]).abs().max() < 1e-6
    assert (moved - data.states[:, -1]).abs().max() < 1e-5


def test_the_two_bumps_differ(generator):
    positions = 2 * math.pi * torch.rand(200, 2, generator=generator)
    assert (ring(positions) - ring(positions.flip(-1))).abs().amax(-1).median() > 0.3


def test_the_same_seed_gives_the_same_signals():
    first, again, other = (double_bumps(3, seed=seed).digest for seed in (0, 0, 1))
    assert first == again != other


@pytest.mark.parametrize(
    ("call", "says"),
    [(lambda: ring(torch.zeros(3)), r"\(\.\.\., 2\)"), (lambda: double_bumps(0), "at least")],
)
def test_settings_out_of_range_are_refused(call, says):
    with pytest.raises(ValueError, match=says):
        call()
