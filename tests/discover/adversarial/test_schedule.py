import pytest
import torch
from torch import Tensor

from discover.adversarial.schedule import Schedule, generator_change
from equivariant import catalogue

ROTATION = catalogue.rotation(2).basis


def run(schedule: Schedule, bases=None) -> int:
    """Steps until the schedule is done."""
    while not schedule.done:
        schedule.advance(ROTATION if bases is None else next(bases))
    return schedule.step


def test_constant_generators_cool_and_stop_early():
    schedule = Schedule(steps=10_000, cooldown=200, tolerance=0.01)
    assert run(schedule) == (1 + schedule.patience) * schedule.every + 200
    assert schedule.rate == 0


def test_changing_generators_take_every_step(generator):
    def bases():
        while True:
            yield torch.randn(1, 2, 2, generator=generator)

    assert run(Schedule(steps=1000, cooldown=200, tolerance=0.01), bases()) == 1000


def test_growth_counts_as_change():
    schedule = Schedule(steps=1000, cooldown=100, tolerance=0.01)
    for step in range(800):
        schedule.advance(1.001**step * ROTATION)
    assert schedule.converged == 0


@pytest.mark.parametrize(("fall", "early"), [(1.0, True), (0.9, False)])
def test_a_falling_loss_keeps_the_rates_up(fall, early):
    schedule = Schedule(steps=2000, cooldown=10, tolerance=0.01, loss_tolerance=0.02)
    loss = torch.ones(())
    while not schedule.done:
        schedule.advance(ROTATION, loss)
        loss = loss * fall ** (1 / schedule.every)
    assert (schedule.step < 2000) == early


def test_rate_and_noise_fall_in_the_cooldown():
    schedule = Schedule(steps=100, cooldown=50, tolerance=0.0)
    schedule.step = 25
    assert (schedule.rate, schedule.noise) == (1, 1)
    schedule.step = 75
    assert schedule.rate == 0.5
    schedule.step = 90
    assert schedule.noise == 0  # the end is sharp


def test_a_cooldown_longer_than_the_run_takes_all_of_it():
    schedule = Schedule(steps=20, cooldown=100, tolerance=0.0)
    assert schedule.rate == 1
    assert run(schedule) == 20
    assert schedule.rate == 0


@pytest.mark.parametrize(
    ("before", "now"), [(None, ROTATION), (0 * ROTATION, ROTATION), (ROTATION, 0 * ROTATION)]
)
def test_the_change_from_nothing_is_infinite(before: Tensor | None, now: Tensor):
    assert generator_change(before, now) == float("inf")
