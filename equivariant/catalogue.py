"""Known algebras by name: so(n), so(p,q), sl(n), sp(n), gl(n), se(n), aff(n), scaling, translations."""

import re
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from equivariant.algebra import LieAlgebra

__all__ = [
    "affine",
    "by_name",
    "copies",
    "direct_sum",
    "euclidean",
    "general_linear",
    "lorentz",
    "names",
    "pseudo_orthogonal",
    "rotation",
    "scaling",
    "special_linear",
    "symplectic",
    "translation",
    "union",
]

MOMENTUM = ("E [GeV]", "px [GeV]", "py [GeV]", "pz [GeV]")


def rotation(n: int) -> LieAlgebra:
    """so(n): the n(n-1)/2 antisymmetric matrices.

    For n = 2 positive coefficients rotate x towards y; for n = 3 the generators are (Lx, Ly, Lz).

    Args:
        n: size of the vectors.

    Returns:
        The algebra, on R^n.

    Example:
        >>> rotation(2).basis.tolist()
        [[[0.0, -1.0], [1.0, 0.0]]]
    """
    if n == 3:
        return _named("so(3)", [_plane(3, 1, 2), _plane(3, 2, 0), _plane(3, 0, 1)])
    return _named(f"so({_at_least(n, 1)})", [_plane(n, i, j) for i in range(n) for j in range(i + 1, n)], n)


def pseudo_orthogonal(p: int, q: int) -> LieAlgebra:
    """so(p, q): L^T J + J L = 0 with J = diag(+1 p times, -1 q times).

    Args:
        p: number of positive squares.
        q: number of negative squares.

    Returns:
        The algebra, on R^(p + q).

    Example:
        >>> pseudo_orthogonal(1, 1).basis.tolist()
        [[[0.0, 1.0], [1.0, 0.0]]]
    """
    n = _at_least(p + q, 1)
    sign = [1.0] * p + [-1.0] * q
    pairs = [(i, j) for i in range(n) for j in range(i + 1, n)]
    matrices = [_entry(n, j, i) - sign[i] * sign[j] * _entry(n, i, j) for i, j in pairs]
    return _named(f"so({p},{q})", matrices, n)


def lorentz() -> LieAlgebra:
    """so(1,3) on four-momenta (E, px, py, pz), signature (+,-,-,-): boosts x, y, z, then rotations z, -y, x.

    Returns:
        The algebra, with units of GeV in its coordinates.

    Example:
        >>> lorentz().coordinates
        ('E [GeV]', 'px [GeV]', 'py [GeV]', 'pz [GeV]')
    """
    algebra = pseudo_orthogonal(1, 3)
    return LieAlgebra(algebra.basis, coordinates=MOMENTUM, provenance=algebra.provenance)


def special_linear(n: int) -> LieAlgebra:
    """sl(n): the n^2 - 1 matrices without trace.

    Args:
        n: size of the vectors.

    Returns:
        The algebra, on R^n.

    Example:
        >>> special_linear(3).n_generators
        8
    """
    off = [_entry(n, i, j) for i in range(n) for j in range(n) if i != j]
    diagonal = [_entry(n, i, i) - _entry(n, i + 1, i + 1) for i in range(n - 1)]
    return _named(f"sl({_at_least(n, 1)})", off + diagonal, n)


def symplectic(n: int) -> LieAlgebra:
    """sp(n), n even: L^T Omega + Omega L = 0 on (q, p); generators Omega S for symmetric S.

    Args:
        n: size of the vectors (q, p).

    Returns:
        The algebra, on R^n.

    Raises:
        ValueError: for an n that is odd or not positive.

    Example:
        >>> symplectic(4).n_generators
        10
    """
    if n < 2 or n % 2:
        raise ValueError(f"sp(n) acts on pairs (q, p), so n must be even and positive, got {n}")
    half = n // 2
    omega = torch.zeros(n, n, dtype=torch.float64)
    omega[:half, half:], omega[half:, :half] = torch.eye(half), -torch.eye(half)
    pairs = [(i, j) for i in range(n) for j in range(i, n)]
    symmetric = [_entry(n, i, j) + (_entry(n, j, i) if i != j else 0) for i, j in pairs]
    return _named(f"sp({n})", [omega @ s for s in symmetric])


def general_linear(n: int) -> LieAlgebra:
    """gl(n): every matrix.

    Args:
        n: size of the vectors.

    Returns:
        The algebra, on R^n.

    Example:
        >>> general_linear(2).n_generators
        4
    """
    return _named(f"gl({_at_least(n, 1)})", [_entry(n, i, j) for i in range(n) for j in range(n)])


def scaling(k: int) -> LieAlgebra:
    """One generator, the identity: x -> exp(w) x.

    Args:
        k: size of the vectors.

    Returns:
        The algebra, on R^k.

    Example:
        >>> scaling(2).element([0.0]).tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """
    return _named(f"scaling({_at_least(k, 1)})", [torch.eye(k, dtype=torch.float64)])


def translation(k: int) -> LieAlgebra:
    """x -> x + w on homogeneous coordinates (x, 1): k generators of size k + 1.

    Args:
        k: size of x.

    Returns:
        The algebra, on R^(k + 1).

    Example:
        >>> translation(2).element([3.0, 4.0])[:, -1].tolist()
        [3.0, 4.0, 1.0]
    """
    return _named(f"translation({_at_least(k, 1)})", [_entry(k + 1, i, k) for i in range(k)])


def euclidean(k: int) -> LieAlgebra:
    """se(k): rotations and translations on homogeneous coordinates (x, 1).

    Args:
        k: size of x.

    Returns:
        The algebra, on R^(k + 1).

    Example:
        >>> euclidean(3).basis.shape
        torch.Size([6, 4, 4])
    """
    return union(_homogeneous(rotation(k)), translation(k), name=f"se({k})")


def affine(k: int) -> LieAlgebra:
    """gl(k) and translations on homogeneous coordinates (x, 1).

    Args:
        k: size of x.

    Returns:
        The algebra, on R^(k + 1).

    Example:
        >>> affine(2).basis.shape
        torch.Size([6, 3, 3])
    """
    return union(_homogeneous(general_linear(k)), translation(k), name=f"aff({k})")


def copies(algebra: LieAlgebra, m: int) -> LieAlgebra:
    """The same g on m vectors at once: each L becomes block diagonal, of size m k; coordinates are numbered.

    Args:
        algebra: on vectors of size k.
        m: number of vectors.

    Returns:
        The algebra, on R^(m k).

    Example:
        >>> copies(rotation(2), 3)
        LieAlgebra(3*so(2), shape (1, 6, 6), coordinates (x0:0, x1:0, x0:1, x1:1, x0:2, x1:2), normal coefficients, ...)
    """
    blocks = torch.kron(torch.eye(_at_least(m, 1), dtype=algebra.basis.dtype), algebra.basis)
    names = [f"{name}:{i}" for i in range(m) for name in algebra.coordinates]
    origin = algebra.origin.repeat(m)
    provenance = {"method": "catalogue", "name": f"{m}*{_name(algebra)}", "parent": algebra.digest}
    return LieAlgebra(blocks, algebra.distribution, origin, names, algebra.space, provenance)


def direct_sum(*algebras: LieAlgebra) -> LieAlgebra:
    """G1 x G2 x ... on stacked vectors (x1, x2, ...): every factor acts on its own part.

    Args:
        *algebras: at least one.

    Returns:
        The algebra, on R^(k1 + k2 + ...).

    Raises:
        ValueError: for no algebra.

    Example:
        >>> direct_sum(rotation(2), rotation(3)).basis.shape
        torch.Size([4, 5, 5])
    """
    _some(algebras)
    sizes = [algebra.dim for algebra in algebras]
    parts = []
    for i, algebra in enumerate(algebras):
        wide = algebra.basis.new_zeros(algebra.n_generators, sum(sizes), sum(sizes), dtype=torch.float64)
        here = slice(sum(sizes[:i]), sum(sizes[: i + 1]))
        wide[:, here, here] = algebra.basis.double()
        parts.append(wide)
    provenance = {"method": "catalogue", "name": "+".join(_name(algebra) for algebra in algebras)}
    return LieAlgebra(torch.cat(parts), provenance=provenance)


def union(*algebras: LieAlgebra, name: str | None = None) -> LieAlgebra:
    """All generators of several algebras on one space, e.g. so(1,3) with scaling.

    Args:
        *algebras: at least one, on vectors of one size.
        name: of the result; default: the names joined.

    Returns:
        The algebra, on the same space.

    Raises:
        ValueError: for no algebra, different sizes, and dependent generators.

    Example:
        >>> union(rotation(3), scaling(3)).name
        'so(3) with scaling(3)'
    """
    _some(algebras)
    if len({algebra.dim for algebra in algebras}) > 1:
        raise ValueError(f"algebras must act on one space, got sizes {[algebra.dim for algebra in algebras]}")
    basis = torch.cat([algebra.basis.double() for algebra in algebras])
    if torch.linalg.matrix_rank(basis.flatten(1)) < len(basis):
        raise ValueError(f"the generators of {[_name(a) for a in algebras]} are dependent; drop one")
    provenance = {
        "method": "catalogue",
        "name": name or " with ".join(_name(algebra) for algebra in algebras),
    }
    return LieAlgebra(basis, coordinates=algebras[0].coordinates, provenance=provenance)


FAMILIES: dict[str, Callable[[int], LieAlgebra]] = {
    "so": rotation,
    "sl": special_linear,
    "sp": symplectic,
    "gl": general_linear,
    "se": euclidean,
    "aff": affine,
    "scaling": scaling,
    "translation": translation,
}


def names() -> list[str]:
    """The names that ``by_name`` reads, as patterns.

    Returns:
        The patterns.

    Example:
        >>> names()[:2]
        ['so(n)', 'sl(n)']
    """
    return [*(f"{family}(n)" for family in FAMILIES), "so(p,q)", "m*NAME"]


def by_name(name: str) -> LieAlgebra:
    """The algebra of a name: ``"so(3)"``, ``"so(1,3)"``, ``"sp(4)"``, ``"4*so(2)"`` (one g on 4 vectors).

    Args:
        name: one of the patterns of ``names``.

    Returns:
        The algebra.

    Raises:
        ValueError: for an unknown name; the message lists those that exist.

    Example:
        >>> by_name("4*so(2)").dim
        8
    """
    match = re.fullmatch(r"\s*(?:(\d+)\s*\*)?\s*([a-z]+)\(\s*(\d+)\s*(?:,\s*(\d+)\s*)?\)\s*", name)
    if match is None or match[2] not in FAMILIES or (match[4] and match[2] != "so"):
        raise ValueError(f"unknown algebra {name!r}; choose from {names()}")
    times, family, n, q = match.groups()
    if q is None:
        algebra = FAMILIES[family](int(n))
    else:
        algebra = lorentz() if (n, q) == ("1", "3") else pseudo_orthogonal(int(n), int(q))
    return algebra if times is None else copies(algebra, int(times))


def _named(name: str, matrices: Sequence[Tensor], k: int | None = None) -> LieAlgebra:
    basis = torch.stack(list(matrices)) if matrices else torch.zeros(0, k or 1, k or 1, dtype=torch.float64)
    return LieAlgebra(basis, provenance={"method": "catalogue", "name": name})


def _name(algebra: LieAlgebra) -> str:
    return algebra.name or f"algebra({algebra.dim})"


def _some(algebras: Sequence[LieAlgebra]) -> None:
    if not algebras:
        raise ValueError("expected at least one algebra, got none")


def _homogeneous(algebra: LieAlgebra) -> LieAlgebra:
    return LieAlgebra(torch.nn.functional.pad(algebra.basis, (0, 1, 0, 1)), provenance=algebra.provenance)


def _entry(n: int, i: int, j: int) -> Tensor:
    matrix = torch.zeros(n, n, dtype=torch.float64)
    matrix[i, j] = 1
    return matrix


def _plane(n: int, i: int, j: int) -> Tensor:
    """Rotates axis i towards axis j."""
    return _entry(n, j, i) - _entry(n, i, j)


def _at_least(n: int, least: int) -> int:
    if n < least:
        raise ValueError(f"a size must be at least {least}, got {n}")
    return n
