"""What an algebra is, whatever its basis and coordinates: Killing form, radical, simple ideals, blocks of R^k.

Numbers of dimensions are decided in *balanced* coordinates x -> h x, which minimise the volume of the
generators, log det <h L_a h^-1, h L_b h^-1> / 2, over h (Kempf and Ness, 1979). There a reductive algebra is
closed under L -> L^T: its antisymmetric part is compact and its symmetric part is not, and invariant subspaces
have orthogonal complements that are invariant too.
"""

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from equivariant.compare import Basis, brackets, closure_error, structure_constants

__all__ = [
    "Block",
    "Ideal",
    "Structure",
    "balance",
    "blocks",
    "centre",
    "closed_parameters",
    "commuting",
    "field_of",
    "intertwiner",
    "invariant_forms",
    "isotypic",
    "nearest_closed",
    "nilpotent_part",
    "nilpotent_parts",
    "orthonormal",
    "simple_ideals",
    "structure",
]

FLOOR = 0.02  # relative singular values below this are not told apart from zero
LARGEST = 0.25  # and those above this are never zero
TRIALS = 6  # random elements tried for the clearest split


@dataclass(frozen=True, kw_only=True)
class Ideal:
    """A simple ideal up to isomorphism.

    Args:
        dim: its dimension as a real algebra.
        character: number of positive minus number of negative eigenvalues of its Killing form.
        is_complex: whether it is a complex algebra seen as a real one.

    Example:
        >>> Ideal(dim=6, character=0, is_complex=True).names
        ('so(1,3)', 'sl(2,C)')
    """

    dim: int
    character: int
    is_complex: bool

    @property
    def compact(self) -> bool:
        """Whether the Killing form is negative definite."""
        return self.character == -self.dim

    @property
    def names(self) -> tuple[str, ...]:
        """The classical algebras isomorphic to it, empty when it is none of them."""
        return tuple(name for name, ideal in _classical_ideals().items() if ideal == self)


@dataclass(frozen=True, kw_only=True)
class Block:
    """An irreducible real representation in R^k and how often it occurs.

    Args:
        dim: its dimension.
        multiplicity: number of isomorphic copies.
        field: ``"real"``, ``"complex"`` or ``"quaternionic"``: what commutes with it.
        trivial: whether every generator is zero on it.
    """

    dim: int
    multiplicity: int
    field: str
    trivial: bool


@dataclass(frozen=True, kw_only=True)
class Structure:
    """The invariants of an algebra of matrices.

    Args:
        dim: number of generators.
        closure: relative part of the brackets outside the span, see ``equivariant.closure_error``.
        killing: numbers of positive, negative and zero eigenvalues of the Killing form.
        centre: dimension of the centre.
        derived: dimensions of the derived series L, [L, L], ..., until it no longer shrinks.
        lower_central: dimensions of the lower central series L, [L, L], [L, [L, L]], ...
        radical: dimension of the largest solvable ideal.
        rank: dimension of a Cartan subalgebra.
        ideals: the simple ideals of the semisimple part (the Levi factor).
        blocks: the representation on R^k, in irreducible blocks; empty where it is not completely reducible.
    """

    dim: int
    closure: float
    killing: tuple[int, int, int]
    centre: int
    derived: tuple[int, ...]
    lower_central: tuple[int, ...]
    radical: int
    rank: int
    ideals: tuple[Ideal, ...]
    blocks: tuple[Block, ...]

    @property
    def kind(self) -> str:
        """``"abelian"``, ``"nilpotent"``, ``"solvable"``, ``"semisimple"``, ``"reductive"`` or ``"not solvable"``."""
        if self.centre == self.dim:
            return "abelian"
        if self.radical == self.dim:
            return "nilpotent" if self.lower_central[-1] == 0 else "solvable"
        if self.radical == 0:
            return "semisimple"
        return "reductive" if self.radical == self.centre else "not solvable"


def structure(basis: Basis, rtol: float = 1e-6) -> Structure:
    """The invariants of a closed algebra.

    Args:
        basis: generators (c, k, k) or a `LieAlgebra`.
        rtol: relative singular values below this count as zero; name a noisy algebra first, with
            ``discover.identify``, whose ``algebra`` is closed.

    Returns:
        A `Structure`.

    Example:
        >>> from equivariant import catalogue
        >>> found = structure(catalogue.euclidean(2))
        >>> found.kind, found.derived, found.killing
        ('solvable', (3, 2, 0), (0, 1, 2))
    """
    matrices = orthonormal(basis, rtol=rtol)
    c = len(matrices)
    f = structure_constants(matrices)
    f = f.masked_fill(f.abs() < rtol, 0.0)
    killing = torch.einsum("iab,jba->ij", f, f)
    values = torch.linalg.eigvalsh(killing) / max(float(f.square().sum()), 1e-12)
    levi = _levi(f, killing, rtol)
    balanced = balance(matrices, floor=rtol**2)[1]
    ideals = simple_ideals(balance(_quotient(f, levi), floor=rtol**2)[1], rtol)[1] if len(levi) else []
    return Structure(
        dim=c,
        closure=closure_error(matrices),
        killing=(int((values > rtol).sum()), int((values < -rtol).sum()), int((values.abs() <= rtol).sum())),
        centre=len(centre(matrices, rtol)),
        derived=_series(f, rtol, lower_central=False),
        lower_central=_series(f, rtol, lower_central=True),
        radical=c - len(levi),
        rank=_rank(f, rtol),
        ideals=tuple(ideal for _, ideal in ideals),
        blocks=_blocks(balanced, rtol) if c and nilpotent_part(balanced).shape[0] == 0 else (),
    )


def orthonormal(basis: Basis, count: int | None = None, rtol: float = 1e-9) -> Tensor:
    """Generators (c, k, k) of the same span, orthonormal as vectors of entries.

    Args:
        basis: generators (n, k, k) or a `LieAlgebra`.
        count: number of directions to keep; by default those above ``rtol`` times the largest.
        rtol: relative size below which a direction is left out.
    """
    matrices = (basis if isinstance(basis, Tensor) else basis.basis).detach().double().cpu()
    if len(matrices) == 0:
        return matrices
    _, values, rows = torch.linalg.svd(matrices.flatten(1), full_matrices=False)
    count = int((values > rtol * values[0].clamp(min=1e-300)).sum()) if count is None else count
    return rows[:count].reshape(-1, *matrices.shape[1:])


def nearest_closed(generators: Tensor, steps: int = 25) -> Tensor:
    """The closed algebra of least squares near to generators, by Gauss-Newton with a growing weight on closure.

    Minimises sum_a |L_a - P L_a|^2 over projectors P on spans with [B_a, B_b] = sum_l f_abl B_l. Generators
    that are combinations with small coefficients count little, so their noise is mended by brackets of others.

    Args:
        generators: (c, k, k), independent.
        steps: at most so many steps.

    Returns:
        Orthonormal generators (c, k, k) of the span; check its closure, which reaches rounding when it converged.

    Example:
        >>> from equivariant import catalogue, closure_error
        >>> noise = torch.randn(3, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        >>> closure_error(nearest_closed(catalogue.rotation(3).basis + 0.03 * noise)) < 1e-9
        True
    """
    rows = generators.flatten(1)
    c, k = len(generators), generators.shape[-1]
    rows = rows / rows.norm(dim=1, keepdim=True).clamp(min=1e-300)
    whole = torch.linalg.svd(rows, full_matrices=True).Vh
    if c in (0, 1, k * k):
        return whole[:c].reshape(-1, k, k)
    a, b = _some_pairs(c)
    weight = 1.0
    for _ in range(steps):
        basis, others = whole[:c].reshape(-1, k, k), whole[c:].reshape(-1, k, k)
        violation, slope = _closure_slope(basis, others, a, b)
        if float(violation.norm()) < 1e-13 * len(a):
            break
        # the generators are M basis + outside: a change X of the basis leaves outside - M X
        mixing, outside = rows @ whole[:c].mT, rows @ whole[c:].mT
        m = len(others)
        gram = torch.kron(mixing.mT @ mixing, torch.eye(m, dtype=rows.dtype)) + weight * slope.mT @ slope
        gram.diagonal().add_(1e-12 * weight)
        target = (mixing.mT @ outside).flatten() - weight * slope.mT @ violation
        change = torch.linalg.solve(gram, target).reshape(c, m)
        change = change * min(1.0, 0.7 / float(torch.linalg.matrix_norm(change, 2).clamp(min=1e-300)))
        whole = torch.linalg.svd(whole[:c] + change @ whole[c:], full_matrices=True).Vh
        weight *= 4.0
    return whole[:c].reshape(-1, k, k)


def closed_parameters(closed: Tensor) -> int:
    """Dimension of the family of closed algebras around an orthonormal one (c, k, k), to first order."""
    c, k = len(closed), closed.shape[-1]
    if c == k * k:
        return 0
    whole = torch.linalg.svd(closed.flatten(1), full_matrices=True).Vh
    a, b = _some_pairs(c)
    _, slope = _closure_slope(closed, whole[c:].reshape(-1, k, k), a, b)
    values = torch.linalg.eigvalsh(slope.mT @ slope)
    return int((values < 1e-10 * values[-1].clamp(min=1e-3)).sum())


def _some_pairs(c: int) -> tuple[Tensor, Tensor]:
    """Pairs a < b of c generators; of many, a part that still fixes every one of them."""
    a, b = torch.triu_indices(c, c, offset=1)
    if len(a) > 4 * c:
        chosen = torch.randperm(len(a), generator=torch.Generator().manual_seed(0))[: 4 * c]
        a, b = a[chosen], b[chosen]
    return a, b


def _closure_slope(basis: Tensor, others: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Brackets [B_a, B_b] along the other directions, (pairs m), and their derivative by B, (pairs m, c m)."""
    c, m = len(basis), len(others)
    rows = others.flatten(1)
    brackets_ab = (basis[a] @ basis[b] - basis[b] @ basis[a]).flatten(1)
    moved = others[:, None] @ basis - basis @ others[:, None]
    moved = moved.flatten(2) @ rows.mT
    n = torch.arange(len(a))
    slope = basis.new_zeros(len(a), m, c, m)
    slope[n, :, a, :] = moved[:, b].permute(1, 2, 0)
    slope[n, :, b, :] -= moved[:, a].permute(1, 2, 0)
    constants = brackets_ab @ basis.flatten(1).mT
    slope.diagonal(dim1=1, dim2=3).sub_(constants[:, :, None])
    return (brackets_ab @ rows.mT).flatten(), slope.reshape(len(a) * m, c * m)


def balance(
    matrices: Tensor, floor: float = 1e-9, condition: float = 200.0, steps: int = 60
) -> tuple[Tensor, Tensor]:
    """Coordinates x -> h x of least volume of the generators, by Newton's method.

    Args:
        matrices: generators (c, k, k), independent.
        floor: directions of h with a relative curvature below this stay: they map the span to itself.
        condition: the largest condition number of h.
        steps: at most so many steps.

    Returns:
        h (k, k) and the orthonormal generators (c, k, k) in the coordinates h x.
    """
    c, k = len(matrices), matrices.shape[-1]
    h = torch.eye(k, dtype=torch.float64)
    basis = orthonormal(matrices, c)
    directions = _symmetric(k)
    for _ in range(steps if c else 0):
        slope = torch.einsum("aij,akj->ik", basis, basis) - torch.einsum("aji,ajk->ik", basis, basis)
        moved = directions[:, None] @ basis - basis @ directions[:, None]
        rows = basis.flatten(1)
        outside = moved.flatten(2) - moved.flatten(2) @ rows.mT @ rows
        outside = outside.flatten(1)
        values, vectors = torch.linalg.eigh(2 * outside @ outside.mT)
        inverse = torch.where(values > floor * values[-1].clamp(min=1e-12), 1 / values, 0.0)
        gradient = (directions * slope).sum((1, 2))
        step = torch.einsum("s,sij->ij", -vectors @ (inverse * (vectors.mT @ gradient)), directions)
        length = min(1.0, 1.0 / max(float(torch.linalg.matrix_norm(step, 2)), 1e-300))
        while True:
            factor, inverse = (torch.linalg.matrix_exp(sign * length * step) for sign in (1, -1))
            moved = factor @ basis @ inverse
            volume = float(torch.linalg.svdvals(moved.flatten(1)).log().sum())
            if volume <= 1e-4 * length * float(gradient @ (directions * step).sum((1, 2))) or length < 1e-6:
                break
            length /= 2
        new = factor @ h
        if float(torch.linalg.cond(new)) > condition:
            break
        h = new / torch.linalg.det(new).abs() ** (1 / k)
        basis = orthonormal(h @ matrices @ torch.linalg.inv(h), c)
        if float(torch.linalg.matrix_norm(step, 2)) < 1e-12:
            break
    return h, basis


def nilpotent_part(balanced: Tensor) -> Tensor:
    """Coefficients (r, c) of the generators x with tr(x y) = 0 for every y, in a basis of `balance`.

    In balanced coordinates the eigenvalues of tr(x y) are +1 and -1 on a reductive algebra.
    """
    values, vectors = torch.linalg.eigh(torch.einsum("aij,bji->ab", balanced, balanced))
    return vectors[:, values.abs() < 0.5].mT


def nilpotent_parts(matrices: Tensor) -> list[Tensor]:
    """`nilpotent_part` in coordinates that need not be balanced: for each count that the eigenvalues may mean."""
    values, vectors = torch.linalg.eigh(torch.einsum("aij,bji->ab", matrices, matrices))
    order = values.abs().argsort()
    sizes = values.abs()[order].clamp(min=1e-12)
    widest = int((sizes[1:] / sizes[:-1]).argmax()) + 1 if len(sizes) > 1 else 1
    counts = {int((sizes < 0.5).sum()), widest} | ({len(sizes)} if float(sizes[-1]) < 0.5 else set())
    return [vectors[:, order[:count]].mT for count in sorted(counts) if count]


def centre(matrices: Tensor, rtol: float = FLOOR) -> Tensor:
    """Coefficients (z, c) of the generators that commute with all, of orthonormal matrices (c, k, k)."""
    f = brackets(matrices).flatten(2)
    return _null(f.flatten(1).mT, rtol, _operator_norm(matrices))


def simple_ideals(balanced: Tensor, rtol: float = FLOOR) -> tuple[Tensor, list[tuple[Tensor, Ideal]]]:
    """The centre and the simple ideals of a reductive algebra, as orthonormal coefficients (d, c).

    Args:
        balanced: orthonormal generators (c, k, k) in coordinates of `balance`: there ideals are orthogonal, and
            they are the irreducible blocks of the adjoint representation.
        rtol: relative level of noise.

    Returns:
        Coefficients (z, c) of the centre, and for each ideal its coefficients with its `Ideal`.
    """
    middle = centre(balanced, rtol)
    c = len(balanced)
    rest = (
        torch.linalg.qr(middle.mT, mode="complete").Q[:, len(middle) :].mT
        if len(middle)
        else torch.eye(c).double()
    )
    if len(rest) == 0:
        return middle, []
    inner = torch.einsum("ra,aij->rij", rest, balanced)
    adjoint = structure_constants(inner).transpose(1, 2)
    found = []
    for block in blocks(adjoint, rtol):
        coefficients = block.mT @ rest
        ideal = torch.einsum("da,aij->dij", coefficients, balanced)
        parity = torch.einsum("dij,eji->de", ideal, ideal)
        positive = int((torch.linalg.eigvalsh(parity) > 0).sum())
        restricted = block.mT @ adjoint @ block
        kind = Ideal(
            dim=len(ideal),
            character=2 * positive - len(ideal),
            is_complex=len(commuting(restricted, antisymmetric=True, rtol=rtol)) > 0,
        )
        found.append((coefficients, kind))
    return middle, sorted(found, key=lambda pair: -pair[1].dim)


def blocks(balanced: Tensor, rtol: float = FLOOR) -> list[Tensor]:
    """Orthonormal columns (k, d) of irreducible subspaces of generators (c, k, k) in balanced coordinates."""
    scale = _operator_norm(balanced)
    return _split(balanced, torch.eye(balanced.shape[-1], dtype=torch.float64), rtol, scale)


def commuting(
    balanced: Tensor, *, antisymmetric: bool, rtol: float = FLOOR, scale: float | None = None
) -> Tensor:
    """Symmetric or antisymmetric matrices (n, k, k) that commute with all generators (c, k, k)."""
    directions = _antisymmetric(balanced.shape[-1]) if antisymmetric else _symmetric(balanced.shape[-1])
    if len(directions) == 0:
        return directions
    moved = directions[:, None] @ balanced - balanced @ directions[:, None]
    scale = _operator_norm(balanced) if scale is None else scale
    return torch.einsum("ns,sij->nij", _null(moved.flatten(1).mT, rtol, scale), directions)


def intertwiner(left: Tensor, right: Tensor, scale: float) -> tuple[Tensor, float]:
    """The matrix W, orthogonal, that comes nearest to left_a W = W right_a, and its violation over ``scale``."""
    d = left.shape[-1]
    eye = torch.eye(d, dtype=torch.float64)
    constraints = torch.cat(
        [torch.kron(a, eye) - torch.kron(eye, b.mT.contiguous()) for a, b in zip(left, right, strict=True)]
    )
    _, values, vectors = torch.linalg.svd(constraints, full_matrices=False)
    u, _, v = torch.linalg.svd(vectors[-1].reshape(d, d))
    return u @ v, float(values[-1]) / max(scale, 1e-300)


def invariant_forms(
    matrices: Tensor, *, antisymmetric: bool, rtol: float = FLOOR, scale: float | None = None
) -> Tensor:
    """Symmetric or antisymmetric J (n, k, k) with L^T J + J L = 0 for generators (c, k, k)."""
    directions = _antisymmetric(matrices.shape[-1]) if antisymmetric else _symmetric(matrices.shape[-1])
    if len(directions) == 0:
        return directions
    moved = matrices.mT @ directions[:, None] + directions[:, None] @ matrices
    scale = _operator_norm(matrices) if scale is None else scale
    return torch.einsum("ns,sij->nij", _null(moved.flatten(1).mT, rtol, scale), directions)


def _split(balanced: Tensor, columns: Tensor, rtol: float, scale: float) -> list[Tensor]:
    inner = columns.mT @ balanced @ columns
    found = commuting(inner, antisymmetric=False, rtol=rtol, scale=scale)
    if len(found) <= 1:
        return [columns]
    mixtures = torch.randn(
        TRIALS, len(found), generator=torch.Generator().manual_seed(0), dtype=torch.float64
    )
    values, vectors = torch.linalg.eigh(torch.einsum("tn,nij->tij", mixtures, found))
    gaps = values.diff(dim=1) / (values[:, -1:] - values[:, :1]).clamp(min=1e-300)
    trial, cut = divmod(int(gaps.argmax()), gaps.shape[1])
    low, high = vectors[trial, :, : cut + 1], vectors[trial, :, cut + 1 :]
    return [part for side in (low, high) for part in _split(balanced, columns @ side, rtol, scale)]


def isotypic(balanced: Tensor, rtol: float = FLOOR) -> list[list[Tensor]]:
    """The irreducible subspaces (k, d), isomorphic ones together and aligned: the same matrices on each.

    Subspaces on which every generator is zero come last, each of dimension one.
    """
    scale = _operator_norm(balanced)
    classes: list[list[Tensor]] = []
    trivial = []
    for columns in sorted(blocks(balanced, rtol), key=lambda q: -q.shape[1]):
        inner = columns.mT @ balanced @ columns
        if _operator_norm(inner) < LARGEST * scale:
            trivial.append(columns)
            continue
        for known in classes:
            first = known[0]
            if first.shape == columns.shape:
                w, violation = intertwiner(inner, first.mT @ balanced @ first, scale)
                if violation < LARGEST / 2:
                    known.append(columns @ w)
                    break
        else:
            classes.append([columns])
    return [*classes, trivial] if trivial else classes


def _blocks(balanced: Tensor, rtol: float) -> tuple[Block, ...]:
    found = []
    scale = _operator_norm(balanced)
    for group in isotypic(balanced, rtol):
        inner = group[0].mT @ balanced @ group[0]
        trivial = _operator_norm(inner) < LARGEST * scale
        found.append(
            Block(
                dim=group[0].shape[1],
                multiplicity=len(group),
                field="real" if trivial else field_of(inner, rtol, scale),
                trivial=trivial,
            )
        )
    return tuple(found)


def field_of(inner: Tensor, rtol: float = FLOOR, scale: float | None = None) -> str:
    """``"real"``, ``"complex"`` or ``"quaternionic"``: what commutes with irreducible generators (c, d, d)."""
    units = len(commuting(inner, antisymmetric=True, rtol=rtol, scale=scale))
    return {0: "real", 1: "complex"}.get(units, "quaternionic")


def _levi(f: Tensor, killing: Tensor, rtol: float) -> Tensor:
    """Orthonormal coefficients of a complement of the radical, which is orthogonal to [L, L] in the Killing form."""
    derived = _span(f.flatten(0, 1), rtol)
    return _span(derived @ killing, rtol)


def _quotient(f: Tensor, rows: Tensor) -> Tensor:
    """The adjoint matrices (d, d, d) of the algebra modulo the complement of orthonormal coefficients (d, c)."""
    return torch.einsum("xa,yb,abl,zl->xzy", rows, rows, f, rows)


def _series(f: Tensor, rtol: float, lower_central: bool) -> tuple[int, ...]:
    rows = whole = torch.eye(len(f), dtype=torch.float64)
    dims = [len(f)]
    while len(rows):
        left = whole if lower_central else rows
        rows = _span(torch.einsum("xa,yb,abl->xyl", left, rows, f).flatten(0, 1), rtol)
        if len(rows) == dims[-1]:
            break
        dims.append(len(rows))
    return tuple(dims)


def _rank(f: Tensor, rtol: float) -> int:
    """Multiplicity of the eigenvalue zero of ad of a generic element."""
    if len(f) == 0:
        return 0
    weights = torch.randn(len(f), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    adjoint = torch.einsum("a,abl->lb", weights, f)
    values = torch.linalg.eigvals(adjoint).abs()
    # a nilpotent part of size n spreads zero eigenvalues to the n-th root of rounding
    return int((values < max(rtol, 1e-3) * max(float(values.max()), 1e-3)).sum())


def _span(rows: Tensor, rtol: float) -> Tensor:
    if len(rows) == 0:
        return rows
    _, values, vectors = torch.linalg.svd(rows, full_matrices=False)
    return vectors[: int((values > rtol).sum())]


def _null(constraints: Tensor, rtol: float, scale: float) -> Tensor:
    """Orthonormal rows (n, d) with constraints (m, d) q = 0, up to singular values below ``rtol`` of the scale.

    The number is where the gap is widest among the values that may be zero.
    """
    values, vectors = torch.linalg.eigh(constraints.mT @ constraints)
    vectors = vectors.mT
    values = (constraints @ vectors.mT).norm(dim=0) / max(scale, 1e-300)
    may_be_zero = int((values < LARGEST).sum())
    ladder = torch.cat([values.new_tensor([rtol]), values, values.new_ones(1)])[: may_be_zero + 2]
    return vectors[: int((ladder[1:] / ladder[:-1].clamp(min=rtol)).argmax())]


def _operator_norm(matrices: Tensor) -> float:
    return float(torch.linalg.matrix_norm(matrices, 2).max()) if matrices.numel() else 0.0


def _symmetric(k: int) -> Tensor:
    """Orthonormal symmetric matrices (k (k + 1) / 2, k, k)."""
    i, j = torch.triu_indices(k, k)
    n = torch.arange(len(i))
    matrices = torch.zeros(len(i), k, k, dtype=torch.float64)
    matrices[n, i, j] = 1.0
    matrices[n, j, i] = 1.0
    return matrices / matrices.flatten(1).norm(dim=1)[:, None, None]


def _antisymmetric(k: int) -> Tensor:
    """Orthonormal antisymmetric matrices (k (k - 1) / 2, k, k)."""
    i, j = torch.triu_indices(k, k, offset=1)
    n = torch.arange(len(i))
    matrices = torch.zeros(len(i), k, k, dtype=torch.float64)
    matrices[n, i, j], matrices[n, j, i] = 0.5**0.5, -(0.5**0.5)
    return matrices


@cache
def _classical_ideals() -> dict[str, Ideal]:
    """Simple real algebras by name, from the dimensions of their compact and noncompact parts."""
    found = {}
    for n in range(3, 10):
        for p in range(n // 2 + 1):
            q = n - p
            if n != 4:
                name = f"so({n})" if p == 0 else f"so({p},{q})"
                inside = (p * (p - 1) + q * (q - 1)) // 2
                found[name] = Ideal(dim=n * (n - 1) // 2, character=p * q - inside, is_complex=False)
    found["so(1,3)"] = Ideal(dim=6, character=0, is_complex=True)
    for n in range(2, 8):
        found[f"sl({n})"] = Ideal(dim=n * n - 1, character=n - 1, is_complex=False)
        found[f"sl({n},C)"] = Ideal(dim=2 * (n * n - 1), character=0, is_complex=True)
        found[f"sp({2 * n})"] = Ideal(dim=n * (2 * n + 1), character=n, is_complex=False)
        for p in range(n // 2 + 1):
            q = n - p
            name = f"su({n})" if p == 0 else f"su({p},{q})"
            found[name] = Ideal(dim=n * n - 1, character=2 * p * q - p * p - q * q + 1, is_complex=False)
    return found
