"""Coordinates z = W x on the span of the data in which the data have unit second moments."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from equivariant.compare import DataSpan, data_span

__all__ = ["Whitening", "column_scales", "echelon"]

LARGEST_RATIO = 1e4  # columns of one size up to this factor are left as they are
ROUNDING = 1e-12  # a column smaller than this part of the largest is zero up to rounding


def column_scales(vectors: Tensor) -> Tensor:
    """Units in which columns of very different units are of one size.

    Args:
        vectors: (n, k).

    Returns:
        The root mean square (k,) of each column where the largest and the smallest are further apart than a factor
        of ``LARGEST_RATIO``, else ones. Columns that are zero up to rounding count as one.

    Example:
        >>> column_scales(torch.tensor([[1e9, 2.0], [1e9, -2.0]], dtype=torch.float64)).tolist()
        [1000000000.0, 2.0]
        >>> column_scales(torch.tensor([[10.0, 2.0], [20.0, -2.0]], dtype=torch.float64)).tolist()
        [1.0, 1.0]
    """
    largest = vectors.abs().amax().double() if vectors.numel() else vectors.new_zeros((), dtype=torch.float64)
    sizes = (vectors.double() / largest).square().mean(0).sqrt() * largest
    there = sizes > ROUNDING * sizes.max()
    if not there.any() or sizes.max() <= LARGEST_RATIO * sizes[there].min():
        return torch.ones_like(sizes)
    return torch.where(there, sizes, 1.0)


@dataclass(frozen=True, kw_only=True, eq=False)
class Whitening:
    """Linear coordinates z = encode x of unit second moments; every group that acts linearly on x does so on z.

    Args:
        encode: (r, k), with encode decode = 1; decode encode projects on the span of the data.
        decode: (k, r).
        scaled_span: the span of the data in units of ``scales``.
        scales: (k,), see ``column_scales``.
    """

    encode: Tensor
    decode: Tensor
    scaled_span: DataSpan
    scales: Tensor

    @classmethod
    def of_data(cls, vectors: Tensor) -> "Whitening":
        """From data vectors (n, k). Raises ``ValueError`` when they are empty, not finite or all zero."""
        scales = column_scales(vectors)
        span = data_span(vectors / scales)
        if span.rank == 0:
            raise ValueError(
                "the data vectors must not all be zero: no group element can be seen to act on them"
            )
        sizes = span.singular_values[: span.rank] / len(vectors) ** 0.5
        return cls(
            encode=span.basis / sizes[:, None] / scales,
            decode=scales[:, None] * (span.basis * sizes[:, None]).mT,
            scaled_span=span,
            scales=scales,
        )

    @classmethod
    def none(cls, vectors: Tensor) -> "Whitening":
        """The data's own coordinates, unchanged."""
        same = torch.eye(vectors.shape[-1], dtype=torch.float64)
        return cls(encode=same, decode=same, scaled_span=data_span(vectors), scales=torch.ones_like(same[0]))

    @property
    def span(self) -> DataSpan:
        """Where the data live, in their own units; singular values are those in units of ``scales``."""
        if (self.scales == 1).all():
            return self.scaled_span
        basis = torch.linalg.qr(self.scales[:, None] * self.scaled_span.basis.mT).Q.mT
        return replace(self.scaled_span, basis=basis)

    def generators(self, basis: Tensor) -> Tensor:
        """The generators (c, k, k) as they act on z: (c, r, r)."""
        return self.encode @ basis.to(self.encode) @ self.decode

    def off_span(self, basis: Tensor) -> float:
        """The part of the generators' action on the data, in size, that points out of the data's span; 0 to 1."""
        action = basis.to(self.decode) @ self.decode / self.scales[:, None]
        outside = action - self.scaled_span.projector @ action
        return float(outside.norm() / action.norm()) if action.norm() > 0 else 0.0

    def undetermined(self) -> Tensor:
        """Directions (k - r, k) in which the data never point: what a generator does to them is not known."""
        return _complement(self.span)

    def relations(self, names: Sequence[str]) -> tuple[str, ...]:
        """The equations the data obey, one for each undetermined direction, such as ``"q1x + q2x = 0"``."""
        short = [name.split(" [")[0] for name in names]
        rows = echelon(_complement(self.scaled_span))
        return tuple(_equation(row, self.scales.tolist(), short) for row in rows.tolist())


def _complement(span: DataSpan) -> Tensor:
    """Orthonormal rows (k - r, k) square to the span."""
    return torch.linalg.qr(span.basis.mT, mode="complete").Q[:, span.rank :].mT


def echelon(rows: Tensor) -> Tensor:
    """Reduced row echelon form of independent rows (m, k), pivots chosen by size."""
    rows = rows.clone()
    for i in range(len(rows)):
        pivot = int(rows[i].abs().argmax())
        rows[i] = rows[i] / rows[i, pivot]
        others = torch.arange(len(rows)) != i
        rows[others] = rows[others] - rows[others, pivot][:, None] * rows[i]
    return rows


def _equation(coefficients: list[float], scales: list[float], names: Sequence[str]) -> str:
    """``q1x - 0.5 q2x = 0`` in the columns' own units; what is below a thousandth of the largest term is left out."""
    terms = [(c / s, name) for c, s, name in zip(coefficients, scales, names, strict=True) if abs(c) >= 1e-3]
    if max(scales) > 1:
        largest = max(abs(c) for c, _ in terms)
        terms = [(c / largest, name) for c, name in terms]
    sign = -1 if terms[0][0] < 0 else 1
    words = [f"{'-' if sign * c < 0 else '+'} {_times(abs(c))}{name}" for c, name in terms]
    return " ".join(words).removeprefix("+ ") + " = 0"


def _times(size: float) -> str:
    return "" if abs(size - 1) < 5e-4 else f"{size:.3g} "
