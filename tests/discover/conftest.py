"""Data whose symmetry is known, shown on half of the directions only; and Ctrl-C in the middle of a step."""

import math
import signal
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from discover.adversarial.trainer import AdversarialTrainer


@pytest.fixture(scope="session")
def half_turn() -> tuple[Tensor, Tensor]:
    """x (1500, 2) on the lower half plane, y = x rotated by 1 / |x|: only the map is symmetric."""
    random = torch.Generator().manual_seed(7)
    radius, angle = (torch.rand(1500, generator=random, dtype=torch.float64) for _ in range(2))
    radius, angle = 1 + radius, -math.pi * angle
    x, y = (
        torch.stack([radius * torch.cos(a), radius * torch.sin(a)], dim=1)
        for a in (angle, angle + 1 / radius)
    )
    return x, y


@pytest.fixture
def ctrl_c(monkeypatch) -> Callable[..., None]:
    """Call it to have Ctrl-C pressed in the middle of a step of the adversarial training, once."""
    train = AdversarialTrainer.train

    def at(step: int, run: int = 0) -> None:
        runs = iter(range(run + 1))

        def interrupted(self, schedule, checkpoint, history):
            pressed = iter([schedule.step < step] if next(runs, None) == run else [])

            def press(*_: object) -> None:
                if schedule.step == step and next(pressed, False):
                    signal.raise_signal(signal.SIGINT)

            self.critic.register_forward_hook(press)
            return train(self, schedule, checkpoint, history)

        monkeypatch.setattr(AdversarialTrainer, "train", interrupted)

    return at
