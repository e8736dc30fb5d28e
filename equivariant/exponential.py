"""Matrix exponentials of batches of small matrices: g = exp(A)."""

import torch
from torch import Tensor

__all__ = ["exponential"]


def exponential(matrices: Tensor) -> Tensor:
    """exp(A) for a batch A (..., k, k), differentiable."""
    return torch.linalg.matrix_exp(matrices)
