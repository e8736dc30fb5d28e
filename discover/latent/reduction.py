"""Fields as few coefficients: c = U (x - mean) / scale with the leading modes U of the snapshots (POD, PCA).

Modes come from the Gram matrix of evenly spread snapshots (the method of snapshots: Sirovich 1987). Their error is
then measured on every snapshot, so the stated error is that of the data and not of the subset.
"""

from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Reduction"]

SUBSET = 1200  # snapshots the modes are computed from at first; more where these do not reach the tolerance
CHUNK = 512  # snapshots in memory at a time in float64
FLOOR = 0.1  # smallest over largest spread of the coefficients, as the encoder's gain sees them


class Reduction(nn.Module):
    """Snapshots (n, D) to coefficients (n, r) with mean square sum of one, and back.

    Args:
        size: D.
        modes: r, or 0 for the entries themselves, centred and scaled by one number.

    Attributes:
        mean: (D,).
        modes: orthonormal rows (r, D).
        scale: root mean square of |x - mean|.
        spread: root mean square of each coefficient (r,).
        residual: error of the modes, relative to ``scale``.
    """

    mean: Tensor
    modes: Tensor
    scale: Tensor
    spread: Tensor
    residual: Tensor

    def __init__(self, size: int, modes: int = 0):
        super().__init__()
        self.size = modes or size
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("modes", torch.zeros(modes, size))
        self.register_buffer("scale", torch.ones(()))
        self.register_buffer("spread", torch.ones(self.size))
        self.register_buffer("residual", torch.zeros(()))

    @classmethod
    def of_data(cls, x: Tensor, tolerance: float | None, most: int = 256) -> tuple["Reduction", Tensor]:
        """The reduction of snapshots with the fewest modes, and their coefficients (n, r).

        Args:
            x: snapshots (n, D).
            tolerance: largest relative error; ``None`` keeps every entry.
            most: largest number of modes.

        Raises:
            ValueError: if no snapshot differs from another, or more than ``most`` modes are needed.
        """
        mean = _mean(x)
        size = _root_mean_square(x, mean)
        if not size > 1e-12 * float(mean.abs().max()):
            raise ValueError("the snapshots must differ from each other, got the same one again and again")
        modes = x.new_zeros(0, x.shape[1]) if tolerance is None else _modes(x, mean, tolerance, size, most)
        reduction = cls(x.shape[1], len(modes)).to(x)
        reduction.mean.copy_(mean)
        reduction.modes.copy_(modes)
        reduction.scale.fill_(size)
        coefficients = reduction(x)
        reduction.spread.copy_(coefficients.square().mean(0).sqrt())
        if len(modes):
            reduction.residual.fill_(_residual(x, mean, modes) / size)
        else:
            reduction.spread.fill_(len(mean) ** -0.5)
        return reduction, coefficients

    @property
    def gain(self) -> Tensor:
        """Factors (r,) that bring large coefficients to unit variance for the encoder."""
        return 1 / self.spread.clamp_min(FLOOR * float(self.spread.max()))

    def forward(self, x: Tensor) -> Tensor:
        """Coefficients (n, r) of snapshots (n, D)."""
        if not len(self.modes):
            return (x - self.mean) / self.scale
        return (x @ self.modes.mT - self.modes @ self.mean) / self.scale

    def rate(self, dx: Tensor) -> Tensor:
        """Coefficients (n, r) of rates of change (n, D): the same without the mean."""
        return (dx @ self.modes.mT if len(self.modes) else dx) / self.scale

    def inverse(self, coefficients: Tensor) -> Tensor:
        """Snapshots (n, D) of coefficients (n, r)."""
        scaled = coefficients * self.scale
        return (scaled @ self.modes if len(self.modes) else scaled) + self.mean

    def describe(self) -> dict[str, Any]:
        """Numbers for a report."""
        return {
            "entries": len(self.mean),
            "coefficients": self.size,
            "relative_error": float(self.residual),
        }


def _mean(x: Tensor) -> Tensor:
    total = torch.zeros(x.shape[1], dtype=torch.float64, device=x.device)
    for chunk in x.split(CHUNK):
        total += chunk.double().sum(0)
    return (total / len(x)).to(x)


def _root_mean_square(x: Tensor, mean: Tensor) -> float:
    total = sum(float((chunk - mean).double().square().sum()) for chunk in x.split(CHUNK))
    return (total / len(x)) ** 0.5


def _modes(x: Tensor, mean: Tensor, tolerance: float, size: float, most: int) -> Tensor:
    """The fewest leading modes (r, D) whose error on every snapshot is below the tolerance."""
    taken = min(SUBSET, len(x))
    while True:
        ranked = _leading(x[torch.linspace(0, len(x) - 1, taken).long()] - mean, most)
        count = _count(x, mean, ranked, tolerance, size)
        if count is not None:
            return ranked[:count]
        if taken == len(x):
            raise ValueError(
                f"reduction={tolerance:g} needs more than {len(ranked)} modes; give a larger error, or reduction=None"
            )
        taken = min(2 * taken, len(x))


def _leading(centred: Tensor, most: int) -> Tensor:
    """Leading right singular vectors as rows, by the smaller of the two Gram matrices."""
    n, size = centred.shape
    if size <= n:
        _, vectors = torch.linalg.eigh(_gram(centred.mT))
        return vectors.flip(1)[:, :most].mT.contiguous().to(centred)
    values, vectors = torch.linalg.eigh(_gram(centred))
    kept = (values.flip(0) > 1e-13 * values.max()).nonzero().flatten()[:most]
    rows = (vectors.flip(1)[:, kept].mT.to(centred) @ centred).double()
    return torch.linalg.qr(rows.mT).Q.mT.contiguous().to(centred)


def _gram(rows: Tensor) -> Tensor:
    """rows rows^T (n, n) in float64, never holding more than a block of columns in that precision."""
    total = torch.zeros(len(rows), len(rows), dtype=torch.float64, device=rows.device)
    for block in rows.split(2048, dim=1):
        wide = block.double()
        total += wide @ wide.mT
    return total


def _count(x: Tensor, mean: Tensor, modes: Tensor, tolerance: float, size: float) -> int | None:
    """The number of modes that reach the tolerance, from the energy of each on every snapshot."""
    energy = torch.zeros(len(modes), dtype=torch.float64, device=x.device)
    for chunk in x.split(CHUNK):
        energy += ((chunk - mean) @ modes.mT).double().square().sum(0)
    left = size**2 - energy.cumsum(0) / len(x)
    for count in (left <= (tolerance * size) ** 2).nonzero().flatten().tolist()[:1]:
        # a difference of two large energies has their rounding error: measured again in full
        while count < len(modes) and _residual(x, mean, modes[: count + 1]) > tolerance * size:
            count += 1
        return count + 1 if count < len(modes) else None
    exact = len(modes) == x.shape[1] or _residual(x, mean, modes) <= tolerance * size
    return len(modes) if exact else None


def _residual(x: Tensor, mean: Tensor, modes: Tensor) -> float:
    """Root mean square of the part of x - mean orthogonal to the modes."""
    total = 0.0
    for chunk in x.split(CHUNK):
        centred = chunk - mean
        total += float((centred - centred @ modes.mT @ modes).double().square().sum())
    return (total / len(x)) ** 0.5
