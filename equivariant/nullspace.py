"""The one solver for linear constraints: all q with C q = 0 up to noise, with the evidence for their number.

How it decides. With s_1 <= s_2 <= ... the singular values of C over the largest, ``rtol`` is the level of
noise: below it nothing is told apart from zero, and only values up to ten times it may count as zero. Among
those the number n is where the gap s_{n+1} / max(s_n, rtol) is widest; or it is given, as ``count``.

How it computes. In float64, from the Gram matrix G = C^T C. Its eigenvectors next to zero are as exact as
those of an SVD of C when the gap is clear (error eps / gap^2), at a fraction of the time; its small
eigenvalues are not (they lose half of the digits), so the values that decide are measured on C itself. Above
``DENSE`` unknowns only the lowest eigenvectors are sought, by subspace iteration with one Cholesky factor.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["RTOL", "NullSpace", "canonical", "intertwiners", "null_space"]

RTOL = 1e-2
DENSE = 600
SHIFT = 1e-10


@dataclass(frozen=True, kw_only=True, eq=False)
class NullSpace:
    """Solutions of linear constraints C q = 0, and the evidence for their number n.

    Args:
        basis: orthonormal rows (n, d), a function of the space alone, so the same on every run.
        singular_values: of C over the largest, ascending; at least one beyond n where there is one.
        residual: the largest |C q| of the basis, over the largest singular value.
        gap: s_{n+1} / max(s_n, eps), how clearly n stands out.

    Example:
        >>> null_space(torch.tensor([[1.0, 1.0, 0.0]])).dim
        2
    """

    basis: Tensor
    singular_values: Tensor
    residual: float
    gap: float

    @property
    def dim(self) -> int:
        """Number of independent solutions."""
        return len(self.basis)


def null_space(constraints: Tensor, *, rtol: float = RTOL, count: int | None = None) -> NullSpace:
    """Solutions q (d,) of the constraints C q = 0.

    Args:
        constraints: the matrix C, shape (m, d), of any real dtype; the answer is float64.
        rtol: level of noise, relative to the largest singular value.
        count: number of solutions, in place of the gap.

    Returns:
        The solutions and the evidence for their number.

    Raises:
        ValueError: for a wrong shape, NaN, or a count outside of 0..d.

    Example:
        >>> found = null_space(torch.tensor([[1.0, -1.0], [2.0, -2.0]]))
        >>> found.basis.abs().round(decimals=3).tolist()
        [[0.707, 0.707]]
    """
    if constraints.ndim != 2 or not torch.isfinite(constraints).all():
        raise ValueError(f"constraints must be finite and of shape (m, d), got {tuple(constraints.shape)}")
    matrix = constraints.detach().double()
    return _solve(matrix.mT @ matrix, lambda rows: rows @ matrix.mT, 0.0, rtol, count)


def intertwiners(
    left: Tensor, right: Tensor, *, rtol: float = RTOL, count: int | None = None, scale: float | None = None
) -> NullSpace:
    """All W (o, i) with left_a W = W right_a for every a.

    Args:
        left: generators or discrete elements of the output, shape (a, o, o).
        right: the same ones on the input, shape (a, i, i).
        rtol: level of noise, relative.
        count: number of solutions, in place of the gap.
        scale: singular values are relative to this or to the largest of them, whichever is larger; by default the
            size of the matrices, so that rounding in matrices that commute does not count as a constraint.

    Returns:
        The solutions as rows, shape (n, o * i), and the evidence for their number.

    Raises:
        ValueError: for wrong shapes or NaN.
    """
    if left.ndim != 3 or right.ndim != 3 or len(left) != len(right):
        raise ValueError(
            f"expected left (a, o, o) and right (a, i, i), got {tuple(left.shape)}, {tuple(right.shape)}"
        )
    if not (torch.isfinite(left).all() and torch.isfinite(right).all()):
        raise ValueError("left and right must be finite, got NaN or infinity")
    left, right = left.detach().double(), right.detach().double()
    o, i = left.shape[-1], right.shape[-1]
    if scale is None:
        sizes = [torch.linalg.matrix_norm(side, 2).max() for side in (left, right) if side.numel()]
        scale = float(max(sizes, default=torch.zeros(())))

    def violation(rows: Tensor) -> Tensor:
        w = rows.reshape(-1, 1, o, i)
        return (left @ w - w @ right).flatten(1)

    return _solve(_intertwiner_gram(left, right), violation, scale, rtol, count)


def _intertwiner_gram(left: Tensor, right: Tensor) -> Tensor:
    """C^T C for the constraints left_a W - W right_a, W flattened by rows."""
    o, i = left.shape[-1], right.shape[-1]
    cross = torch.einsum("cab,cde->adbe", left, right).reshape(o * i, o * i)
    gram = cross.add(cross.mT).neg_()
    # the two squares are kron(sum R^T R, 1) and kron(1, sum S S^T): only some diagonals, added in place
    tensor = gram.view(o, i, o, i)
    tensor.diagonal(dim1=1, dim2=3).add_((left.mT @ left).sum(0).unsqueeze(-1))
    tensor.diagonal(dim1=0, dim2=2).add_((right @ right.mT).sum(0).unsqueeze(-1))
    return gram


def _solve(
    gram: Tensor, violation: Callable[[Tensor], Tensor], scale: float, rtol: float, count: int | None
) -> NullSpace:
    d = len(gram)
    if not 0 < rtol < 1 or (count is not None and not 0 <= count <= d):
        raise ValueError(f"expected 0 < rtol < 1 and 0 <= count <= {d}, got rtol={rtol}, count={count}")
    largest = max(_largest_singular_value(gram), scale)
    if largest == 0 or d == 0:
        return _everything(gram, d if count is None else count)
    vectors = _lowest_vectors(gram, largest, rtol, count)
    values = violation(vectors).norm(dim=1) / largest
    values, order = values.sort()
    n = _number_of_zeros(values, rtol) if count is None else count
    basis = canonical(vectors[order[:n]])
    residual = float(violation(basis).norm(dim=1).max()) / largest if n else 0.0
    eps = torch.finfo(values.dtype).eps
    below = max(float(values[n - 1]), eps) if n else eps
    gap = float(values[n]) / below if n < len(values) else float("inf")
    return NullSpace(basis=basis, singular_values=values, residual=residual, gap=gap)


def _everything(gram: Tensor, n: int) -> NullSpace:
    basis = torch.eye(len(gram), dtype=gram.dtype, device=gram.device)[:n]
    return NullSpace(basis=basis, singular_values=gram.new_zeros(len(gram)), residual=0.0, gap=float("inf"))


def _number_of_zeros(values: Tensor, rtol: float) -> int:
    """Where the gap is widest among the ascending relative values up to ten times the level of noise."""
    candidates = int((values <= 10 * rtol).sum())
    ladder = torch.cat([values.new_full((1,), rtol), values, values.new_ones(1)])[: candidates + 2]
    return int((ladder[1:] / ladder[:-1].clamp(min=rtol)).argmax())


def _lowest_vectors(gram: Tensor, largest: float, rtol: float, count: int | None) -> Tensor:
    """Eigenvectors (rows) of the smallest eigenvalues, past the last one that may count as zero; shifts G."""
    if len(gram) <= DENSE:
        return torch.linalg.eigh(gram).eigenvectors.mT
    gram.diagonal().add_(SHIFT * largest**2)
    factor = torch.linalg.cholesky(gram)
    width = 32 if count is None else count + 16
    while True:
        vectors, values = _subspace_iteration(gram, factor, min(width, len(gram)))
        enough = values[-1] > max(10 * rtol, 1e-4) ** 2 * largest**2 if count is None else True
        if enough or width >= len(gram):
            return vectors
        width *= 2


def _subspace_iteration(gram: Tensor, factor: Tensor, width: int, steps: int = 3) -> tuple[Tensor, Tensor]:
    """Rayleigh-Ritz vectors (rows) and values of the low end of G, from its shifted Cholesky factor."""
    block = _fixed_noise(len(gram), width, gram)
    for _ in range(steps):
        block = torch.linalg.qr(torch.cholesky_solve(block, factor)).Q
    values, mix = torch.linalg.eigh(block.mT @ gram @ block)
    return (block @ mix).mT, values


def canonical(vectors: Tensor) -> Tensor:
    """The orthonormal basis of the span of orthonormal rows that depends on the span only: fixed noise, projected."""
    if len(vectors) == 0:
        return vectors
    q, r = torch.linalg.qr(vectors @ _fixed_noise(vectors.shape[1], len(vectors), vectors))
    return (q * r.diagonal().sign()).mT @ vectors


def _fixed_noise(rows: int, columns: int, like: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(columns, rows, generator=generator, dtype=torch.float64).mT.to(like)


def _largest_singular_value(gram: Tensor, steps: int = 10) -> float:
    """Square root of the largest eigenvalue, by the power method; some percent are enough for a threshold."""
    if len(gram) == 0:
        return 0.0
    vector = _fixed_noise(len(gram), 1, gram)
    for _ in range(steps):
        vector = gram @ vector
        vector = vector / vector.norm().clamp(min=torch.finfo(vector.dtype).tiny)
    return float((vector.mT @ gram @ vector).clamp(min=0).sqrt())
