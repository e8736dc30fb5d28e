import math

import numpy as np
import pytest
import torch
from conftest import EXACT

from tasks.latent.systems.reaction_diffusion import ReactionDiffusion, spiral_waves

SMALL = ReactionDiffusion(points=24, length=12.0)


def turned(state, angle=0.7):
    """(u, v) -> R (u, v) of an array (..., 2, n, n)."""
    c, s = math.cos(angle), math.sin(angle)
    return np.einsum("ij,...jxy->...ixy", np.array([[c, -s], [s, c]]), state)


def last(law, state, steps=41, time_step=0.05):
    *_, end = law.run(state, steps, time_step)
    return end


def drift(f, state):
    before, after = f(turned(state)), turned(f(state))
    return np.abs(before - after).max() / np.abs(after).max()


def test_the_reaction_is_equivariant_under_rotations_of_the_two_fields():
    assert drift(SMALL.reaction, SMALL.spiral()) < EXACT


def test_the_simulation_is_equivariant_under_rotations_where_both_fields_diffuse_alike():
    assert drift(lambda x: last(SMALL, x), SMALL.spiral()) < EXACT
    unlike = ReactionDiffusion(points=24, length=12.0, diffusion=(0.1, 0.2))
    assert drift(lambda x: last(unlike, x), unlike.spiral()) > 1e-3


def test_the_simulation_commutes_with_translations():
    start = SMALL.spiral()
    moved = last(SMALL, np.roll(start, (3, 5), (1, 2)))
    assert np.abs(moved - np.roll(last(SMALL, start), (3, 5), (1, 2))).max() < EXACT


def test_the_step_is_of_order_four():
    start = last(SMALL, SMALL.spiral(), 41)
    exact = last(SMALL, start, 161, 0.0125)
    coarse, fine = (np.abs(last(SMALL, start, n, 2 / (n - 1)) - exact).max() for n in (11, 21))
    assert coarse / fine > 12
    assert np.abs(last(SMALL, start, 41, 0.05) - exact).max() < 2e-5


def test_waves_that_decay_within_a_step_reach_equilibrium():
    law = ReactionDiffusion(points=8, length=4.0, diffusion=(1.0, 1.0))
    wave = np.cos(3 * np.pi / 2 * law.axis)
    uneven = np.stack([1 + 0.5 * wave[None].repeat(8, 0), 0.3 * wave[:, None].repeat(8, 1)])
    exact = last(law, uneven, 161, 0.2 / 160)
    assert np.abs(last(law, uneven, 5, 0.05) - exact).max() < 2e-4


def test_a_uniform_state_rotates_on_the_unit_circle_with_frequency_beta():
    law = ReactionDiffusion(points=8, beta=1.3)
    start = np.stack([np.ones((8, 8)), np.zeros((8, 8))])
    end = last(law, start, 21, 0.1)
    assert np.allclose(end[0], math.cos(2.6), atol=1e-4)
    assert np.allclose(end[1], -math.sin(2.6), atol=1e-4)


def test_a_wave_decays_at_its_rate():
    law = ReactionDiffusion(points=32, length=2 * math.pi, diffusion=(0.3, 0.1))
    wave = np.stack([np.cos(2 * law.axis)[None].repeat(32, 0), np.sin(3 * law.axis)[:, None].repeat(32, 1)])
    smoothed = law.rates(wave) - law.reaction(wave)
    assert np.allclose(smoothed, -np.array([1.2, 0.9])[:, None, None] * wave, atol=1e-10)


def test_rates_are_the_slope_of_the_states():
    data = spiral_waves(steps=5, discard=40, time_step=0.02, fields=("u", "v"), system=SMALL)
    assert data.rates is not None
    slope = (data.states[0, 2:] - data.states[0, :-2]) / 0.04
    assert torch.allclose(slope, data.rates[0, 1:-1], atol=1e-3)


def test_fields_strides_and_the_transient_are_as_asked_for():
    everything = spiral_waves(steps=9, fields=("u", "v"), system=SMALL)
    some = spiral_waves(steps=3, discard=2, every=3, system=SMALL)
    assert some.states.shape == (1, 3, 24, 24)
    assert some.time_step == pytest.approx(0.15)
    assert torch.equal(some.states, everything.states[:, 2::3, 0])
    assert some.coordinates == ("u [1]",)
    assert spiral_waves(steps=2, system=SMALL, rates=False).rates is None


def test_the_same_settings_give_the_same_data():
    assert spiral_waves(steps=3, system=SMALL).digest == spiral_waves(steps=3, system=SMALL).digest
    assert spiral_waves(steps=3, system=SMALL).digest != spiral_waves(steps=4, system=SMALL).digest


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: spiral_waves(steps=2, fields=("w",)), "fields"),
        (lambda: spiral_waves(steps=0), "steps"),
        (lambda: ReactionDiffusion(points=2), "points"),
        (lambda: ReactionDiffusion(diffusion=(-1.0, 0.1)), "diffusion"),
        (lambda: next(SMALL.run(np.zeros((2, 3, 3)), 1)), "shape"),
        (lambda: spiral_waves(steps=40, time_step=9.0, system=SMALL), "finite"),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_settings_out_of_range_are_refused(call, says):
    with pytest.raises(ValueError, match=says):
        call()
