"""Textbook forms and the change of basis to them: frames F with span(F^-1 L F) a classical algebra of matrices."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property

import torch
from torch import Tensor

from discover.algebra.structure import (
    LARGEST,
    Ideal,
    balance,
    commuting,
    field_of,
    invariant_forms,
    isotypic,
    nilpotent_part,
    nilpotent_parts,
    orthonormal,
    simple_ideals,
)
from discover.data.whitening import echelon
from equivariant import catalogue
from equivariant.algebra import LieAlgebra

__all__ = ["Fit", "fits", "polished", "textbook"]

LARGEST_INTEGER = 4  # frequencies and weights are ratios of integers up to this


@dataclass(frozen=True, kw_only=True, eq=False)
class Fit:
    """A textbook algebra in coordinates in which it comes near to given generators.

    Args:
        name: its name.
        basis: textbook generators C (c, k, k).
        frame: F (k, k), coordinates x = F x_textbook, so the generators are F C F^-1.
        squares: sum of squared distances of the generators, each of size one, from the span of F C F^-1.
        parameters: dimension of the orbit of the algebra, the number of parameters of F that were fitted.
        measured: number of entries of the generators, less the dimension of the algebra for each.
        free: number of weights of the centre that were read off the generators.
        reductive: whether the algebra is reductive.
    """

    name: str
    basis: Tensor
    frame: Tensor
    squares: float = float("inf")
    parameters: int = 0
    measured: int = 0
    free: int = 0
    reductive: bool = False

    @property
    def generators(self) -> Tensor:
        """The algebra in the given coordinates, F C F^-1."""
        return self.frame @ self.basis @ torch.linalg.inv(self.frame)

    @property
    def freedom(self) -> int:
        """Number of measured entries that are not fitted."""
        return self.measured - self.parameters

    @property
    def degeneracy(self) -> int:
        """0 for a nilpotent algebra, 1 for one with a nilpotent part, 2 for a reductive one."""
        return 2 if self.reductive else int(re.match(r"translation|heisenberg", self.name) is None)

    @cached_property
    def balanced(self) -> Tensor:
        """The change of coordinates (k, k) to where the algebra is balanced."""
        return balance(self.generators)[0] if self.reductive else torch.linalg.inv(self.frame)

    @property
    def condition(self) -> float:
        """Condition number of that change of coordinates."""
        return float(torch.linalg.cond(self.balanced))

    def significance(self, variance: float) -> float:
        """The least size of a generator of balanced coordinates over the noise on it, of that variance in x."""
        back = torch.linalg.inv(self.balanced)
        unit = orthonormal(self.balanced @ self.generators @ back, len(self.basis))
        largest = float(torch.linalg.matrix_norm(back @ unit @ self.balanced).max())
        return 1 / (variance**0.5 * float(back.norm() * self.balanced.norm()) * largest)


def textbook(name: str) -> LieAlgebra:
    """The textbook form of a name.

    Args:
        name: one that ``catalogue.by_name`` reads, or ``"su(2)"``, ``"su(1,2)"``, ``"u(2)"``, ``"u(1,1)"``,
            ``"sl(2,C)"``, ``"gl(2,C)"`` (on real and imaginary parts, (Re z, Im z)), ``"iso(1,3)"``,
            ``"heisenberg(3)"``, and sums of them such as ``"so(3)+so(2)"`` or ``"so(3) with scaling(3)"``.

    Returns:
        The algebra.

    Raises:
        ValueError: for a name that is none of these.

    Example:
        >>> textbook("su(2)").basis.shape
        torch.Size([3, 4, 4])
    """
    if " with " in name:
        return catalogue.union(*(textbook(part) for part in name.split(" with ")), name=name)
    if "+" in name:
        return catalogue.direct_sum(*(textbook(part) for part in name.split("+")))
    match = re.fullmatch(r"(?:(\d+)\*)?(su|u|sl|gl|iso|heisenberg)\((\d+)(?:,(\d+|C))?\)", name)
    if match is None or (match[2] in ("sl", "gl") and match[4] is None):
        return catalogue.by_name(name)
    times, family, n, second = match.groups()
    p, q = (0, int(n)) if second is None else (int(n), 0 if second == "C" else int(second))
    basis = {
        "su": lambda: _unitary(p, q, special=True),
        "u": lambda: _unitary(p, q, special=False),
        "sl": lambda: _complex(catalogue.special_linear(p).basis),
        "gl": lambda: _complex(catalogue.general_linear(p).basis),
        "iso": lambda: _with_translations(catalogue.pseudo_orthogonal(p, q).basis),
        "heisenberg": lambda: _heisenberg(int(n)),
    }[family]()
    algebra = LieAlgebra(basis, provenance={"method": "catalogue", "name": name.split("*")[-1]})
    return algebra if times is None else catalogue.copies(algebra, int(times))


def fits(generators: Tensor, closed: Tensor) -> list[Fit]:
    """Textbook algebras that may be the span of noisy generators (c, k, k), each with its frame of least squares.

    Args:
        generators: (c, k, k), independent.
        closed: the nearest closed algebra (c, k, k), from which frames are read.

    Returns:
        The fits, the nearest first.
    """
    found: dict[tuple[str, bool], Fit] = {}
    for h, balanced, reductive in _starts(generators, closed):
        back = torch.linalg.inv(h)
        for candidate in _candidates(balanced, reductive):
            fit = polished(replace(candidate, frame=back @ candidate.frame), generators)
            key = fit.name, fit.free > 0
            if key not in found or fit.squares < 0.99 * found[key].squares:
                found[key] = fit
        if found and min(fit.squares for fit in found.values()) < 1e-20:
            break
    return sorted(found.values(), key=lambda fit: fit.squares)


def _starts(generators: Tensor, closed: Tensor) -> Iterator[tuple[Tensor, Tensor, bool]]:
    """Coordinates h x, the generators in them, and whether a reductive algebra is looked for there."""
    eye = torch.eye(generators.shape[-1], dtype=torch.float64)
    h, balanced = balance(closed)
    yield h, balanced, True
    yield eye, closed, False
    raw = orthonormal(generators, len(generators))
    yield *balance(raw), True
    yield eye, raw, False
    # noise deforms se(n), say, into so(n + 1) in very skewed coordinates: skewed further, it is se(n) again
    u, values, _ = torch.linalg.svd(torch.linalg.inv(h))
    cut = int((values[:-1] / values[1:]).argmax()) + 1 if len(values) > 1 else 0
    if float(values[0] / values[-1]) > 5:
        scale = torch.where(torch.arange(len(values)) < cut, 1e5, 1.0).double()
        skewed = (u * scale) @ u.mT @ closed @ (u / scale) @ u.mT
        yield eye, orthonormal(skewed, len(closed)), False


def polished(fit: Fit, generators: Tensor, steps: int = 12) -> Fit:
    """The frame of least squares, by Gauss-Newton from the one given, for generators (n, k, k)."""
    rows = _unit(generators)
    k = rows.shape[-1]
    entries = torch.eye(k * k, dtype=torch.float64).reshape(-1, k, k)
    best, parameters = fit, 0
    for _ in range(steps):
        span = orthonormal(fit.generators, len(fit.basis)).flatten(1)
        inside = (rows.flatten(1) @ span.mT @ span).reshape(rows.shape)
        outside = (rows - inside).flatten(1)
        squares = float(outside.square().sum())
        if parameters and squares > 0.999999 * best.squares:
            break
        moved = (entries[:, None] @ inside - inside @ entries[:, None]).flatten(2)
        moved = (moved - moved @ span.mT @ span).flatten(1)
        values, vectors = torch.linalg.eigh(moved @ moved.mT)
        free = values > 1e-7 * values[-1].clamp(min=1e-9)
        parameters = int(free.sum()) + fit.free
        measured = len(rows) * (k * k - len(span))
        best = replace(fit, squares=squares, parameters=parameters, measured=measured)
        inverse = torch.where(free, 1 / values, 0.0)
        step = (vectors @ (inverse * (vectors.mT @ (moved @ outside.flatten())))).reshape(k, k)
        size = float(torch.linalg.matrix_norm(step, 2))
        fit = replace(
            fit, frame=torch.linalg.matrix_exp(step * min(1.0, 0.5 / max(size, 1e-300))) @ fit.frame
        )
    return best


def _candidates(balanced: Tensor, reductive: bool) -> Iterator[Fit]:
    if reductive and len(nilpotent_part(balanced)) == 0:
        yield from _reductive(balanced)
        return
    for transposed in (False, True):
        matrices = balanced.mT if transposed else balanced
        for found in (_heisenberg_fit(matrices), *_affine_fits(matrices)):
            if found is not None and len(found.basis) == len(balanced):
                frame = torch.linalg.inv(found.frame).mT if transposed else found.frame
                yield replace(found, basis=found.basis.mT if transposed else found.basis, frame=frame)


# -- reductive algebras ------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, eq=False)
class _Part:
    """An isotypic part of R^k: what acts on it, in a frame of one copy."""

    name: str
    basis: Tensor  # what the simple ideals do, (n, d, d)
    frame: Tensor  # (d, d)
    columns: list[Tensor]  # each copy's orthonormal columns (k, d)
    unit: Tensor | None  # complex structure in the frame, (d, d)

    @property
    def dim(self) -> int:
        return len(self.frame)

    @property
    def copies(self) -> int:
        return len(self.columns)


def _reductive(balanced: Tensor) -> Iterator[Fit]:
    middle, ideals = simple_ideals(balanced)
    scale = float(torch.linalg.matrix_norm(balanced, 2).max())
    parts, used = [], 0
    groups = isotypic(balanced)
    for group in groups:
        inner = group[0].mT @ balanced @ group[0]
        here = [(rows, ideal) for rows, ideal in ideals if _size(rows, inner) > LARGEST * scale]
        used += len(here)
        trivial = float(torch.linalg.matrix_norm(inner, 2).max()) < LARGEST * scale
        part = None if trivial else _irreducible(inner, here, group)
        if part is None and not trivial:
            return
        if part is not None:
            parts.append(part)
    if used != len(ideals):
        return
    rest = groups[len(parts) :]
    characters = _characters(balanced, middle, parts)
    for snapped in (True, False):
        fit = _assembled(parts, characters, rest, snapped)
        if fit is not None and len(fit.basis) == len(balanced):
            yield fit


def _size(rows: Tensor, inner: Tensor) -> float:
    return float(torch.linalg.matrix_norm(torch.einsum("da,aij->dij", rows, inner), 2).max())


def _irreducible(inner: Tensor, here: list[tuple[Tensor, Ideal]], columns: list[Tensor]) -> _Part | None:
    """The classical algebra that the ideals are on one irreducible block of orthonormal coordinates."""
    d, field = inner.shape[-1], field_of(inner)
    unit = None
    if field != "real":
        unit = commuting(inner, antisymmetric=True)[0] * d**0.5
    if not here:
        eye = torch.eye(d, dtype=torch.float64)
        frame = eye if unit is None else _complex_frame(eye, unit)
        return _part("", inner[:0], frame, columns, unit) if d <= 2 else None
    ideal = orthonormal(torch.cat([torch.einsum("da,aij->dij", rows, inner) for rows, _ in here]),
                        sum(kind.dim for _, kind in here))  # fmt: skip
    kinds = [kind for _, kind in here]
    found = _real(ideal, kinds) if unit is None else _complex_linear(ideal, kinds, unit)
    if found is None:
        return None
    name, basis, frame = found
    return _part(name, basis, frame, columns, unit)


def _part(name: str, basis: Tensor, frame: Tensor, columns: list[Tensor], unit: Tensor | None) -> _Part:
    inside = None if unit is None else torch.linalg.inv(frame) @ unit @ frame
    return _Part(name=name, basis=basis, frame=frame, columns=columns, unit=inside)


def _real(ideal: Tensor, kinds: list[Ideal]) -> tuple[str, Tensor, Tensor] | None:
    """so(p, q), sp(d) or sl(d) on R^d."""
    c, d = len(ideal), ideal.shape[-1]
    if c == d * d - 1:
        return f"sl({d})", catalogue.special_linear(d).basis, torch.eye(d, dtype=torch.float64)
    if c == d * (d - 1) // 2 and (d == 4 or len(kinds) == 1):
        forms = invariant_forms(ideal, antisymmetric=False)
        if len(forms) == 1:
            values, vectors = torch.linalg.eigh(forms[0])
            # the sign of a form is free: as in so(1, 3), the fewer directions are the positive ones
            values = values if (values > 0).sum() <= (values < 0).sum() else -values
            p = int((values > 0).sum())
            order = values.argsort(descending=True)
            frame = vectors[:, order] / values[order].abs().sqrt()
            algebra = catalogue.rotation(d) if p == 0 else catalogue.pseudo_orthogonal(p, d - p)
            return f"so({d})" if p == 0 else f"so({p},{d - p})", algebra.basis, frame
    if c == d * (d + 1) // 2 and len(kinds) == 1:
        forms = invariant_forms(ideal, antisymmetric=True)
        if len(forms) == 1:
            return f"sp({d})", catalogue.symplectic(d).basis, _symplectic_frame(forms[0])
    return None


def _complex_linear(ideal: Tensor, kinds: list[Ideal], unit: Tensor) -> tuple[str, Tensor, Tensor] | None:
    """sl(n, C) or su(p, q) on R^2n = C^n."""
    c, n = len(ideal), ideal.shape[-1] // 2
    if len(kinds) > 1:
        return None
    if kinds[0].is_complex:
        frame = _complex_frame(torch.eye(2 * n, dtype=torch.float64), unit)
        return (f"sl({n},C)", textbook(f"sl({n},C)").basis, frame) if c == 2 * (n * n - 1) else None
    forms = invariant_forms(torch.cat([ideal, unit[None]]), antisymmetric=False)
    if c != n * n - 1 or len(forms) != 1:
        return None
    values, vectors = torch.linalg.eigh(forms[0])
    values = values if (values > 0).sum() <= (values < 0).sum() else -values
    order = values.argsort(descending=True)
    p = int((values > 0).sum()) // 2
    name = f"su({n})" if p == 0 else f"su({p},{n - p})"
    sides = [s for s in (vectors[:, order[: 2 * p]], vectors[:, order[2 * p :]]) if s.shape[1]]
    halves = [_complex_half(side, unit) for side in sides]
    half = torch.cat(halves, dim=1)
    return name, textbook(name).basis, torch.cat([half, unit @ half], dim=1)


def _complex_half(columns: Tensor, unit: Tensor) -> Tensor:
    """Orthonormal e_1, ..., e_n of a subspace that the complex structure keeps, with e and unit e its basis."""
    chosen: list[Tensor] = []
    left = columns
    while left.shape[1]:
        e = left[:, 0]
        chosen.append(e)
        both = torch.stack([e, unit @ e], dim=1)
        rest = left - both @ (both.mT @ left)
        u = torch.linalg.svd(rest, full_matrices=False).U
        left = u[:, : left.shape[1] - 2]
    return torch.stack(chosen, dim=1)


def _complex_frame(columns: Tensor, unit: Tensor) -> Tensor:
    half = _complex_half(columns, unit)
    return torch.cat([half, unit @ half], dim=1)


def _symplectic_frame(form: Tensor) -> Tensor:
    """F with F^T J F = Omega on (q, p)."""
    values, vectors = torch.linalg.eigh(1j * form)
    positive = vectors[:, values > 0] * (2 / values[values > 0]).sqrt()
    real, imaginary = positive.real, positive.imag
    n = len(form) // 2
    frame = torch.cat([real, imaginary], dim=1)
    sign = float((frame.mT @ form @ frame)[0, n])
    return frame if sign > 0 else torch.cat([imaginary, real], dim=1)


# -- the centre ----------------------------------------------------------------------------------------------


def _characters(balanced: Tensor, middle: Tensor, parts: list[_Part]) -> Tensor:
    """(z, parts, 2): the complex number by which each element of the centre acts on each part."""
    found = balanced.new_zeros(len(middle), len(parts), 2)
    matrices = torch.einsum("za,aij->zij", middle, balanced)
    for j, part in enumerate(parts):
        inner = part.columns[0].mT @ matrices @ part.columns[0]
        inner = torch.linalg.inv(part.frame) @ inner @ part.frame
        found[:, j, 0] = inner.diagonal(dim1=1, dim2=2).mean(1)
        if part.unit is not None:
            found[:, j, 1] = -(inner * part.unit.mT).sum((1, 2)) / part.dim
    return found


def _assembled(parts: list[_Part], characters: Tensor, rest: list[list[Tensor]], snapped: bool) -> Fit | None:
    """The whole algebra: simple ideals on their parts, and the centre by its characters."""
    rows = echelon(characters.flatten(1)).reshape(characters.shape)
    if snapped:
        rows = rows.apply_(_nearest_fraction)
        if not torch.isfinite(rows).all():
            return None
    parts, rows = _boosts(parts, rows)
    k = sum(part.dim * part.copies for part in parts) + sum(len(group) for group in rest)
    frame = torch.cat(
        [c @ p.frame for p in parts for c in p.columns] + [c for group in rest for c in group], dim=1
    )
    generators = []
    starts = torch.tensor([0] + [part.dim * part.copies for part in parts]).cumsum(0).tolist()
    for part, start in zip(parts, starts, strict=False):
        generators.append(_placed(part.basis, part.copies, start, k))
    for row in rows:
        whole = torch.zeros(1, k, k, dtype=torch.float64)
        for part, start, (real, imaginary) in zip(parts, starts, row.tolist(), strict=False):
            block = real * _real_unit(part) + (imaginary * part.unit if part.unit is not None else 0.0)
            whole = whole + _placed(block[None], part.copies, start, k)
        generators.append(whole)
    free = 0 if snapped else int((rows.abs() > 1e-9).sum()) - len(rows)
    return Fit(
        name=_name(parts, rows, k), basis=torch.cat(generators), frame=frame, free=free, reductive=True
    )


def _real_unit(part: _Part) -> Tensor:
    if part.name == "so(1,1)":
        return part.basis.new_tensor([[0.0, 1.0], [1.0, 0.0]])
    return torch.eye(part.dim, dtype=torch.float64)


def _placed(basis: Tensor, copies: int, start: int, k: int) -> Tensor:
    d = basis.shape[-1]
    wide = basis.new_zeros(len(basis), k, k)
    for i in range(copies):
        here = slice(start + i * d, start + (i + 1) * d)
        wide[:, here, here] = basis
    return wide


def _nearest_fraction(value: float) -> float:
    """The nearest ratio of integers up to `LARGEST_INTEGER`, NaN when none is near."""
    n = LARGEST_INTEGER
    near = min(
        (Fraction(p, q) for q in range(1, n + 1) for p in range(-n, n + 1)),
        key=lambda f: abs(float(f) - value),
    )
    return float(near) if abs(float(near) - value) < 0.1 else float("nan")


def _boosts(parts: list[_Part], rows: Tensor) -> tuple[list[_Part], Tensor]:
    """Pairs of one-dimensional parts stretched by exp(w) and exp(-w) made one part, so(1,1)."""
    for row in rows.clone():
        touched = [j for j in range(len(parts)) if float(row[j].abs().max()) > 1e-9]
        if len(touched) != 2 or any(
            parts[j].dim > 1 or parts[j].copies != parts[touched[0]].copies for j in touched
        ):
            continue
        i, j = touched
        alone = (rows[:, [i, j]].abs().amax((1, 2)) > 1e-9).sum() == 1
        if not alone or abs(float(row[i, 0] + row[j, 0])) > 1e-6 * abs(float(row[i, 0])):
            continue
        pairs = [torch.cat([u, v], dim=1) for u, v in zip(parts[i].columns, parts[j].columns, strict=True)]
        turn = torch.tensor([[1.0, 1.0], [1.0, -1.0]], dtype=torch.float64) / 2**0.5
        boost = _Part(
            name="so(1,1)", basis=parts[i].basis.new_zeros(0, 2, 2), frame=turn, columns=pairs, unit=None
        )
        keep = [n for n in range(len(parts)) if n not in (i, j)]
        kept = torch.cat([rows[:, keep], rows[:, [i]]], dim=1)
        return _boosts([*(parts[n] for n in keep), boost], kept)
    return parts, rows


def _name(parts: list[_Part], rows: Tensor, k: int) -> str:
    """The name of a sum: gl and u where a part has all of its centre, and what is left of the centre by itself."""
    names = [part.name for part in parts]
    left = []
    single: dict[int, list[Tensor]] = {}
    for row in rows:
        touched = (row.abs().amax(1) > 1e-9).nonzero().flatten().tolist()
        if len(touched) == 1 and not (row[touched[0]].abs() > 1e-9).all():
            single.setdefault(touched[0], []).append(row[touched[0]])
        else:
            left.append(_row_name(row, parts, k))
    for j, characters in single.items():
        name, part = names[j], parts[j]
        stretches = any(float(c[0].abs()) > 0.5 for c in characters)
        turns = any(float(c[1].abs()) > 0.5 for c in characters)
        scaling = f"scaling({part.dim * part.copies})"
        if name == "so(1,1)":
            continue
        if name.startswith("sl(") and "C" not in name and stretches:
            names[j], stretches = "g" + name[1:], False
        elif name == "sp(2)" and stretches:
            names[j], stretches = "gl(2)", False
        elif name.startswith("sl(") and stretches and turns:
            names[j], stretches, turns = "g" + name[1:], False, False
        elif name.startswith("su(") and turns:
            names[j], turns = name[1:], False
        elif name == "" and turns:
            names[j], turns = "so(2)", False
        elif name == "" and stretches:
            names[j], stretches = scaling, False
            if part.copies > 1:
                names[j] = f"scaling({part.copies})"
        left += [scaling] * stretches + ["so(2)"] * turns
    named = [
        f"{part.copies}*{name}" if part.copies > 1 and not name.startswith("scaling") else name
        for name, part in zip(names, parts, strict=True)
        if name
    ]
    whole = [name for name in left if name == f"scaling({k})"] if named else []
    others = [name for name in left if name not in whole]
    return " with ".join(["+".join(sorted(named, key=lambda n: n.startswith("scaling")) + others), *whole])


def _row_name(row: Tensor, parts: list[_Part], k: int) -> str:
    touched = [j for j in range(len(parts)) if float(row[j].abs().max()) > 1e-9]
    real, imaginary = row[touched, 0], row[touched, 1]
    if not imaginary.any():
        if float((real - real[0]).abs().max()) < 1e-6 * float(real[0].abs()):
            return f"scaling({sum(parts[j].dim * parts[j].copies for j in touched)})"
        return f"scaling with weights {_ratio(real, parts, touched)}"
    if not real.any():
        return f"so(2) with frequencies {_ratio(imaginary.abs(), parts, touched)}"
    if len(touched) == 1:
        return "spiral"
    return ""


def _ratio(values: Tensor, parts: list[_Part], touched: list[int]) -> str:
    """Whole numbers in the ratio of values, one for each copy: ``"1:1:2"``."""
    fractions = [Fraction(float(v)).limit_denominator(LARGEST_INTEGER) for v in values]
    common = math.lcm(*(fraction.denominator for fraction in fractions))
    whole = [int(fraction * common) for fraction in fractions]
    divisor = math.gcd(*whole)
    numbers = [n // divisor for n, j in zip(whole, touched, strict=True) for _ in range(parts[j].copies)]
    return ":".join(map(str, sorted(numbers, key=abs)))


# -- algebras with a nilpotent part ----------------------------------------------------------------------------


def _affine_fits(balanced: Tensor) -> Iterator[Fit]:
    """Translations by a subspace W, alone or with a reductive algebra of W: all L = [[A, t], [0, 0]]."""
    for rows in nilpotent_parts(balanced):
        yield from _affine_fit(balanced, rows)


def _affine_fit(balanced: Tensor, rows: Tensor) -> Iterator[Fit]:
    c, k = len(balanced), balanced.shape[-1]
    nilpotent = torch.einsum("ra,aij->rij", rows, balanced)
    r = len(nilpotent)
    functional = torch.linalg.svd(nilpotent.flatten(0, 1), full_matrices=False).Vh[0]
    moved = nilpotent @ functional
    space = torch.linalg.svd(moved.mT).U
    space = torch.linalg.qr(torch.cat([space[:, :r] - torch.outer(functional, functional @ space[:, :r]),
                                       functional[:, None]], dim=1), mode="complete").Q  # fmt: skip
    order = [*range(r), *range(r + 1, k), r]
    frame = space[:, order] if r < k else space
    if r >= k:
        return
    if r == c:
        basis = torch.zeros(c, k, k, dtype=torch.float64)
        basis[range(c), range(c), k - 1] = 1.0
        yield Fit(name=f"translation({c})", basis=basis, frame=frame)
        return
    if r != k - 1:
        return
    inner = orthonormal(frame[:, :r].mT @ balanced @ frame[:, :r], c - r)
    h, inner = balance(inner)
    if len(nilpotent_part(inner)):
        return
    for found in _reductive(inner):
        if not found.name or found.free or re.search("frequencies|weights|spiral", found.name):
            continue
        wide = torch.block_diag(torch.linalg.inv(h) @ found.frame, torch.ones(1, 1, dtype=torch.float64))
        name = re.sub(r"^so\((\d+)\)$", r"se(\1)", found.name)
        name = re.sub(r"^so\((\d+,\d+)\)$", r"iso(\1)", name)
        name = re.sub(r"^gl\((\d+)\)$", r"aff(\1)", name)
        name = name if name != found.name else f"{name} with translation({r})"
        yield Fit(name=name, basis=_with_translations(found.basis), frame=frame @ wide)


def _heisenberg_fit(balanced: Tensor) -> Fit | None:
    """Heisenberg's algebra of dimension 2n + 1 on R^(n + 2): upper triangular, [q_i, p_i] = z."""
    c, k = len(balanced), balanced.shape[-1]
    if c != 2 * (k - 2) + 1 or k < 3:
        return None
    products = torch.einsum("aij,bjk->abik", balanced, balanced)
    derived = (products - products.transpose(0, 1)).flatten(0, 1)
    _, _, vectors = torch.linalg.svd(derived.flatten(1), full_matrices=False)
    u, _, v = torch.linalg.svd(vectors[0].reshape(k, k))
    first, functional = u[:, 0], v[0]
    first = first - functional * (functional @ first)
    columns = torch.stack([first / first.norm(), functional], dim=1)
    middle = torch.linalg.qr(columns, mode="complete").Q[:, 2:]
    frame = torch.cat([columns[:, :1], middle, columns[:, 1:]], dim=1)
    return Fit(name=f"heisenberg({c})", basis=_heisenberg(c), frame=frame)


# -- generators ------------------------------------------------------------------------------------------------


def _heisenberg(c: int) -> Tensor:
    """p_i, q_i and z of the Heisenberg algebra of dimension c = 2n + 1 on R^(n + 2)."""
    n = (c - 1) // 2
    basis = torch.zeros(c, n + 2, n + 2, dtype=torch.float64)
    for i in range(n):
        basis[i, 0, i + 1] = 1.0
        basis[n + i, i + 1, n + 1] = 1.0
    basis[2 * n, 0, n + 1] = 1.0
    return basis


def _with_translations(basis: Tensor) -> Tensor:
    n = basis.shape[-1]
    shifts = torch.zeros(n, n + 1, n + 1, dtype=torch.float64)
    shifts[range(n), range(n), n] = 1.0
    return torch.cat([torch.nn.functional.pad(basis, (0, 1, 0, 1)), shifts])


def _complex(basis: Tensor) -> Tensor:
    """A and i A on (Re z, Im z) for every real A (c, n, n)."""
    zero = torch.zeros_like(basis)
    real = torch.cat([torch.cat([basis, zero], 2), torch.cat([zero, basis], 2)], 1)
    imaginary = torch.cat([torch.cat([zero, -basis], 2), torch.cat([basis, zero], 2)], 1)
    return torch.cat([real, imaginary])


def _unitary(p: int, q: int, special: bool) -> Tensor:
    """A^H J + J A = 0 for complex A and J = diag(+1 p times, -1 q times), on (Re z, Im z)."""
    n = p + q
    sign = torch.diag(torch.tensor([1.0] * p + [-1.0] * q, dtype=torch.float64))
    i, j = torch.triu_indices(n, n, offset=1)
    pairs = torch.zeros(len(i), n, n, dtype=torch.float64)
    pairs[range(len(i)), i, j] = 1.0
    diagonal = torch.diag_embed(torch.eye(n, dtype=torch.float64))
    if special:
        diagonal = diagonal[:-1] - diagonal[1:]
    real = catalogue.pseudo_orthogonal(p, q).basis
    imaginary = torch.cat([diagonal, sign @ (pairs + pairs.mT)])
    return torch.cat([_complex(real)[: len(real)], _complex(imaginary)[len(imaginary) :]])


def _unit(generators: Tensor) -> Tensor:
    return generators / generators.flatten(1).norm(dim=1)[:, None, None].clamp(min=1e-300)
