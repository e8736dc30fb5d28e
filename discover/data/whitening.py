"""Coordinates z = W x on the span of the data in which the data have unit second moments."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from equivariant.compare import DataSpan, data_span

__all__ = ["Whitening", "echelon"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Whitening:
    """``encode (r, k)`` and ``decode (k, r)`` with encode decode = 1 and decode encode = projector on the span.

    Linear, so every group that acts linearly on x acts linearly on z; the origin stays where it is.
    """

    encode: Tensor
    decode: Tensor
    span: DataSpan

    @classmethod
    def of_data(cls, vectors: Tensor) -> "Whitening":
        """From data vectors (n, k). Raises ``ValueError`` when they are empty, not finite or all zero."""
        span = data_span(vectors)
        if span.rank == 0:
            raise ValueError(
                "the data vectors must not all be zero: no group element can be seen to act on them"
            )
        scale = span.singular_values[: span.rank] / len(vectors) ** 0.5
        return cls(encode=span.basis / scale[:, None], decode=(span.basis * scale[:, None]).mT, span=span)

    @classmethod
    def none(cls, vectors: Tensor) -> "Whitening":
        """The data's own coordinates, unchanged."""
        same = torch.eye(vectors.shape[-1], dtype=torch.float64)
        return cls(encode=same, decode=same, span=data_span(vectors))

    def generators(self, basis: Tensor) -> Tensor:
        """The generators (c, k, k) as they act on z: (c, r, r)."""
        return self.encode @ basis.to(self.encode) @ self.decode

    def off_span(self, basis: Tensor) -> float:
        """The part of the generators' action on the data, in size, that points out of the data's span; 0 to 1."""
        action = basis.to(self.decode) @ self.decode
        outside = action - self.span.projector @ action
        return float(outside.norm() / action.norm()) if action.norm() > 0 else 0.0

    def undetermined(self) -> Tensor:
        """Directions (k - r, k) in which the data never point: what a generator does to them is not known."""
        k, rank = self.span.basis.shape[1], self.span.rank
        return torch.linalg.qr(self.span.basis.mT, mode="complete").Q[:, rank:k].mT

    def relations(self, names: Sequence[str]) -> tuple[str, ...]:
        """The equations the data obey, one for each undetermined direction, such as ``"q1x + q2x = 0"``."""
        short = [name.split(" [")[0] for name in names]
        return tuple(_equation(row, short) for row in echelon(self.undetermined()).tolist())


def echelon(rows: Tensor) -> Tensor:
    """Reduced row echelon form of independent rows (m, k), pivots chosen by size."""
    rows = rows.clone()
    for i in range(len(rows)):
        pivot = int(rows[i].abs().argmax())
        rows[i] = rows[i] / rows[i, pivot]
        others = torch.arange(len(rows)) != i
        rows[others] = rows[others] - rows[others, pivot][:, None] * rows[i]
    return rows


def _equation(coefficients: list[float], names: Sequence[str]) -> str:
    """``q1x - 0.5 q2x = 0``; what is below a thousandth of the largest coefficient is left out."""
    terms = [(c, name) for c, name in zip(coefficients, names, strict=True) if abs(c) >= 1e-3]
    sign = -1 if terms[0][0] < 0 else 1
    words = [f"{'-' if sign * c < 0 else '+'} {_times(abs(c))}{name}" for c, name in terms]
    return " ".join(words).removeprefix("+ ") + " = 0"


def _times(size: float) -> str:
    return "" if abs(size - 1) < 5e-4 else f"{size:.3g} "
