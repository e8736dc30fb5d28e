"""Invariant bilinear forms of an algebra: J with L^T J + J L = 0 for every L, and h^T J h = J for every h."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from equivariant.algebra import LieAlgebra
from equivariant.coordinates import Coordinates, solve_by_evidence, symmetric_forms
from equivariant.group import Factor, Group, Symmetry
from equivariant.nullspace import NullSpace, canonical, null_space

__all__ = ["InvariantMetrics", "invariant_metrics", "isotropy_algebra", "nearest_isometries", "signature"]


@dataclass(frozen=True, kw_only=True, eq=False)
class InvariantMetrics:
    """All invariant forms, and the evidence for their number r.

    Args:
        metrics: the forms (r, k, k), orthogonal, of norm sqrt(k).
        residual: the largest violation, over the largest possible.
        gap: how clearly the number r stands out.
        singular_values: of the constraints, relative, ascending.
    """

    metrics: Tensor
    residual: float
    gap: float
    singular_values: Tensor

    @property
    def signatures(self) -> list[tuple[int, int, int]]:
        """(positive, negative, zero) directions of every form."""
        return [signature(metric) for metric in self.metrics]


def invariant_metrics(
    algebra: Symmetry,
    *,
    count: int | None = None,
    antisymmetric: bool = False,
    rtol: float | None = None,
    allow_none: bool = False,
) -> InvariantMetrics:
    """The space of symmetric (or antisymmetric) forms that a group leaves invariant.

    Symmetric forms are metrics: eta(u, v) = u^T J v; antisymmetric ones are symplectic forms, which pair a
    generator of a Hamiltonian flow with its conserved quantity x^T J L x / 2.

    Args:
        algebra: an algebra, or a group of one factor with discrete elements.
        count: number of forms to keep; default by the gap of the singular values.
        antisymmetric: look for antisymmetric forms in place of symmetric ones.
        rtol: level of noise of the generators, relative; by default chosen by evidence, see
            ``equivariant_maps``.
        allow_none: return r = 0 forms where none exists; else that raises ``ValueError``.

    Returns:
        The forms and the evidence for their number.

    Raises:
        ValueError: for a product of groups, and where no form is invariant.

    Example:
        >>> from equivariant import catalogue
        >>> invariant_metrics(catalogue.lorentz()).metrics[0].diagonal().round(decimals=6).tolist()
        [1.0, -1.0, -1.0, -1.0]
    """
    group = Group.of(algebra)
    if len(group.factors) != 1:
        raise ValueError(
            f"expected one factor, got a product of {len(group.factors)}; take each factor's metrics"
        )
    coordinates = Coordinates(group.factors[0])
    k = group.dims[0]
    forms = symmetric_forms(k, antisymmetric).to(group.device)

    def solve(factor: Factor, rtol: float) -> NullSpace:
        L, h = factor.continuous[:, None], factor.finite[:, None]
        change = h.mT @ forms @ h - forms
        if factor is not coordinates.original:
            distance = torch.linalg.matrix_norm(h - torch.eye(k).to(h), 2)[..., None, None]
            change = torch.where(distance > 1e-12, change / distance.clamp(min=1e-12), 0)
        violation = torch.cat([L.mT @ forms + forms @ L, change])
        return null_space(violation.transpose(0, 1).flatten(1).mT, rtol=rtol, count=count)

    def back(found: NullSpace, matrix: Tensor) -> NullSpace:
        inverse = torch.linalg.inv(matrix)
        metrics = inverse @ torch.einsum("rf,fij->rij", found.basis, forms) @ inverse
        rows = (metrics[:, None] * forms).sum((2, 3))
        rows = torch.linalg.qr((rows / rows.norm(dim=1, keepdim=True)).mT).Q.mT
        return replace(found, basis=canonical(rows))

    found = solve_by_evidence(solve, back, coordinates, rtol, count)
    if found.dim == 0 and not allow_none:
        raise ValueError(_no_form(antisymmetric, float(found.singular_values[0]) if len(forms) else 1.0))
    metrics = torch.einsum("rf,fij->rij", found.basis, forms) * k**0.5
    return InvariantMetrics(
        metrics=metrics * _signs(metrics),
        residual=found.residual,
        gap=found.gap,
        singular_values=found.singular_values,
    )


def nearest_isometries(algebra: LieAlgebra, metric: Tensor) -> LieAlgebra:
    """The algebra with the nearest generators that leave a form J invariant: L <- (L - J^-1 L^T J) / 2.

    Args:
        algebra: the algebra, of vectors of size k.
        metric: J, invertible, symmetric or antisymmetric, shape (k, k).

    Returns:
        A new algebra; its provenance holds the relative ``change`` and the digest of the first.

    Raises:
        ValueError: for a form of another size, a singular one, or one of no symmetry.

    Example:
        >>> from equivariant import LieAlgebra
        >>> spiral = LieAlgebra(torch.tensor([[[0.1, -1.0], [1.0, 0.1]]]))
        >>> nearest_isometries(spiral, torch.eye(2)).basis[0].round(decimals=6).abs().tolist()
        [[0.0, 1.0], [1.0, 0.0]]
    """
    metric = _check_form(metric, algebra.dim).to(algebra.basis.device)
    L = algebra.basis.double()
    exact = (L - torch.linalg.solve(metric, L.mT @ metric)) / 2
    provenance = {
        "method": "nearest_isometries",
        "parent": algebra.digest,
        "change": float((exact - L).norm() / L.norm()) if L.any() else 0.0,
    }
    return LieAlgebra(
        exact, algebra.distribution, algebra.origin, algebra.coordinates, algebra.space, provenance
    )


def isotropy_algebra(metrics: Tensor, rtol: float = 1e-9) -> LieAlgebra:
    """All L that leave a form invariant, or several: so(p, q) for a symmetric form, sp(k) for an antisymmetric one.

    Args:
        metrics: one form (k, k), or several (r, k, k).
        rtol: level of noise of the forms, relative.

    Returns:
        The algebra, closed under brackets, with an orthonormal basis.

    Raises:
        ValueError: for a wrong shape, NaN, or a form of no symmetry.

    Example:
        >>> isotropy_algebra(torch.diag(torch.tensor([1.0, -1.0, -1.0, -1.0]))).n_generators
        6
    """
    if metrics.ndim not in (2, 3) or not metrics.numel():
        raise ValueError(f"metrics must have shape (k, k) or (r, k, k), r > 0, got {tuple(metrics.shape)}")
    forms = metrics[None] if metrics.ndim == 2 else metrics
    forms = torch.stack([_check_form(form, form.shape[-1], invertible=False) for form in forms])
    k = forms.shape[-1]
    entries = torch.eye(k * k, dtype=forms.dtype, device=forms.device).reshape(-1, 1, k, k)
    violation = (entries.mT @ forms + forms @ entries).flatten(1)
    basis = null_space(violation.mT, rtol=rtol).basis.reshape(-1, k, k)
    return LieAlgebra(basis, provenance={"method": "isotropy_algebra", "forms": len(forms)})


def signature(metric: Tensor, rtol: float = 1e-6) -> tuple[int, int, int]:
    """Numbers of positive, negative and zero directions of a form; of i J for an antisymmetric one.

    Args:
        metric: the form J, shape (k, k).
        rtol: eigenvalues below this times the largest count as zero.

    Returns:
        The three numbers; they add up to k.

    Raises:
        ValueError: for a matrix that is not square or not finite.

    Example:
        >>> signature(torch.diag(torch.tensor([1.0, -1.0, -1.0, -1.0])))
        (1, 3, 0)
    """
    if metric.ndim != 2 or metric.shape[0] != metric.shape[1] or not torch.isfinite(metric).all():
        raise ValueError(f"a form must be finite and of shape (k, k), got {tuple(metric.shape)}")
    values = torch.linalg.eigvalsh(
        metric if torch.equal(metric, metric.mT) else 1j * (metric - metric.mT) / 2
    )
    bound = rtol * float(values.abs().max())
    p, q = int((values > bound).sum()), int((values < -bound).sum())
    return p, q, len(values) - p - q


def _signs(metrics: Tensor) -> Tensor:
    """The sign that makes the first large entry of each form positive."""
    rows = metrics.flatten(1)
    if len(rows) == 0:
        return rows.new_ones(0, 1, 1)
    large = rows.abs() >= 0.5 * rows.abs().amax(dim=1, keepdim=True)
    return rows.gather(1, large.int().argmax(dim=1, keepdim=True)).sign()[:, :, None]


def _check_form(metric: Tensor, k: int, invertible: bool = True) -> Tensor:
    metric = metric.detach().double()
    if tuple(metric.shape) != (k, k) or not torch.isfinite(metric).all():
        raise ValueError(f"a form must be finite and of shape ({k}, {k}), got {tuple(metric.shape)}")
    mirror = min(float((metric - metric.mT).norm()), float((metric + metric.mT).norm()))
    if mirror > 1e-9 * float(metric.norm()):
        raise ValueError("a form must be symmetric or antisymmetric; take (J + J.T) / 2, say")
    if invertible and not torch.linalg.cond(metric) < 1e12:
        raise ValueError("the form is singular, so it has no inverse; project the data on its image first")
    return metric


def _no_form(antisymmetric: bool, smallest: float) -> str:
    kind = "antisymmetric" if antisymmetric else "symmetric"
    return (
        f"no {kind} form is invariant (least relative violation {smallest:.2g}); a scaling or a translation "
        "has none. Leave such generators out, give count=1 for the nearest form, or use EMLP"
    )
