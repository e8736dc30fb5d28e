"""Trajectories cut into windows of snapshots ``stride`` apart: what shares one group element in a latent game."""

from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import torch
from torch import Tensor

__all__ = ["Windows"]

FEW = 5  # fewer trajectories than this are each cut in time, rather than held out whole
BLOCKS = 3  # and so many stretches of each are held out, so that slow changes are seen from both sides


@dataclass(frozen=True, kw_only=True, eq=False)
class Windows:
    """Snapshots as coefficients and where windows of them begin.

    Shapes: ``points (m, T, r)``; ``starts (n, 2)``: trajectory and time of the first snapshot of each window;
    ``labels (m, T, s)`` numbers, or ``classes (m, T)`` whole numbers, that no group element changes;
    ``elements (m, T - 1, c)``: coefficients of the element between consecutive snapshots; ``rates (m, T, r)``.
    """

    points: Tensor
    starts: Tensor
    window: int
    stride: int
    labels: Tensor | None = None
    classes: Tensor | None = None
    elements: Tensor | None = None
    rates: Tensor | None = None

    def __len__(self) -> int:
        return len(self.starts)

    def _times(self, index: Tensor) -> tuple[Tensor, Tensor]:
        trajectory, start = self.starts[index].unbind(1)
        steps = torch.arange(self.window, device=start.device) * self.stride
        return trajectory[:, None], start[:, None] + steps

    def snapshots(self, index: Tensor) -> Tensor:
        """Windows (n, w, r)."""
        return self.points[self._times(index)]

    def invariants(self, index: Tensor) -> Tensor | None:
        """Numbers (n, s) shown to the critic, of the first snapshot of each window."""
        return None if self.labels is None else self.labels[tuple(self.starts[index].unbind(1))]

    def kinds(self, index: Tensor) -> Tensor | None:
        """Classes (n,) shown to the critic."""
        return None if self.classes is None else self.classes[tuple(self.starts[index].unbind(1))]

    def moves(self, index: Tensor) -> Tensor | None:
        """Coefficients (n, w - 1, c) of the known elements from one snapshot of a window to the next."""
        if self.elements is None:
            return None
        trajectory, times = self._times(index)
        return self.elements[trajectory, times[:, :-1]]

    def speeds(self, index: Tensor) -> Tensor | None:
        """Rates of change (n, r) of the first snapshot of each window."""
        return None if self.rates is None else self.rates[tuple(self.starts[index].unbind(1))]

    @property
    def digest(self) -> str:
        """SHA-256 of all it holds."""
        hashed = sha256(f"{self.window} {self.stride}".encode())
        for tensor in (self.points, self.starts, self.labels, self.classes, self.elements, self.rates):
            if tensor is not None:
                hashed.update(tensor.cpu().contiguous().numpy().tobytes())
        return hashed.hexdigest()

    @property
    def n_classes(self) -> int:
        """How many classes there are; 0 without."""
        return 0 if self.classes is None else int(self.classes.max()) + 1

    def split(self, held_out: float, seed: int) -> tuple["Windows", "Windows"]:
        """Most windows, and those held out: whole trajectories where there are many, else stretches of time.

        Windows that reach from one part into the other are left out, so no held-out snapshot is trained on.
        """
        m = len(self.points)
        if m >= FEW:
            order = torch.randperm(m, generator=torch.Generator().manual_seed(seed))
            kept = torch.zeros(m, dtype=torch.bool)
            kept[order[: max(1, round(held_out * m))]] = True
            chosen = kept.to(self.starts.device)[self.starts[:, 0]]
            return self._only(~chosen), self._only(chosen)
        return self._only(~self._touches(held_out, whole=False)), self._only(
            self._touches(held_out, whole=True)
        )

    def _touches(self, held_out: float, whole: bool) -> Tensor:
        """Which windows lie in the held-out stretches, at the ends of a few blocks of time: wholly, or at all."""
        length, reach = self.points.shape[1], (self.window - 1) * self.stride
        fitting = [n for n in range(1, BLOCKS + 1) if length * held_out / n >= 2 * reach]
        block = length / max(fitting, default=1)
        kept = torch.arange(length, device=self.starts.device) % block >= block * (1 - held_out)
        times = self.starts[:, 1:] + torch.arange(self.window, device=self.starts.device) * self.stride
        return kept[times].all(1) if whole else kept[times].any(1)

    def _only(self, chosen: Tensor) -> "Windows":
        starts = self.starts[chosen]
        if not len(starts):
            raise ValueError(
                f"{self.window} snapshots {self.stride} apart do not fit into both parts of trajectories of "
                f"{self.points.shape[1]} snapshots; use a smaller stride, longer trajectories, or more of them"
            )
        return self._with(starts=starts)

    def _with(self, **changes: Any) -> "Windows":
        return Windows(**({name: getattr(self, name) for name in self.__dataclass_fields__} | changes))

    def to(self, device: str | torch.device, dtype: torch.dtype) -> "Windows":
        """A copy elsewhere; whole numbers follow the device alone."""
        moved = {name: getattr(self, name) for name in ("points", "labels", "elements", "rates")}
        moved = {name: None if t is None else t.to(device=device, dtype=dtype) for name, t in moved.items()}
        whole = {name: getattr(self, name) for name in ("starts", "classes")}
        whole = {name: None if t is None else t.to(device) for name, t in whole.items()}
        return self._with(**moved, **whole)
