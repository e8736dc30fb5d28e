"""When to lower the learning rates and when to stop, from how much the generators still change."""

from dataclasses import asdict, dataclass, field

from torch import Tensor

from equivariant.compare import principal_angles

__all__ = ["Schedule", "generator_change"]


@dataclass(kw_only=True)
class Schedule:
    """Full learning rates until the generators have converged, then a linear decay to zero.

    The generators have converged when, in ``patience`` checks in a row, ``every`` steps apart, they changed by less
    than ``tolerance`` and the running mean of the loss fell by less than ``loss_tolerance``. No ground truth enters.
    The decay starts then, or when only ``cooldown`` steps are left.

    Args:
        steps: most steps.
        cooldown: steps of the decay; all steps where there are fewer.
        tolerance: largest change between two checks, in radians.
        loss_tolerance: largest relative fall of the loss between two checks; ``None`` leaves the loss out.
        every: steps between two checks.
        patience: checks in a row.
        step: steps taken.

    Attributes:
        cooling_from: the step at which the decay starts.
        converged: checks in a row that found convergence.
        change: the change found by the last check.
        loss: running mean of the loss.
        lowest_loss: smallest ``loss`` at a check.
    """

    steps: int
    cooldown: int
    tolerance: float
    loss_tolerance: float | None = None
    every: int = 100
    patience: int = 3
    step: int = 0
    cooling_from: int = field(init=False)
    converged: int = field(default=0, init=False)
    change: float = field(default=float("inf"), init=False)
    loss: float | Tensor = field(default=float("nan"), init=False)
    lowest_loss: float = field(default=float("inf"), init=False)

    def __post_init__(self) -> None:
        self.cooldown = min(self.cooldown, self.steps)
        self.cooling_from = self.steps - self.cooldown
        self._before: Tensor | None = None

    @property
    def done(self) -> bool:
        """Whether the last step has been taken."""
        return self.step >= self.cooling_from + self.cooldown

    @property
    def rate(self) -> float:
        """Factor of the learning rates, from 1 to 0."""
        left = self.cooling_from + self.cooldown - self.step
        return min(1.0, left / self.cooldown) if self.cooldown else 1.0

    @property
    def noise(self) -> float:
        """Factor of the critic's noise, from 1 to 0; 0 in the last fifth of the decay."""
        return max(0.0, (self.rate - 0.2) / 0.8)

    def advance(self, basis: Tensor, loss: Tensor | None = None) -> None:
        """Count one step and, every ``every`` steps, check for convergence.

        Args:
            basis: the generators (c, k, k) in coordinates in which the data have unit covariance.
            loss: of this step.
        """
        self.step += 1
        if loss is not None:
            self.loss = loss if self.step == 1 else self.loss + 0.01 * (loss - self.loss)
        if self.step % self.every or self.step > self.cooling_from:
            return
        now = basis.detach().double().cpu()
        self.change, self._before = generator_change(self._before, now), now
        converged = self.change < self.tolerance
        if self.loss_tolerance is not None:
            converged &= 1 - float(self.loss) / self.lowest_loss < self.loss_tolerance
            self.lowest_loss = min(self.lowest_loss, float(self.loss))
        self.converged = self.converged + 1 if converged else 0
        if self.converged >= self.patience:
            self.cooling_from = self.step

    def state_dict(self) -> dict:
        """Everything ``load_state_dict`` needs to continue."""
        return asdict(self) | {"loss": float(self.loss), "before": self._before}

    def load_state_dict(self, state: dict) -> None:
        """Continue from ``state_dict()``."""
        for name in asdict(self):
            setattr(self, name, state[name])
        self._before = state["before"]


def generator_change(before: Tensor | None, now: Tensor) -> float:
    """How much generators changed: the larger of an angle and a growth.

    Args:
        before: generators (c, k, k), or ``None`` at the first check.
        now: generators (c, k, k).

    Returns:
        The largest principal angle between the two spans in radians, or |log| of the ratio of the norms; infinite
        where there is nothing to compare with.
    """
    if before is None or not now.any() or not before.any():
        return float("inf")
    angles = principal_angles(before, now)
    growth = (now.norm() / before.norm()).log().abs()
    return max(float(angles.max()), float(growth))
