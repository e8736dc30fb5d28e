"""When to cool and when to stop: hold the rates until the generators have settled, then let them fall to zero."""

from dataclasses import asdict, dataclass
from typing import Self

import torch
from torch import Tensor

from discover.adversarial.generator import Generator
from equivariant.compare import principal_angles

__all__ = ["Schedule", "change"]


@dataclass(kw_only=True)
class Schedule:
    """Hold, settle, cool. The generators have settled when, three times in a row, they turned and grew by less
    than ``tolerance`` in ``every`` steps; no ground truth is asked. Then, or when only ``cooldown`` steps are
    left, the rates fall to zero in a line over ``cooldown`` steps.
    """

    steps: int
    cooldown: int
    tolerance: float
    every: int = 100
    patience: int = 3
    step: int = 0
    quiet: int = 0
    turn: float = float("inf")
    cooling_from: int = 0

    @classmethod
    def of(cls, steps: int, cooldown: int, tolerance: float) -> Self:
        """A fresh schedule. Raises ``ValueError`` when the cooling does not fit into the steps."""
        if not 0 <= cooldown <= steps:
            raise ValueError(f"cooldown must lie between 0 and steps = {steps}, got {cooldown}")
        return cls(steps=steps, cooldown=cooldown, tolerance=tolerance, cooling_from=steps - cooldown)

    def __post_init__(self) -> None:
        self._before: Tensor | None = None

    @property
    def done(self) -> bool:
        """Whether the last step has been taken."""
        return self.step >= self.cooling_from + self.cooldown

    @property
    def rate(self) -> float:
        """Factor of the learning rates, 1 while holding."""
        left = self.cooling_from + self.cooldown - self.step
        return min(1.0, left / self.cooldown) if self.cooldown else 1.0

    @property
    def noise(self) -> float:
        """Factor of the noise; gone when a fifth of the cooling is left, so the end is sharp."""
        return max(0.0, (self.rate - 0.2) / 0.8)

    def advance(self, generator: Generator) -> None:
        """Count one step; now and then look whether the generators still move."""
        self.step += 1
        if self.step % self.every or self.step > self.cooling_from:
            return
        with torch.no_grad():
            basis = generator.whitened_basis.double().cpu()
        self.turn = change(self._before, basis)
        self._before = basis
        self.quiet = self.quiet + 1 if self.turn < self.tolerance else 0
        if self.quiet >= self.patience:
            self.cooling_from = min(self.cooling_from, self.step)

    def state_dict(self) -> dict:
        """Where the schedule stands."""
        return asdict(self) | {"before": self._before}

    def load_state_dict(self, state: dict) -> None:
        """Stand there again."""
        for name in asdict(self):
            setattr(self, name, state[name])
        self._before = state["before"]


def change(before: Tensor | None, now: Tensor) -> float:
    """The larger of the turn of the span [rad] and the growth of the generators (log ratio of sizes)."""
    if before is None or not now.any() or not before.any():
        return float("inf")
    angles = principal_angles(before, now)
    growth = (now.norm() / before.norm()).log().abs()
    return max(float(angles.max()), float(growth))
