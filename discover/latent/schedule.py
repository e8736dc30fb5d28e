"""When a latent game has settled: its generators have stopped to turn and its reconstruction to improve."""

from dataclasses import dataclass

from torch import Tensor

from discover.adversarial.schedule import Schedule, change
from discover.latent.group import GivenGroup, LatentGenerator

__all__ = ["LatentSchedule"]


@dataclass(kw_only=True)
class LatentSchedule(Schedule):
    """``Schedule`` that also waits until the loss, averaged, falls by less than ``least_gain``."""

    every: int = 250
    least_gain: float = 0.02
    loss: float | Tensor = float("nan")
    loss_before: float = float("inf")

    def follow(self, group: LatentGenerator | GivenGroup, loss: Tensor) -> None:
        """Count one step; now and then look whether anything still moves."""
        self.step += 1
        now = loss.detach()
        self.loss = now if self.step == 1 else self.loss + 0.01 * (now - self.loss)
        if self.step % self.every or self.step > self.cooling_from:
            return
        basis = group.whitened_basis.detach().double().cpu()
        self.turn, self._before = change(self._before, basis), basis
        gain = 1 - float(self.loss) / self.loss_before
        self.loss_before = min(self.loss_before, float(self.loss))
        self.quiet = self.quiet + 1 if self.turn < self.tolerance and gain < self.least_gain else 0
        if self.quiet >= self.patience:
            self.cooling_from = min(self.cooling_from, self.step)

    def row(self, losses: dict[str, Tensor]) -> dict[str, float]:
        """What the history keeps of this step."""
        return {"step": float(self.step), **{k: float(v) for k, v in losses.items()}, "turn": self.turn}

    @staticmethod
    def line(row: dict[str, float]) -> str:
        """What the progress bar says of it."""
        critic = f", critic {row['critic']:.3f} (blind 0.693)" if "critic" in row else ""
        return f"lost {row['reconstruction'] ** 0.5:.2%}{critic}, generators turn {row['turn']:.3f} rad"

    def state_dict(self) -> dict:
        """Where the schedule stands."""
        return super().state_dict() | {"loss": float(self.loss)}
