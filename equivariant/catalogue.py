"""Ground truth by name: so(n), so(p,q), sl(n), sp(n), gl(n), se(n), aff(n), scaling, translations."""

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
    """so(n): the n(n-1)/2 antisymmetric matrices; n=2 turns x towards y, n=3 is (Lx, Ly, Lz)."""
    if n == 3:
        return _named("so(3)", [_plane(3, 1, 2), _plane(3, 2, 0), _plane(3, 0, 1)])
    return _named(f"so({_at_least(n, 1)})", [_plane(n, i, j) for i in range(n) for j in range(i + 1, n)], n)


def pseudo_orthogonal(p: int, q: int) -> LieAlgebra:
    """so(p, q): L^T J + J L = 0 with J = diag(+1 p times, -1 q times)."""
    n = _at_least(p + q, 1)
    sign = [1.0] * p + [-1.0] * q
    pairs = [(i, j) for i in range(n) for j in range(i + 1, n)]
    matrices = [_entry(n, j, i) - sign[i] * sign[j] * _entry(n, i, j) for i, j in pairs]
    return _named(f"so({p},{q})", matrices, n)


def lorentz() -> LieAlgebra:
    """so(1,3) on (E, px, py, pz), signature (+,-,-,-): boosts x, y, z, then rotations z, -y, x."""
    algebra = pseudo_orthogonal(1, 3)
    return LieAlgebra(algebra.basis, coordinates=MOMENTUM, provenance=algebra.provenance)


def special_linear(n: int) -> LieAlgebra:
    """sl(n): the n^2 - 1 matrices without trace."""
    off = [_entry(n, i, j) for i in range(n) for j in range(n) if i != j]
    diagonal = [_entry(n, i, i) - _entry(n, i + 1, i + 1) for i in range(n - 1)]
    return _named(f"sl({_at_least(n, 1)})", off + diagonal, n)


def symplectic(n: int) -> LieAlgebra:
    """sp(n), n even: L^T Omega + Omega L = 0 on (q, p); generators Omega S for symmetric S."""
    if n < 2 or n % 2:
        raise ValueError(f"sp(n) acts on pairs (q, p), so n must be even and positive, got {n}")
    half = n // 2
    omega = torch.zeros(n, n, dtype=torch.float64)
    omega[:half, half:], omega[half:, :half] = torch.eye(half), -torch.eye(half)
    pairs = [(i, j) for i in range(n) for j in range(i, n)]
    symmetric = [_entry(n, i, j) + (_entry(n, j, i) if i != j else 0) for i, j in pairs]
    return _named(f"sp({n})", [omega @ s for s in symmetric])


def general_linear(n: int) -> LieAlgebra:
    """gl(n): every matrix."""
    return _named(f"gl({_at_least(n, 1)})", [_entry(n, i, j) for i in range(n) for j in range(n)])


def scaling(k: int) -> LieAlgebra:
    """One generator, the identity: x -> exp(w) x."""
    return _named(f"scaling({_at_least(k, 1)})", [torch.eye(k, dtype=torch.float64)])


def translation(k: int) -> LieAlgebra:
    """x -> x + w on homogeneous coordinates (x, 1): k generators of size k + 1."""
    return _named(f"translation({_at_least(k, 1)})", [_entry(k + 1, i, k) for i in range(k)])


def euclidean(k: int) -> LieAlgebra:
    """se(k): rotations and translations on homogeneous coordinates (x, 1)."""
    return union(_homogeneous(rotation(k)), translation(k), name=f"se({k})")


def affine(k: int) -> LieAlgebra:
    """gl(k) and translations on homogeneous coordinates (x, 1)."""
    return union(_homogeneous(general_linear(k)), translation(k), name=f"aff({k})")


def copies(algebra: LieAlgebra, m: int) -> LieAlgebra:
    """The same g on m vectors at once: each L becomes block diagonal, size m k; coordinates are numbered."""
    blocks = torch.kron(torch.eye(_at_least(m, 1), dtype=algebra.basis.dtype), algebra.basis)
    names = [f"{name}:{i}" for i in range(m) for name in algebra.coordinates]
    origin = algebra.origin.repeat(m)
    provenance = {"method": "catalogue", "name": f"{m}*{_name(algebra)}", "parent": algebra.digest}
    return LieAlgebra(blocks, algebra.distribution, origin, names, algebra.space, provenance)


def direct_sum(*algebras: LieAlgebra) -> LieAlgebra:
    """G1 x G2 x ... on stacked vectors (x1, x2, ...): every factor moves its own part."""
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
    """All generators of several algebras on one space, e.g. so(1,3) with scaling."""
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
    """The names ``by_name`` reads, as patterns."""
    return [*(f"{family}(n)" for family in FAMILIES), "so(p,q)", "m*NAME"]


def by_name(name: str) -> LieAlgebra:
    """The algebra of a name: ``"so(3)"``, ``"so(1,3)"``, ``"sp(4)"``, ``"4*so(2)"`` (one g on 4 vectors).

    Raises ``ValueError`` for an unknown name, and says which names exist.
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
    return str(algebra.provenance.get("name", f"algebra({algebra.dim})"))


def _homogeneous(algebra: LieAlgebra) -> LieAlgebra:
    return LieAlgebra(torch.nn.functional.pad(algebra.basis, (0, 1, 0, 1)), provenance=algebra.provenance)


def _entry(n: int, i: int, j: int) -> Tensor:
    matrix = torch.zeros(n, n, dtype=torch.float64)
    matrix[i, j] = 1
    return matrix


def _plane(n: int, i: int, j: int) -> Tensor:
    """Turns axis i towards axis j."""
    return _entry(n, j, i) - _entry(n, i, j)


def _at_least(n: int, least: int) -> int:
    if n < least:
        raise ValueError(f"a size must be at least {least}, got {n}")
    return n
