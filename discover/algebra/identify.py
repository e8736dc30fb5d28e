"""Which algebra is this? Named from its structure and its representation, in any basis and any coordinates.

The generators are closed by least squares (`structure.nearest_closed`), the closed algebra is taken apart into
simple ideals, centre and irreducible blocks, and the textbook algebra made of the same parts is fitted to the
generators. A name is given when that fit is as near as noise allows and no other textbook algebra is.
"""

import re
from dataclasses import dataclass
from functools import cached_property

import torch
from scipy.stats import f
from torch import Tensor

from discover.algebra.structure import Structure, closed_parameters, nearest_closed, orthonormal, structure
from discover.algebra.textbook import Fit, fits
from discover.data.whitening import Whitening
from equivariant import catalogue
from equivariant.algebra import LieAlgebra
from equivariant.compare import closure_error, principal_angles, span

__all__ = ["Match", "candidates", "identify", "nearest_of_catalogue", "noise_variance"]

NOISE = 0.03  # of a generator, where nothing tells how noisy it is
EXACT = 1e-9  # noise of an entry below which generators count as exact
CONDITION = 12.0  # of a change of coordinates, above which a contraction of the algebra is the simpler answer
SIGNIFICANCE = 1.5  # least size of the smallest structure over the noise on it
ISOMORPHIC = (
    ("so(2)", "u(1)"),
    ("so(3)", "su(2)", "sp(1)"),
    ("so(1,2)", "sl(2)", "sp(2)", "su(1,1)"),
    ("so(4)", "so(3)+so(3)", "su(2)+su(2)"),
    ("so(2,2)", "sl(2)+sl(2)"),
    ("so(1,3)", "sl(2,C)"),
    ("so(2,3)", "sp(4)"),
    ("so(6)", "su(4)"),
    ("so(2,4)", "su(2,2)"),
    ("so(3,3)", "sl(4)"),
    ("so(1,1)", "scaling(1)", "translation(1)"),
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Match:
    """The name of an algebra with the evidence for it.

    Args:
        name: such as ``"so(1,3)"`` or ``"4*so(2)"``, else ``"dimension 5, solvable, not in the catalogue"``.
        known: whether the name is one of the catalogue.
        algebra: the closed algebra of this name nearest to the generators, in their coordinates (on the span of
            the data, where data were given); the nearest closed algebra where no name is known.
        angle: largest principal angle [rad] between the generators and ``algebra``, whitened by data if given.
        distance: root mean square distance of the generators, each of size one, from ``algebra``.
        alternatives: names of isomorphic algebras, which act on other vectors.
        textbook: the algebra in its textbook form; ``None`` where no textbook form was fitted.
        fit: the textbook algebra fitted on whitened data, with its residual and number of parameters.
        change_of_basis: F (k, r) with x = F x_textbook, so ``algebra`` is F ``textbook`` F^-1; ``None`` like it.

    Example:
        >>> from equivariant import catalogue
        >>> identify(catalogue.lorentz()).alternatives
        ('sl(2,C)',)
    """

    name: str
    known: bool
    algebra: LieAlgebra
    angle: float
    distance: float
    alternatives: tuple[str, ...] = ()
    textbook: LieAlgebra | None = None
    change_of_basis: Tensor | None = None
    fit: Fit | None = None

    @cached_property
    def structure(self) -> Structure:
        """The invariants of ``algebra``: Killing form, series, ideals, blocks."""
        return structure(self.algebra)


def identify(
    algebra: LieAlgebra, data: Tensor | None = None, tolerance: float = 0.1, noise: float | None = None
) -> Match:
    """The name of an algebra from its generators, whatever their basis and coordinates.

    Args:
        algebra: generators, which may be noisy and need not be closed.
        data: points (..., k); a generator is then what it does to their span, in coordinates of unit variance.
        tolerance: largest root mean square distance of the generators, each of size one, from the algebra named.
        noise: relative size of the errors of the generators; by default estimated from how far they are from
            closed and from the algebra's form, and taken as 3 % where that tells nothing.

    Returns:
        A `Match`; its name ends in "not in the catalogue" where no name is certain.

    Raises:
        ValueError: for data of another size.

    Example:
        >>> from equivariant import LieAlgebra, catalogue
        >>> frame = torch.tensor([[1.0, 0.5, 0.0], [0.0, 1.0, 0.3], [0.2, 0.0, 2.0]]).double()
        >>> skewed = frame @ catalogue.rotation(3).basis @ torch.linalg.inv(frame)
        >>> identify(LieAlgebra(skewed)).name
        'so(3)'
    """
    if data is not None and data.shape[-1] != algebra.dim:
        raise ValueError(f"data must have vectors of size {algebra.dim}, got {data.shape[-1]}")
    points = torch.eye(algebra.dim, dtype=torch.float64) if data is None else data.reshape(-1, algebra.dim)
    whitening = Whitening.none(points) if data is None else Whitening.of_data(points)
    rows = whitening.generators(algebra.basis.detach().cpu().double())
    rows = rows[rows.flatten(1).norm(dim=1) > 1e-12 * float(rows.abs().max()) if len(rows) else slice(0)]
    if len(rows):
        rows = _independent(rows / rows.flatten(1).norm(dim=1)[:, None, None])
    if len(rows) == 0:
        empty = LieAlgebra(algebra.basis[:0].double())
        return Match(
            name="dimension 0, not in the catalogue", known=False, algebra=empty, angle=0.0, distance=0.0
        )
    closed = nearest_closed(rows)
    found = [fit for fit in fits(rows, closed) if (fit.squares / len(rows)) ** 0.5 <= tolerance]
    fit = _chosen(rows, closed, found, noise)
    if fit is None:
        return _unnamed(algebra, rows, closed, whitening, 0.0 if found else tolerance, noise)
    nearest, distance = nearest_of_catalogue(rows, fit.name, algebra.dim, whitening)
    name = fit.name
    if nearest is not None and distance**2 <= fit.squares + _quantile(fit.parameters) * noise_variance(
        fit, noise
    ):
        name = str(nearest.provenance["name"])
    return Match(
        name=name,
        known=True,
        algebra=_in_coordinates(fit.generators, whitening, name, algebra),
        angle=float(principal_angles(rows, fit.generators).max()),
        distance=(fit.squares / len(rows)) ** 0.5,
        alternatives=_alternatives(name),
        textbook=LieAlgebra(fit.basis, provenance={"method": "catalogue", "name": fit.name}),
        change_of_basis=whitening.decode @ fit.frame,
        fit=fit,
    )


def candidates(k: int) -> list[LieAlgebra]:
    """The catalogue's algebras on vectors of size k in their own coordinates, the smaller ones first.

    Args:
        k: size of the vectors.

    Returns:
        Algebras, so the smaller ones win a tie.
    """
    names = [f"scaling({k})", f"so({k})", f"sl({k})", f"gl({k})"]
    names += [f"{k // n}*so({n})" for n in range(2, k) if k % n == 0]
    names += [f"{k // n}*so(1,{n - 1})" for n in range(2, k + 1) if k % n == 0]
    names += [f"sp({k})"] if k % 2 == 0 else []
    names += [f"translation({k - 1})", f"se({k - 1})", f"aff({k - 1})"] if k > 1 else []
    found = [catalogue.by_name(name.removeprefix("1*")) for name in names]
    found += [catalogue.union(algebra, catalogue.scaling(k)) for algebra in found if _scalable(algebra, k)]
    return sorted((algebra for algebra in found if algebra.n_generators), key=lambda a: a.n_generators)


def noise_variance(fit: Fit, noise: float | None) -> float:
    """Variance of the noise of an entry of generators of size one, as a fit leaves it unexplained.

    Where few entries tell, noise of the usual size is assumed unless they are exact.
    """
    k = fit.frame.shape[-1]
    if noise is not None:
        return max(noise / k, EXACT) ** 2
    found = fit.squares / max(fit.freedom, 1)
    if fit.squares < EXACT**2 * max(fit.measured, 1):
        return EXACT**2 if fit.freedom > 0 else (NOISE / k) ** 2
    return max(found, (NOISE / k) ** 2) if fit.freedom < 6 else found


def _independent(rows: Tensor) -> Tensor:
    """The generators, less what depends on others: as they are where they are independent."""
    values = torch.linalg.svdvals(rows.flatten(1))
    rank = int((values > 1e-9 * values[0]).sum())
    return rows if rank == len(rows) else orthonormal(rows, rank)


def _chosen(rows: Tensor, closed: Tensor, found: list[Fit], noise: float | None) -> Fit | None:
    """The textbook algebra that noise allows, if there is one and one only."""
    projected = closed.flatten(1)
    unexplained = float((rows.flatten(1) - rows.flatten(1) @ projected.mT @ projected).square().sum())
    is_closed = closure_error(closed) < 1e-7
    parameters = closed_parameters(closed) if is_closed else 0
    exact = [fit for fit in found if fit.free == 0]
    possible = []
    for fit in exact:
        general = [g for g in found if g.free and g.squares <= fit.squares]
        variance = min(noise_variance(g, noise) for g in [fit, *general])
        if noise is None and len(rows) == 1 and variance > EXACT**2:
            # one generator cannot be tested for closure: its errors are taken for usual ones
            variance = (NOISE / fit.frame.shape[-1]) ** 2
        if noise is None and fit.freedom < 6:
            variance = min(variance, (1.5 * NOISE / fit.frame.shape[-1]) ** 2)
        bound = _quantile(fit.freedom) * variance
        if len(rows) > 1 and is_closed and noise is None:
            more, least = max(parameters - fit.parameters, 1), max(fit.measured - parameters, 1)
            bound = min(bound, unexplained * (1 + more / least * float(f.ppf(0.999, more, least))))
        if fit.squares <= bound + EXACT**2 * fit.measured:
            possible.append(fit)
    if not possible:
        spirals = [fit for fit in found if fit.name == "spiral" and _is_spiral(fit, noise)]
        return spirals[0] if spirals and len(rows) == 1 else None
    best = min(possible, key=lambda fit: noise_variance(fit, noise))
    variance = noise_variance(best, noise)
    within = [_excess(max(best.parameters - fit.parameters, 1), best, noise) * variance for fit in possible]
    possible = [
        fit for fit, bound in zip(possible, within, strict=True) if fit.squares - best.squares <= bound
    ]
    simplest = min(possible, key=lambda fit: (fit.degeneracy, fit.parameters, fit.squares))
    if any(fit is not simplest and fit.condition <= CONDITION for fit in possible):
        return None  # noise hides which: one is a contraction of the other
    if not simplest.reductive:
        sure = simplest.freedom > 5 or simplest.squares < EXACT * len(rows) or noise is not None
        return simplest if sure else None
    least = 3 * SIGNIFICANCE if re.search("frequencies|weights", simplest.name) else SIGNIFICANCE
    return simplest if simplest.significance(variance) > least else None


def _is_spiral(fit: Fit, noise: float | None) -> bool:
    """Whether a generator both turns and stretches, beyond its noise."""
    values = torch.linalg.eigvals(fit.basis[0])
    parts = sorted((float(values.real.abs().max()), float(values.imag.abs().max())))
    return parts[0] / parts[1] * fit.significance(noise_variance(fit, noise)) > 3 * SIGNIFICANCE


def _excess(parameters: int, general: Fit, noise: float | None) -> float:
    """The 99.9 % quantile of the noise variances that fewer parameters leave unexplained."""
    freedom = max(general.freedom, 1) if noise is None else 10**6
    return parameters * min(float(f.ppf(0.999, parameters, freedom)), 100.0)


def _quantile(freedom: int) -> float:
    """About the 99.9 % quantile of chi squared."""
    return freedom + 4.4 * max(freedom, 1) ** 0.5 + 6


def _unnamed(
    algebra: LieAlgebra,
    rows: Tensor,
    closed: Tensor,
    whitening: Whitening,
    tolerance: float,
    noise: float | None,
) -> Match:
    """No textbook form fits: the abstract name of a semisimple algebra, else what its structure is."""
    found = structure(closed, rtol=1e-6)
    projected = closed.flatten(1)
    distance = float((rows.flatten(1) - rows.flatten(1) @ projected.mT @ projected).norm()) / len(rows) ** 0.5
    is_closed = closure_error(closed) < 1e-7
    kind = found.kind if is_closed else "not closed"
    name, known = f"dimension {len(rows)}, {kind}, not in the catalogue", False
    if (
        is_closed
        and kind == "semisimple"
        and all(ideal.names for ideal in found.ideals)
        and distance <= tolerance
    ):
        k = rows.shape[-1]
        guess = Fit(name="", basis=closed, frame=torch.eye(k, dtype=torch.float64), reductive=True)
        variance = (
            (noise / k) ** 2 if noise is not None else max(distance**2 / (k * k - len(closed)), EXACT**2)
        )
        if len(closed) < k * k and guess.significance(variance) > SIGNIFICANCE:
            name, known = "+".join(ideal.names[0] for ideal in found.ideals), True
    return Match(
        name=name,
        known=known,
        algebra=_in_coordinates(closed, whitening, name, algebra),
        angle=float(principal_angles(rows, closed).max()),
        distance=distance,
        alternatives=_alternatives(name),
    )


def nearest_of_catalogue(
    rows: Tensor, name: str, k: int, whitening: Whitening
) -> tuple[LieAlgebra | None, float]:
    """The catalogue's algebra in its own coordinates that is nearest to generators.

    Args:
        rows: generators (c, r, r) on whitened data, each of size one.
        name: their name on the data, which counts fewer copies than the catalogue's where data span a subspace.
        k: size of the vectors.
        whitening: the coordinates of the generators.

    Returns:
        The algebra, ``None`` where none has as many generators on the data, and the root of the sum of squared
        distances of the generators from its span.
    """
    found: list[tuple[float, LieAlgebra]] = []
    for candidate in candidates(k):
        unit = span(whitening.generators(candidate.basis))
        alike = _without_copies(str(candidate.provenance["name"])) == _without_copies(name)
        if alike and whitening.off_span(candidate.basis) < 1e-6 and len(unit) == len(rows):
            found.append((float((rows.flatten(1) - rows.flatten(1) @ unit.mT @ unit).norm()), candidate))
    least = min((distance for distance, _ in found), default=float("inf"))
    return next(((a, distance) for distance, a in found if distance <= least + 1e-7), (None, least))


def _without_copies(name: str) -> str:
    return re.sub(r"\d+\*|(?<=scaling)\(\d+\)", "", name)


def _in_coordinates(basis: Tensor, whitening: Whitening, name: str, algebra: LieAlgebra) -> LieAlgebra:
    return LieAlgebra(
        whitening.decode @ basis @ whitening.encode,
        origin=algebra.origin.double().cpu(),
        coordinates=algebra.coordinates,
        space=algebra.space,
        provenance={"method": "identify", "name": name},
    )


def _alternatives(name: str) -> tuple[str, ...]:
    core = name.split("*")[-1]
    return tuple(other for group in ISOMORPHIC if core in group for other in group if other != core)


def _scalable(algebra: LieAlgebra, k: int) -> bool:
    """Rotations and Lorentz groups, which leave the scale open."""
    return "so(" in str(algebra.provenance["name"]) and k > 1
