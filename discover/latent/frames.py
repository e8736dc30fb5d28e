"""Coordinates adapted to a group: its invariant inner product, and the planes it rotates."""

from dataclasses import dataclass

import torch
from scipy.linalg import schur
from torch import Tensor

__all__ = ["InnerProduct", "adapted_frame", "inner_product"]


@dataclass(frozen=True, kw_only=True, eq=False)
class InnerProduct:
    """The inner product J in which generators are as skew as they can be.

    Args:
        metric: J (k, k), positive definite, of trace k.
        violation: |L^T J + J L| / (2 |J L|), 0 for exact isometries.
        skewed: the generators (c, k, k) in an orthonormal frame of J.
    """

    metric: Tensor
    violation: float
    skewed: Tensor


def inner_product(basis: Tensor) -> InnerProduct:
    """The positive definite J with the least |L^T J + J L|, all L together.

    It is the mean of g^T g over the group, found as the smallest singular vector where that is positive definite,
    else the identity; the identity too where there are no generators.

    Args:
        basis: generators (c, k, k).
    """
    L = basis.detach().double().cpu()
    k = L.shape[-1]
    if not len(L):
        return InnerProduct(metric=torch.eye(k, dtype=L.dtype), violation=0.0, skewed=L)
    i, j = torch.triu_indices(k, k)
    forms = torch.zeros(len(i), k, k, dtype=torch.float64)
    n = torch.arange(len(i))
    forms[n, i, j] = forms[n, j, i] = 1.0
    forms = forms / forms.flatten(1).norm(dim=1)[:, None, None]
    change = L[:, None].mT @ forms + forms @ L[:, None]
    _, values, vectors = torch.linalg.svd(change.transpose(0, 1).flatten(1).mT)
    metric = _positive(torch.einsum("sf,fij->sij", vectors.flip(0), forms), values.flip(0))
    frame = torch.linalg.cholesky(metric).mT
    skewed = frame @ L @ torch.linalg.inv(frame)
    size = max(float(skewed.norm()), 1e-300)
    return InnerProduct(
        metric=metric, violation=float((skewed + skewed.mT).norm()) / (2 * size), skewed=skewed
    )


def adapted_frame(basis: Tensor) -> Tensor:
    """F (k, k), z -> F z, so that the inner product of generators becomes the dot product.

    Of all such frames it is the one nearest to the identity or, where there is one generator, the one in which it
    rotates coordinate planes, the fastest first and each from its first axis to its second.

    Args:
        basis: generators (c, k, k).
    """
    values, vectors = torch.linalg.eigh(inner_product(basis).metric)
    root = vectors @ values.sqrt().diag() @ vectors.mT
    if len(basis) != 1:
        return root
    rotated = root @ basis[0].detach().double().cpu() @ torch.linalg.inv(root)
    return _planes((rotated - rotated.mT) / 2) @ root


def _planes(skew: Tensor) -> Tensor:
    """Orthonormal rows (k, k): the planes that a skew matrix rotates, the fastest first, then its null space."""
    form, columns = (torch.from_numpy(part) for part in schur(skew.numpy(), output="real"))
    speeds, blocks, i = [], [], 0
    while i < len(form):
        speed = float(form[i + 1, i]) if i + 1 < len(form) else 0.0
        axes = [i] if not speed else [i, i + 1] if speed > 0 else [i + 1, i]
        speeds.append(abs(speed))
        blocks.append(columns[:, axes].mT)
        i += len(axes)
    order = sorted(range(len(blocks)), key=lambda block: -speeds[block])
    return torch.cat([blocks[block] for block in order])


def _positive(forms: Tensor, values: Tensor) -> Tensor:
    """A positive definite form of trace k: the projection of the identity to the span of the nearly invariant forms."""
    k = forms.shape[-1]
    unit = torch.eye(k, dtype=forms.dtype)
    near = values <= max(10 * float(values[0]), 1e-6 * float(values[-1]))
    chosen = forms[near]
    metric = torch.einsum("s,sij->ij", torch.einsum("sij,ij->s", chosen, unit), chosen)
    eigenvalues = torch.linalg.eigvalsh(metric)
    if not eigenvalues[0] > 1e-3 * eigenvalues[-1]:
        return unit
    return metric * (k / metric.trace())
