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
    """The linear span of data.

    Args:
        basis: orthonormal rows, shape (rank, k).
        singular_values: of the data, descending.
        rank: dimension of the span.

    Example:
        >>> data_span(torch.tensor([[1.0, 0.0, 2.0], [3.0, 0.0, 4.0]])).rank
        2
    """

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
    """The linear span of data.

    Args:
        data: points, shape (..., k).
        rtol: directions with a singular value below this times the largest are left out.

    Returns:
        The span with its singular values.

    Raises:
        ValueError: for an empty or non-finite array.

    Example:
        >>> data_span(torch.eye(3)[:2]).basis.shape
        torch.Size([2, 3])
    """
    if data.ndim == 0 or data.numel() == 0 or not torch.isfinite(data).all():
        raise ValueError(f"data must be finite rows of shape (n, k) with n > 0, got {tuple(data.shape)}")
    rows = data.detach().reshape(-1, data.shape[-1]).double()
    values, vectors = _row_space(rows)
    rank = int((values > rtol * values.max()).sum()) if values.max() > 0 else 0
    return DataSpan(basis=vectors[:rank], singular_values=values, rank=rank)


def span(basis: Basis, data: Tensor | None = None, rtol: float = 1e-9) -> Tensor:
    """An orthonormal basis of the span of generators.

    Args:
        basis: generators (c, k, k), or a ``LieAlgebra``.
        data: points (..., k); a generator is then what it does to them: L restricted to the span of the data.
        rtol: directions below this times the largest are left out.

    Returns:
        Orthonormal rows, shape (rank, k * d), with d the dimension of the span of the data (k without data).

    Raises:
        ValueError: for data of another size.

    Example:
        >>> from equivariant import catalogue
        >>> span(catalogue.rotation(3)).shape
        torch.Size([3, 9])
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
    """Principal angles between the spans of two algebras, exact for small angles and for right ones.

    Args:
        a: generators (c, k, k), or a ``LieAlgebra``.
        b: generators (d, k, k), or a ``LieAlgebra``.
        data: points (..., k); the angles are then between what the generators do to their span.

    Returns:
        Angles [rad], ascending, as many as the smaller span has dimensions.

    Raises:
        ValueError: if the two act on vectors of different size.

    Example:
        >>> from equivariant import catalogue
        >>> float(principal_angles(catalogue.rotation(3), catalogue.rotation(3)).max()) < 1e-12
        True
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

    Args:
        a: generators (c, k, k), or a ``LieAlgebra``.
        b: generators (d, k, k), or a ``LieAlgebra``.
        data: points (..., k), as for ``principal_angles``.

    Returns:
        The cosine; 1 for two empty spans, 0 for an empty and another one.

    Example:
        >>> from equivariant import catalogue
        >>> cosine(catalogue.rotation(2), 3 * catalogue.rotation(2).basis)
        1.0
    """
    angles = principal_angles(a, b, data)
    if len(angles) == 0:
        return float(len(span(a, data)) == len(span(b, data)))
    return float(angles.max().cos())


def subspace_error(a: Basis, b: Basis, data: Tensor | None = None) -> float:
    """Square root of the sum of squared principal angles.

    Args:
        a: generators (c, k, k), or a ``LieAlgebra``.
        b: generators (d, k, k), or a ``LieAlgebra``.
        data: points (..., k), as for ``principal_angles``.

    Returns:
        The distance of the two spans [rad].

    Example:
        >>> from equivariant import catalogue
        >>> subspace_error(catalogue.lorentz(), catalogue.lorentz()) < 1e-12
        True
    """
    return float(principal_angles(a, b, data).norm())


def brackets(basis: Basis) -> Tensor:
    """All Lie brackets [L_i, L_j] = L_i L_j - L_j L_i.

    Args:
        basis: generators (c, k, k), or a ``LieAlgebra``.

    Returns:
        The brackets, shape (c, c, k, k).

    Example:
        >>> from equivariant import catalogue
        >>> brackets(catalogue.rotation(3)).shape
        torch.Size([3, 3, 3, 3])
    """
    matrices = _matrices(basis)
    products = torch.einsum("aij,bjk->abik", matrices, matrices)
    return products - products.transpose(0, 1)


def closure_error(basis: Basis) -> float:
    """Size of the part of all brackets outside of the span, relative to all brackets; 0 for a closed algebra.

    Args:
        basis: generators (c, k, k), or a ``LieAlgebra``; each counts with size one.

    Returns:
        The relative error, from 0 to 1.

    Example:
        >>> from equivariant import catalogue
        >>> closure_error(catalogue.rotation(3)) < 1e-12, closure_error(catalogue.rotation(3).basis[:2]) > 0.5
        (True, True)
    """
    matrices = _unit(_matrices(basis))
    commutators = brackets(matrices).flatten(2)
    rows = span(matrices)
    outside = commutators - commutators @ rows.mT @ rows
    scale = commutators.norm()
    # commuting generators: nothing leaves the span, and rounding must not be divided by rounding
    return float(outside.norm() / scale) if scale > 1e-12 * len(matrices) else 0.0


def structure_constants(basis: Basis) -> Tensor:
    """The numbers f_ijl in [L_i, L_j] = sum_l f_ijl L_l, by least squares.

    Args:
        basis: generators (c, k, k), or a ``LieAlgebra``.

    Returns:
        f, shape (c, c, c).

    Example:
        >>> from equivariant import catalogue
        >>> structure_constants(catalogue.rotation(3)).abs().sum((0, 1)).round().tolist()
        [2.0, 2.0, 2.0]
    """
    matrices = _matrices(basis)
    c = len(matrices)
    if c == 0:
        return matrices.new_zeros(0, 0, 0)
    inverse = torch.linalg.pinv(matrices.flatten(1))
    return (brackets(matrices).flatten(2) @ inverse).reshape(c, c, c)


def killing_form(basis: Basis) -> Tensor:
    """The Killing form K_ij = tr(ad_i ad_j) in the given basis; negative definite if compact and semisimple.

    Args:
        basis: generators (c, k, k), or a ``LieAlgebra``.

    Returns:
        K, shape (c, c).

    Example:
        >>> from equivariant import catalogue
        >>> killing_form(catalogue.rotation(3)).round().diagonal().tolist()
        [-2.0, -2.0, -2.0]
    """
    f = structure_constants(basis)
    return torch.einsum("iab,jba->ij", f, f)


def _matrices(basis: Basis) -> Tensor:
    matrices = basis if isinstance(basis, Tensor) else basis.basis
    if matrices.ndim != 3 or matrices.shape[1] != matrices.shape[2]:
        raise ValueError(f"a basis must have shape (c, k, k), got {tuple(matrices.shape)}")
    if not torch.isfinite(matrices).all():
        raise ValueError("a basis must be finite, got NaN or infinity; check where the generators come from")
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
