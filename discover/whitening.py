"""Coordinates z = W x on the span of the data in which the data have unit second moments."""

from dataclasses import dataclass

import torch
from torch import Tensor

from equivariant.compare import DataSpan, data_span

__all__ = ["Whitening"]


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

    def leaving(self, basis: Tensor) -> float:
        """The part of the generators' action on the data, in size, that points out of the data's span; 0 to 1."""
        action = basis.to(self.decode) @ self.decode
        outside = action - self.span.projector @ action
        return float(outside.norm() / action.norm()) if action.norm() > 0 else 0.0

    def undetermined(self) -> Tensor:
        """Directions (k - r, k) in which the data never point: what a generator does to them is not known."""
        k, rank = self.span.basis.shape[1], self.span.rank
        return torch.linalg.qr(self.span.basis.mT, mode="complete").Q[:, rank:k].mT
