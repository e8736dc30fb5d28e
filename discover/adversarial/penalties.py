"""What is added to the generator's loss: away from the identity, few entries, different channels (arXiv 2302.00236)."""

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["channel_overlap", "identity_overlap", "sparsity"]


def identity_overlap(x: Tensor, moved: Tensor) -> Tensor:
    """|mean cos(g x, x)| over samples (n, d): 1 when g does nothing."""
    return F.cosine_similarity(moved, x, dim=-1).mean().abs()


def sparsity(basis: Tensor, power: float = 1.0) -> Tensor:
    """||L||_p of the entries of all generators (c, k, k)."""
    return basis.abs().pow(power).sum().pow(1 / power)


def channel_overlap(basis: Tensor) -> Tensor:
    """sum_{i<j} |<L_i, L_j>| / (|L_i| |L_j|) for generators (c, k, k): 0 when all are orthogonal."""
    rows = F.normalize(basis.flatten(1), dim=1)
    return torch.triu(rows @ rows.mT, diagonal=1).abs().sum()
