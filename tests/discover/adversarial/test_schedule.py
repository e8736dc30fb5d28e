import torch

from discover.adversarial.generator import Generator
from discover.adversarial.schedule import Schedule
from discover.data.search_space import SearchSpace
from equivariant import CoefficientDistribution


def still_generator() -> Generator:
    space = SearchSpace.plain(torch.eye(2, dtype=torch.float64))
    return Generator(space, CoefficientDistribution.normal(1))


def test_still_generators_cool_and_stop_early():
    schedule, generator = Schedule.of(10_000, 200, 0.01), still_generator()
    while not schedule.done:
        schedule.advance(generator)
    assert schedule.step == (1 + schedule.patience) * schedule.every + 200
    assert schedule.rate == 0


def test_moving_generators_use_every_step():
    schedule, generator = Schedule.of(1000, 200, 0.01), still_generator()
    while not schedule.done:
        with torch.no_grad():
            generator.weight.normal_()
        schedule.advance(generator)
    assert schedule.step == 1000


def test_growth_counts_as_movement():
    schedule, generator = Schedule.of(1000, 100, 0.01), still_generator()
    generator.size = None
    for _ in range(800):
        with torch.no_grad():
            generator.weight.mul_(1.001)
        schedule.advance(generator)
    assert schedule.quiet == 0


def test_rate_and_noise_fall_in_the_cooling():
    schedule = Schedule.of(100, 50, 0.0)
    schedule.step = 25
    assert (schedule.rate, schedule.noise) == (1, 1)
    schedule.step = 75
    assert schedule.rate == 0.5
    schedule.step = 90
    assert schedule.noise == 0  # the end is sharp
