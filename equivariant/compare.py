"""How alike two algebras are: principal angles of their spans; how closed: [L_i, L_j] = f_ij^l L_l."""

from dataclasses import dataclass
from typing import Protocol, TypeAlias

import torch
from torch import Tensor

__all__ = [
    "DataSpan",
    "brackets",
    "closure_error",
    "cosine",
    "data_span",
    "killing_form",
    "principal_angles",
    "span",
    "structure_constants",
    "subspace_error",
]


class HasBasis(Protocol):
    """An algebra, as far as comparing goes: its generators."""

    @property
    def basis(self) -> Tensor:
        """Generators (c, k, k)."""
        ...


Basis: TypeAlias = Tensor | HasBasis


@dataclass(frozen=True, kw_only=True, eq=False)
class DataSpan:
    """Where data live: ``basis (rank, k)`` orthonormal rows, ``singular_values`` descending, ``rank``."""

    basis: Tensor
    singular_values: Tensor
    rank: int

    @property
    def projector(self) -> Tensor:
        """The orthogonal projector (k, k) on the span of the data."""
        return self.basis.mT @ self.basis

    @property
    def gap(self) -> float:
        """Last kept over first dropped singular value; infinite when nothing was dropped."""
        s = self.singular_values
        return float(s[self.rank - 1] / s[self.rank]) if 0 < self.rank < len(s) else float("inf")


def data_span(data: Tensor, rtol: float = 1e-6) -> DataSpan:
    """The linear span of data (..., k): directions with singular value above ``rtol`` times the largest.

    Raises ``ValueError`` for an empty or non-finite array.
    """
    rows = data.detach().reshape(-1, data.shape[-1]).double()
    if len(rows) == 0 or not torch.isfinite(rows).all():
        raise ValueError(f"data must be finite rows of shape (n, k) with n > 0, got {tuple(data.shape)}")
    values, vectors = _row_space(rows)
    rank = int((values > rtol * values.max()).sum()) if values.max() > 0 else 0
    return DataSpan(basis=vectors[:rank], singular_values=values, rank=rank)


def span(basis: Basis, data: Tensor | None = None, rtol: float = 1e-9) -> Tensor:
    """Orthonormal rows (rank, k * d) of the span of generators (c, k, k).

    With ``data (..., k)`` a generator is what it does to the data: L restricted to the span of the data
    (d its dimension); directions below ``rtol`` times the largest are dropped.
    """
    matrices = _matrices(basis)
    if data is not None:
        if data.shape[-1] != matrices.shape[-1]:
            raise ValueError(f"data must have shape (..., {matrices.shape[-1]}), got {tuple(data.shape)}")
        matrices = matrices @ data_span(data).basis.mT.to(matrices)
    rows = matrices.flatten(1)
    if not rows.any():
        return rows[:0]
    values, vectors = _row_space(rows)
    return vectors[: int((values > rtol * values[0]).sum())]


def principal_angles(a: Basis, b: Basis, data: Tensor | None = None) -> Tensor:
    """Principal angles [rad], ascending, between the spans of two bases (c, k, k), exact for small angles.

    As many as the smaller span has dimensions, so none where one of them is empty.
    """
    first, second = span(a, data), span(b, data)
    if first.shape[-1] != second.shape[-1]:
        raise ValueError(
            f"both bases must act on one space, got {_matrices(a).shape} and {_matrices(b).shape}"
        )
    if len(first) < len(second):
        first, second = second, first
    if len(second) == 0:
        return first.new_zeros(0)
    cosines = torch.linalg.svdvals(first @ second.mT).clamp(max=1)
    # arccos loses half of the digits near zero, arcsin near a right angle: each is used where it is sharp
    sines = torch.linalg.svdvals(second - second @ first.mT @ first).flip(0).clamp(max=1)
    return torch.where(sines < 0.5, sines.asin(), cosines.acos())


def cosine(a: Basis, b: Basis, data: Tensor | None = None) -> float:
    """Cosine of the largest principal angle; for single generators, their |cosine|.

    Two empty spans agree (1); an empty and a non-empty one do not (0).
    """
    angles = principal_angles(a, b, data)
    if len(angles) == 0:
        return float(len(span(a, data)) == len(span(b, data)))
    return float(angles.max().cos())


def subspace_error(a: Basis, b: Basis, data: Tensor | None = None) -> float:
    """Square root of the sum of squared principal angles [rad]."""
    return float(principal_angles(a, b, data).norm())


def brackets(basis: Basis) -> Tensor:
    """[L_i, L_j] = L_i L_j - L_j L_i, shape (c, c, k, k)."""
    matrices = _matrices(basis)
    products = torch.einsum("aij,bjk->abik", matrices, matrices)
    return products - products.transpose(0, 1)


def closure_error(basis: Basis) -> float:
    """Size of the part of all brackets outside the span, relative to all products; 0 for a closed algebra.

    Each generator counts with size one, so the answer does not depend on their scales.
    """
    matrices = _unit(_matrices(basis))
    commutators = brackets(matrices).flatten(2)
    rows = span(matrices)
    outside = commutators - commutators @ rows.mT @ rows
    scale = commutators.norm()
    # commuting generators: nothing leaves the span, and rounding must not be divided by rounding
    return float(outside.norm() / scale) if scale > 1e-12 * len(matrices) else 0.0


def structure_constants(basis: Basis) -> Tensor:
    """f (c, c, c) with [L_i, L_j] = sum_l f_ijl L_l, by least squares."""
    matrices = _matrices(basis)
    c = len(matrices)
    if c == 0:
        return matrices.new_zeros(0, 0, 0)
    inverse = torch.linalg.pinv(matrices.flatten(1))
    return (brackets(matrices).flatten(2) @ inverse).reshape(c, c, c)


def killing_form(basis: Basis) -> Tensor:
    """K_ij = tr(ad_i ad_j) (c, c) in the given basis; negative definite when compact and semisimple."""
    f = structure_constants(basis)
    return torch.einsum("iab,jba->ij", f, f)


def _matrices(basis: Basis) -> Tensor:
    matrices = basis if isinstance(basis, Tensor) else basis.basis
    if matrices.ndim != 3 or matrices.shape[1] != matrices.shape[2]:
        raise ValueError(f"a basis must have shape (c, k, k), got {tuple(matrices.shape)}")
    return matrices.detach().double()


def _unit(matrices: Tensor) -> Tensor:
    norms = matrices.flatten(1).norm(dim=1)[:, None, None]
    return matrices / torch.where(norms > 0, norms, 1)


def _row_space(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Singular values, descending, and orthonormal right vectors as rows (QR first when tall)."""
    if rows.shape[0] > rows.shape[1]:
        rows = torch.linalg.qr(rows, mode="r").R
    _, values, vectors = torch.linalg.svd(rows, full_matrices=False)
    return values, vectors
