"""From raw generators to a closed algebra, step by step; a step is taken only if the data or the noise allow it."""

from dataclasses import dataclass

import torch
from scipy.stats import f
from torch import Tensor

from discover.algebra.defect import Defect, EquivarianceDefect
from discover.algebra.identify import NOISE, Match, identify, nearest_of_catalogue, noise_variance
from discover.algebra.structure import orthonormal
from discover.data.samples import Samples
from discover.data.whitening import Whitening, echelon
from equivariant.algebra import CoefficientDistribution, LieAlgebra
from equivariant.arrays import ArrayLike, as_tensor
from equivariant.compare import DataSpan, closure_error, data_span, principal_angles, span
from equivariant.rep import Rep

__all__ = ["Change", "Refinement", "refine"]

ROUNDING = 1e-9  # changes of the span below this are no changes


@dataclass(frozen=True, kw_only=True)
class Change:
    """One step of a refinement.

    Args:
        step: ``"drop"``, ``"close"``, ``"orthonormalise"``, ``"catalogue"``, ``"threshold"`` or ``"sparsify"``.
        size: largest principal angle [rad] between the spans before and after the step, as it would be.
        note: what the step did, or why it was not taken.
        taken: whether it was.
        limit: the largest ``size`` that the estimated noise allows; ``None`` where held-out data decided.
        defect: held-out equivariance defect before and after, where a target was given.

    Example:
        >>> from equivariant import catalogue
        >>> [change.step for change in refine(catalogue.rotation(3)).changes]
        ['drop', 'close', 'orthonormalise', 'catalogue', 'threshold', 'sparsify']
    """

    step: str
    size: float
    note: str
    taken: bool = True
    limit: float | None = None
    defect: tuple[Defect, Defect] | None = None

    def __str__(self) -> str:
        evidence = "" if self.defect is None else f"; defect {self.defect[0]} before, {self.defect[1]} after"
        evidence += "" if self.limit is None else f"; noise allows {self.limit:.1e} rad"
        return f"{self.step}: {self.note} (change {self.size:.1e} rad{evidence})"


@dataclass(frozen=True, kw_only=True)
class Refinement:
    """The refined algebra and every step on the way to it; the raw algebra stays as it was.

    Args:
        algebra: the refined algebra.
        changes: the steps.
        match: its name, with the evidence.

    Example:
        >>> from equivariant import LieAlgebra, catalogue
        >>> noise = torch.randn(3, 3, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        >>> refined = refine(LieAlgebra(catalogue.rotation(3).basis + 0.01 * noise))
        >>> refined.match.name, refined.algebra.closure_error() < 1e-12
        ('so(3)', True)
    """

    algebra: LieAlgebra
    changes: tuple[Change, ...]
    match: Match

    def __str__(self) -> str:
        return "\n".join(map(str, self.changes))


def refine(
    algebra: LieAlgebra,
    data: ArrayLike | None = None,
    y: ArrayLike | None = None,
    *,
    x_rep: Rep | None = None,
    y_rep: Rep | None = None,
    drop: float = 0.05,
    threshold: float = 0.05,
    tolerance: float = 0.1,
    noise: float | None = None,
) -> Refinement:
    """Make a raw algebra closed and simple, without moving it beyond what is known of it.

    Everything is measured in coordinates in which the data have unit variance. The steps: empty generators are
    dropped; the span becomes the nearest closed algebra, of the form `identify` names; an orthonormal basis near
    to the generators is taken; the catalogue's algebra in these coordinates, if it is as near; small entries
    become zero; a basis of the same span with fewer entries is taken.

    With a target ``y`` a step is taken if the held-out equivariance defect stays within its 95 % interval;
    without one, if noise of the size estimated from the algebra itself explains the change.

    Args:
        algebra: what discovery returned. It is not changed.
        data: vectors (..., k), or with ``y`` the inputs as in ``LieGAN.fit``; by default all directions count alike.
        y: targets, as in ``LieGAN.fit``.
        x_rep: representation of the inputs, as in ``LieGAN.fit``.
        y_rep: representation of the targets, as in ``LieGAN.fit``.
        drop: generators, and combinations of them, below this part of the largest are dropped, if the others are
            nearer to closed without them.
        threshold: entries below this part of a generator's largest become zero, if noise allows it.
        tolerance: largest root mean square change of the generators, each of size one, by closing them.
        noise: relative error of the generators; by default estimated, see `identify`.

    Returns:
        The refined algebra with every step. The distribution of the coefficients follows every change of basis.

    Raises:
        ValueError: for data of another size.

    Example:
        >>> from equivariant import LieAlgebra, catalogue
        >>> noise = torch.randn(6, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        >>> raw = LieAlgebra(catalogue.lorentz().basis + 0.01 * noise)
        >>> print(refine(raw).changes[3].note)
        taken as so(1,3) of the catalogue
    """
    raw = algebra.to(device="cpu", dtype=torch.float64)
    judge = _Judge.of(raw, data, y, x_rep, y_rep, noise)
    state = raw
    changes: list[Change] = []

    def step(name: str, proposal: tuple[LieAlgebra, str] | str, always: bool = False) -> None:
        nonlocal state
        if isinstance(proposal, str):
            changes.append(Change(step=name, size=0.0, note=proposal))
            return
        change = judge.decide(name, state, *proposal, always)
        state = proposal[0] if change.taken else state
        changes.append(change)

    step("drop", _drop(state, judge, drop), always=True)
    # before orthonormalising, which would count a combination of small coefficients, and its noise, like others
    judge.match = match = identify(state, judge.vectors, tolerance, noise)
    step("close", _close(state, judge, match, tolerance))
    step("orthonormalise", _orthonormalise(state, judge.span), always=True)
    step("catalogue", _catalogue(state, judge, match, tolerance))
    on_catalogue = changes[-1].note.startswith("taken")
    step("threshold", "nothing to do" if on_catalogue else _threshold(state, threshold))
    step("sparsify", "nothing to do" if on_catalogue else _sparsify(state, judge.span))
    return Refinement(algebra=_signed(state, algebra, changes), changes=tuple(changes), match=match)


@dataclass(kw_only=True)
class _Judge:
    """Whether a change of the generators is within what data, or their own noise, allow."""

    vectors: Tensor | None
    span: DataSpan
    whitening: Whitening
    defect: EquivarianceDefect | None
    noise: float | None
    match: Match | None = None

    @classmethod
    def of(
        cls,
        algebra: LieAlgebra,
        data: ArrayLike | None,
        y: ArrayLike | None,
        x_rep: Rep | None,
        y_rep: Rep | None,
        noise: float | None,
    ) -> "_Judge":
        k = algebra.dim
        if data is None:
            if y is not None:
                raise ValueError("a target y needs its inputs: give data too")
            eye = torch.eye(k, dtype=torch.float64)
            return cls(
                vectors=None, span=data_span(eye), whitening=Whitening.none(eye), defect=None, noise=noise
            )
        points = as_tensor(data, "data").detach().cpu().double()
        samples = None if y is None else Samples.read(points, y, x_rep, y_rep).to("cpu", torch.float64)
        vectors = points if samples is None else samples.all_vectors()
        if vectors.shape[-1] != k:
            raise ValueError(f"data must have vectors of size {k}, got {vectors.shape[-1]}")
        vectors = vectors.reshape(-1, k)
        whitening = Whitening.of_data(vectors - algebra.origin)
        defect = None
        if samples is not None:
            defect = EquivarianceDefect(samples.map_vectors(whitening.encode, algebra.origin))
        return cls(
            vectors=vectors - algebra.origin,
            span=data_span(vectors),
            whitening=whitening,
            defect=defect,
            noise=noise,
        )

    def rows(self, algebra: LieAlgebra) -> Tensor:
        """The generators on whitened data, each of size one."""
        rows = self.whitening.generators(algebra.basis)
        return rows / rows.flatten(1).norm(dim=1)[:, None, None].clamp(min=1e-300)

    def decide(self, name: str, before: LieAlgebra, after: LieAlgebra, note: str, always: bool) -> Change:
        size = _angle(before, after, self.span)
        if always or size < ROUNDING or after.n_generators == 0:
            return Change(step=name, size=size, note=note)
        if self.defect is not None:
            pair = (
                self.defect(self.whitening.generators(before.basis)),
                self.defect(self.whitening.generators(after.basis)),
            )
            taken = pair[1].value <= pair[0].high
            note = note if taken else f"not {note}: held-out data contradict it"
            return Change(step=name, size=size, note=note, taken=taken, defect=pair)
        allowed = self._allowed(before, after)
        distance = _distance(self.rows(before), self.rows(after))
        taken = name == "close" or distance <= allowed
        note = note if taken else f"not {note}: it is farther than the noise of the generators explains"
        limit = None if name == "close" else size * allowed / max(distance, 1e-300)
        return Change(step=name, size=size, note=note, taken=taken, limit=limit)

    def _allowed(self, before: LieAlgebra, after: LieAlgebra) -> float:
        """The largest distance that noise explains, for a change of as many parameters as the orbit has."""
        fit = self.match.fit if self.match is not None else None
        if fit is None:
            return ROUNDING
        parameters = max(fit.parameters, 1)
        if self.noise is not None:
            return (3 * parameters * noise_variance(fit, self.noise)) ** 0.5
        freedom = max(fit.freedom, 1)
        allowed = float(f.ppf(0.99, parameters, freedom)) * parameters * fit.squares / freedom
        usual = 3 * parameters * (NOISE / fit.frame.shape[-1]) ** 2
        exact = fit.squares < ROUNDING**2 * fit.measured
        # one generator cannot be tested for closure: its errors are taken for usual ones
        least = NOISE if before.n_generators == 1 and not exact else 0.0
        return max(min(allowed, usual) ** 0.5, least)


def _distance(before: Tensor, after: Tensor) -> float:
    """Root of the summed squared distances of generators of size one from the span of others."""
    unit = span(after)
    rows = before.flatten(1)
    return float((rows - rows @ unit.mT @ unit).norm())


def _drop(algebra: LieAlgebra, judge: _Judge, least: float) -> tuple[LieAlgebra, str]:
    """Leave out empty generators and dependent directions, where the others are nearer to closed without them."""
    action = _action(algebra, judge.span)
    sizes = action.norm(dim=1)
    if not len(sizes) or not sizes.any():
        return _with(algebra, algebra.basis[:0], _kept(algebra.distribution, sizes > 0)), _dropped(sizes > 0)
    keep = sizes > 1e-9 * sizes.max()
    large = sizes > least * sizes.max()
    if not torch.equal(keep, large) and _closure(algebra.basis[large], judge) < _closure(
        algebra.basis[keep], judge
    ):
        keep = large
    kept = _with(algebra, algebra.basis[keep], _kept(algebra.distribution, keep))
    left, values, _ = torch.linalg.svd(_action(kept, judge.span), full_matrices=False)
    ranks = [int((values > part * values[0]).sum()) for part in (1e-9, least)]
    bases = [torch.einsum("ba,bij->aij", left[:, :rank] / values[:rank], kept.basis) for rank in ranks]
    errors = [_closure(basis, judge) for basis in bases]
    rank, basis = min(zip(ranks, bases, strict=True), key=lambda pair: errors[ranks.index(pair[0])])
    note = _dropped(keep)
    if rank == len(values):
        return kept, note
    mixing = (left[:, :rank] / values[:rank]).mT
    changed = _rebased(kept, basis, torch.linalg.pinv(mixing))
    return changed, f"{note}, {len(values) - rank} dependent directions left out"


def _dropped(keep: Tensor) -> str:
    return f"{int((~keep).sum())} of {len(keep)} generators were empty"


def _closure(basis: Tensor, judge: _Judge) -> float:
    """Closure error of the span on the data, exact ones alike."""
    return max(closure_error(orthonormal(judge.whitening.generators(basis))), ROUNDING)


def _kept(distribution: CoefficientDistribution, keep: Tensor) -> CoefficientDistribution:
    scale = distribution.scale
    scale = scale[keep] if scale.ndim == 1 else scale[keep][:, keep]
    return CoefficientDistribution(distribution.kind, distribution.mean[keep], scale)


def _orthonormalise(algebra: LieAlgebra, space: DataSpan) -> tuple[LieAlgebra, str] | str:
    """Of all orthonormal bases of the span, the one nearest to the generators."""
    if algebra.n_generators == 0:
        return "nothing to do"
    left, values, _ = torch.linalg.svd(_action(algebra, space), full_matrices=False)
    mixing = left @ (left / values).mT
    basis = torch.einsum("ab,bij->aij", mixing, algebra.basis)
    return _rebased(algebra, basis, torch.linalg.pinv(mixing)), "the nearest orthonormal basis"


def _close(
    algebra: LieAlgebra, judge: _Judge, match: Match, tolerance: float
) -> tuple[LieAlgebra, str] | str:
    """The generators' projections on the nearest closed algebra of their name."""
    if algebra.n_generators == 0:
        return "nothing to do"
    if match.distance > tolerance or match.algebra.closure_error() > 1e-7:
        return f"left as they are: the nearest closed algebra is {match.distance:.2g} away"
    if match.distance < ROUNDING:
        return f"closed already: {match.name}"
    unit = span(judge.whitening.generators(match.algebra.basis))
    rows = judge.whitening.generators(algebra.basis)
    rows = (rows.flatten(1) @ unit.mT @ unit).reshape(rows.shape)
    basis = judge.whitening.decode @ rows @ judge.whitening.encode
    name = match.name if match.known else "the nearest closed algebra"
    return _with(algebra, basis, algebra.distribution), f"made {name} exactly"


def _catalogue(
    algebra: LieAlgebra, judge: _Judge, match: Match, tolerance: float
) -> tuple[LieAlgebra, str] | str:
    """The catalogue's algebra in these coordinates, where there is one of this name near enough."""
    if match.fit is None:
        return "nothing to do"
    nearest, distance = nearest_of_catalogue(
        judge.rows(algebra), match.fit.name, algebra.dim, judge.whitening
    )
    if nearest is None or distance > tolerance * algebra.n_generators**0.5:
        return f"none of the catalogue's algebras in these coordinates lies within {tolerance:g}"
    name = nearest.provenance["name"]
    return _expressed_in(algebra, nearest.basis, judge.span), f"taken as {name} of the catalogue"


def _threshold(algebra: LieAlgebra, least: float) -> tuple[LieAlgebra, str] | str:
    size = algebra.basis.abs()
    small = size < least * size.amax(dim=(1, 2), keepdim=True)
    count = int((small & (algebra.basis != 0)).sum())
    changed = _with(algebra, algebra.basis.masked_fill(small, 0.0), algebra.distribution)
    if count == 0:
        return "nothing to do"
    if changed.closure_error() > max(algebra.closure_error(), ROUNDING):
        return f"{count} small entries stay: without them the algebra is not closed"
    return changed, f"{count} small entries set to zero"


def _sparsify(algebra: LieAlgebra, space: DataSpan) -> tuple[LieAlgebra, str] | str:
    """The reduced echelon form of the basis, where it has fewer entries."""
    rows = algebra.basis.flatten(1)
    if len(rows) < 2 or algebra.distribution.kind == "integer":
        return "nothing to do"
    sparse = echelon(rows)
    sparse = sparse.masked_fill(sparse.abs() < 1e-11 * sparse.abs().amax(1, keepdim=True), 0.0)
    entries = [int((part.abs() > ROUNDING * part.abs().max()).sum()) for part in (rows, sparse)]
    if entries[1] >= entries[0]:
        return "no sparser basis"
    changed = _expressed_in(algebra, sparse.reshape(algebra.basis.shape), space)
    if _angle(algebra, changed, space) > ROUNDING:
        return "no sparser basis"
    return changed, f"a basis with {entries[1]} entries in place of {entries[0]}"


def _expressed_in(algebra: LieAlgebra, basis: Tensor, space: DataSpan) -> LieAlgebra:
    """The basis of the same span, with the distribution carried over through L ~ M basis on the data."""
    mixing = _action(algebra, space) @ torch.linalg.pinv((basis @ space.basis.mT).flatten(1))
    if algebra.distribution.kind == "integer":
        # the size of an integer step is part of the finding, so the exact basis takes it over
        return _with(algebra, torch.einsum("ab,bij->aij", mixing, basis), algebra.distribution)
    return _rebased(algebra, basis, mixing)


def _rebased(algebra: LieAlgebra, basis: Tensor, mixing: Tensor) -> LieAlgebra:
    """Another basis with old = mixing new: w.old = (mixing^T w).new, so the distribution is mapped by mixing^T."""
    distribution = algebra.distribution
    if distribution.kind == "integer":
        return (
            _with(algebra, torch.einsum("ab,bij->aij", mixing, basis), distribution)
            if len(basis) == len(mixing)
            else algebra
        )
    scale = mixing.mT @ (
        torch.diag(distribution.scale) if distribution.scale.ndim == 1 else distribution.scale
    )
    if scale.shape[0] != scale.shape[1]:
        left, values, _ = torch.linalg.svd(scale, full_matrices=False)
        scale = left * values
    return _with(
        algebra, basis, CoefficientDistribution(distribution.kind, mixing.mT @ distribution.mean, scale)
    )


def _signed(refined: LieAlgebra, raw: LieAlgebra, changes: list[Change]) -> LieAlgebra:
    """A new value that names its parent and the steps between."""
    steps = [{"step": c.step, "size": c.size, "note": c.note, "taken": c.taken} for c in changes]
    provenance = raw.provenance | {"parent": raw.digest, "refinements": steps}
    distribution = refined.distribution
    if distribution.scale.ndim == 2 and len(distribution.scale) == 1:
        scale = distribution.scale[0].abs()
        distribution = CoefficientDistribution(distribution.kind, distribution.mean, scale)
    return LieAlgebra(refined.basis, distribution, raw.origin, raw.coordinates, raw.space, provenance)


def _with(algebra: LieAlgebra, basis: Tensor, distribution: CoefficientDistribution) -> LieAlgebra:
    return LieAlgebra(
        basis, distribution, algebra.origin, algebra.coordinates, algebra.space, algebra.provenance
    )


def _action(algebra: LieAlgebra, space: DataSpan) -> Tensor:
    """What the generators do to the data's span, as rows (c, k r)."""
    return (algebra.basis @ space.basis.mT).flatten(1)


def _angle(before: LieAlgebra, after: LieAlgebra, space: DataSpan) -> float:
    angles = principal_angles(before, after, space.basis)
    return float(angles.max()) if len(angles) else 0.0
