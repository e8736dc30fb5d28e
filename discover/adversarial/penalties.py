"""Penalties on generators: closeness to the identity, number of entries, overlap of channels (arXiv 2302.00236)."""

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["channel_overlap", "identity_overlap", "sparsity"]


def identity_overlap(x: Tensor, transformed: Tensor) -> Tensor:
    """|mean cos(g x, x)|, 1 when g does nothing.

    Args:
        x: samples (n, d).
        transformed: g x (n, d).
    """
    return F.cosine_similarity(transformed, x, dim=-1).mean().abs()


def sparsity(basis: Tensor, power: float = 1.0) -> Tensor:
    """||L||_p of the entries of all generators.

    Args:
        basis: generators (c, k, k).
        power: p.
    """
    return basis.abs().pow(power).sum().pow(1 / power)


def channel_overlap(basis: Tensor) -> Tensor:
    """sum_{i<j} |<L_i, L_j>| / (|L_i| |L_j|), 0 when all are orthogonal.

    Args:
        basis: generators (c, k, k).
    """
    rows = F.normalize(basis.flatten(1), dim=1)
    return torch.triu(rows @ rows.mT, diagonal=1).abs().sum()
