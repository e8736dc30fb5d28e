"""From a raw basis to an exact algebra: drop, orthonormalise, threshold, make exact; each step says what it changed."""

from dataclasses import dataclass

import torch
from torch import Tensor

from discover.algebra.identify import identify
from equivariant.algebra import CoefficientDistribution, LieAlgebra
from equivariant.compare import DataSpan, data_span, principal_angles
from equivariant.metric import invariant_metrics, nearest_isometries

__all__ = ["Change", "Refinement", "refine"]


@dataclass(frozen=True, kw_only=True)
class Change:
    """What one step did: ``size`` is the largest principal angle [rad] between the spans before and after."""

    step: str
    size: float
    note: str


@dataclass(frozen=True, kw_only=True)
class Refinement:
    """The refined algebra and every change on the way to it; the raw one stays as it was."""

    algebra: LieAlgebra
    changes: tuple[Change, ...]

    def __str__(self) -> str:
        return "\n".join(f"{c.step}: {c.note} (turned by {c.size:.2e} rad)" for c in self.changes)


def refine(
    algebra: LieAlgebra,
    data: Tensor | None = None,
    *,
    drop: float = 0.05,
    threshold: float = 0.05,
    tolerance: float = 0.1,
) -> Refinement:
    """Clean a raw basis.

    Args:
        algebra: what discovery returned. It is not changed.
        data: vectors (..., k); sizes and angles are then measured by what the generators do to their span.
        drop: generators, and combinations of them, below this part of the largest are dropped.
        threshold: entries below this part of a generator's largest become zero.
        tolerance: largest angle [rad] by which the last step may turn the span.

    The last step takes the nearest algebra of the catalogue if one lies within ``tolerance``, else the
    generators nearest to these that keep an invariant form J exactly, if there is one within ``tolerance``.
    The distribution of the coefficients follows every change of basis. Raises ``ValueError`` for data of another size.
    """
    space = data_span(torch.eye(algebra.dim, dtype=torch.float64) if data is None else data)
    if len(space.projector) != algebra.dim:
        raise ValueError(f"data must have vectors of size {algebra.dim}, got {len(space.projector)}")
    raw, changes = algebra.to(device="cpu", dtype=torch.float64), []
    current = raw
    steps = (
        ("drop", lambda a: _drop(a, space, drop)),
        ("orthonormalise", lambda a: _orthonormalise(a, space, drop)),
        ("threshold", lambda a: _threshold(a, threshold)),
        ("exact", lambda a: _exact(a, space, tolerance)),
    )
    for name, step in steps:
        before = current
        current, note = step(before)
        changes.append(Change(step=name, size=_turn(before, current, space), note=note))
    return Refinement(algebra=_signed(current, algebra, changes), changes=tuple(changes))


def _drop(algebra: LieAlgebra, space: DataSpan, least: float) -> tuple[LieAlgebra, str]:
    sizes = _action(algebra, space).norm(dim=1)
    keep = sizes > least * sizes.max() if len(sizes) else sizes > 0
    distribution = algebra.distribution
    scale = distribution.scale[keep] if distribution.scale.ndim == 1 else distribution.scale[keep][:, keep]
    kept = CoefficientDistribution(distribution.kind, distribution.mean[keep], scale)
    return _with(
        algebra, algebra.basis[keep], kept
    ), f"{int((~keep).sum())} of {len(keep)} generators were empty"


def _orthonormalise(algebra: LieAlgebra, space: DataSpan, least: float) -> tuple[LieAlgebra, str]:
    """Of all orthonormal bases of the span, the one nearest to the generators (singular vectors if some drop)."""
    if algebra.n_generators == 0:
        return algebra, "nothing to do"
    left, values, _ = torch.linalg.svd(_action(algebra, space), full_matrices=False)
    rank = int((values > least * values[0]).sum())
    mixing = (left[:, :rank] / values[:rank]).mT
    mixing = left @ mixing if rank == len(values) else mixing
    basis = torch.einsum("ab,bij->aij", mixing, algebra.basis)
    changed = _rebased(algebra, basis, torch.linalg.pinv(mixing))
    return changed, f"{len(values) - rank} dependent directions left out"


def _threshold(algebra: LieAlgebra, least: float) -> tuple[LieAlgebra, str]:
    size = algebra.basis.abs()
    small = size < least * size.amax(dim=(1, 2), keepdim=True)
    count = int((small & (algebra.basis != 0)).sum())
    return _with(
        algebra, algebra.basis.masked_fill(small, 0.0), algebra.distribution
    ), f"{count} small entries set to zero"


def _exact(algebra: LieAlgebra, space: DataSpan, tolerance: float) -> tuple[LieAlgebra, str]:
    if algebra.n_generators == 0:
        return algebra, "nothing to do"
    match = identify(algebra, space.basis, tolerance)
    if match is not None:
        exact = _expressed_in(algebra, match.algebra.basis, space)
        return exact, f"taken as {match.name}, the nearest of the catalogue"
    return _isometric(algebra, space, tolerance)


def _isometric(algebra: LieAlgebra, space: DataSpan, tolerance: float) -> tuple[LieAlgebra, str]:
    """The generators nearest to these that keep an invariant form of the data's span."""
    inner = LieAlgebra(space.basis @ algebra.basis @ space.basis.mT)
    forms = invariant_metrics(inner, allow_none=True)
    if not len(forms.metrics):
        return (
            algebra,
            "kept: it is no algebra of the catalogue and keeps no quadratic form (a scaling keeps none)",
        )
    form, condition = _best_conditioned(forms.metrics)
    if condition > 1e6:
        return algebra, "kept: the invariant form is degenerate, so it fixes no exact algebra"
    basis = space.basis.mT @ nearest_isometries(inner, form).basis @ space.basis
    changed = _with(algebra, basis, algebra.distribution)
    turn = _turn(algebra, changed, space)
    if turn > tolerance:
        return algebra, f"kept: the nearest algebra with an invariant form lies {turn:.3g} rad away"
    return changed, f"made to keep an invariant form exactly (residual before: {forms.residual:.2e})"


def _best_conditioned(metrics: Tensor) -> tuple[Tensor, float]:
    """Of the invariant forms, and the one nearest to the identity, the best conditioned."""
    nearest = torch.einsum("a,aij->ij", metrics.diagonal(dim1=1, dim2=2).sum(1), metrics)
    conditions = [(float(torch.linalg.cond(form)), form) for form in (*metrics, nearest)]
    condition, form = min(conditions, key=lambda pair: pair[0])
    return form, condition


def _expressed_in(algebra: LieAlgebra, basis: Tensor, space: DataSpan) -> LieAlgebra:
    """The basis of the same span, with the distribution carried over through L ~ M basis on the data."""
    mixing = _action(algebra, space) @ torch.linalg.pinv((basis @ space.basis.mT).flatten(1))
    if algebra.distribution.kind == "integer":
        # the size of an integer step is part of the finding, so the exact basis takes it over
        return _with(algebra, torch.einsum("ab,bij->aij", mixing, basis), algebra.distribution)
    return _rebased(algebra, basis, mixing)


def _rebased(algebra: LieAlgebra, basis: Tensor, mixing: Tensor) -> LieAlgebra:
    """Another basis with old = mixing new: w.old = (mixing^T w).new, so the distribution changes with mixing^T."""
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
    steps = [{"step": c.step, "size": c.size, "note": c.note} for c in changes]
    provenance = raw.provenance | {"parent": raw.digest, "refinements": steps}
    distribution = refined.distribution
    if distribution.scale.ndim == 2 and len(distribution.scale) == 1:
        distribution = CoefficientDistribution(
            distribution.kind, distribution.mean, distribution.scale[0].abs()
        )
    return LieAlgebra(refined.basis, distribution, raw.origin, raw.coordinates, raw.space, provenance)


def _with(algebra: LieAlgebra, basis: Tensor, distribution: CoefficientDistribution) -> LieAlgebra:
    return LieAlgebra(
        basis, distribution, algebra.origin, algebra.coordinates, algebra.space, algebra.provenance
    )


def _action(algebra: LieAlgebra, space: DataSpan) -> Tensor:
    """What the generators do to the data's span, as rows (c, k r)."""
    return (algebra.basis @ space.basis.mT).flatten(1)


def _turn(before: LieAlgebra, after: LieAlgebra, space: DataSpan) -> float:
    angles = principal_angles(before, after, space.basis)
    return float(angles.max()) if len(angles) else 0.0
