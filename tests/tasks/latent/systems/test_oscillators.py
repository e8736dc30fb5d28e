import math

import pytest
import torch
from scipy.special import ellipk

from tasks.latent.systems.oscillators import LotkaVolterra, Pendulum

SYSTEMS = {"pendulum": Pendulum(), "lotka-volterra": LotkaVolterra()}
each = pytest.mark.parametrize("system", SYSTEMS.values(), ids=SYSTEMS.keys())


@each
def test_the_energy_stays_and_lies_where_it_should(system, generator):
    states = system.simulate(system.draw(50, generator), steps=60, time_step=0.2)
    energy = system.energy(states)
    assert (energy - energy[:, :1]).abs().max() < 1e-9
    assert energy.min() > system.energies[0]
    assert energy.max() < system.energies[1]


@each
def test_the_energy_changes_under_other_equations_of_motion(system, generator):
    start = system.draw(20, generator)
    wrong = start + 0.1 * system.rates(start) * torch.tensor([1.0, 0.9])
    assert (system.energy(wrong) - system.energy(start)).abs().max() > 1e-3


@each
def test_time_runs_backwards_too(system, generator):
    start = system.draw(20, generator)
    there = system.simulate(start, steps=3, time_step=2.0)
    back = system.simulate(there[:, -1], steps=3, time_step=-2.0)
    assert (back - there.flip(1)).abs().max() < 1e-8


@each
def test_rates_are_the_slope_and_hamiltons_equations(system):
    data = system.trajectories(5, steps=41, time_step=0.001)
    slope = (data.states[:, 2:] - data.states[:, :-2]) / 0.002
    assert torch.allclose(slope, data.rates[:, 1:-1], atol=1e-4)
    x = data.states[:, 0].clone().requires_grad_()
    (gradient,) = torch.autograd.grad(system.energy(x).sum(), x)
    assert torch.allclose(
        (gradient * data.rates[:, 0]).sum(-1), torch.zeros(5, dtype=torch.float64), atol=1e-12
    )


@pytest.mark.parametrize("largest", [0.001, 0.5, 2.5])
def test_the_pendulum_has_its_period(largest):
    period = 4 * ellipk(math.sin(largest / 2) ** 2)
    start = torch.tensor([[largest, 0.0]], dtype=torch.float64)
    states = Pendulum().simulate(start, steps=3, time_step=period / 2)[0]
    assert torch.allclose(states[2], start[0], atol=1e-8)
    assert torch.allclose(states[1], -start[0], atol=1e-8)
    if largest < 0.01:
        assert period == pytest.approx(2 * math.pi, rel=1e-6)


def test_the_pendulum_is_symmetric_under_reflection(generator):
    start = Pendulum().draw(10, generator)
    mirrored = Pendulum().simulate(-start, steps=5, time_step=1.0)
    assert torch.allclose(mirrored, -Pendulum().simulate(start, steps=5, time_step=1.0), atol=1e-8)


def test_populations_stay_at_their_equilibrium():
    rest = torch.tensor([[0.0, math.log(0.5)]], dtype=torch.float64)
    assert torch.allclose(LotkaVolterra().simulate(rest, steps=5, time_step=1.0)[0], rest.expand(5, 2))


@each
def test_the_same_seed_gives_the_same_orbits(system):
    first, again, other = (system.trajectories(4, steps=3, time_step=0.1, seed=s) for s in (1, 1, 2))
    assert first.digest == again.digest != other.digest
    assert first.states.shape == (4, 3, 2)
    assert all("[" in name for name in first.coordinates)


@each
def test_every_keeps_the_orbit_and_says_its_time_step(system):
    fine = system.trajectories(2, steps=7, time_step=0.1)
    coarse = system.trajectories(2, steps=3, time_step=0.1, every=3)
    assert coarse.time_step == pytest.approx(0.3)
    assert torch.allclose(fine.states[:, ::3], coarse.states, atol=1e-9)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: Pendulum(largest_energy=1.2), "largest_energy"),
        (lambda: LotkaVolterra(a=-1.0), "positive"),
        (lambda: LotkaVolterra(lowest_energy=0.0, largest_energy=1.0).draw(3), "no initial states"),
        (lambda: Pendulum().simulate(torch.zeros(3), steps=2, time_step=0.1), r"\(m, 2\)"),
        (lambda: Pendulum().simulate(torch.zeros(1, 2), steps=0, time_step=0.1), "steps"),
    ],
)
def test_settings_out_of_range_are_refused(call, says):
    with pytest.raises(ValueError, match=says):
        call()
