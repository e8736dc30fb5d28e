"""Matrix exponentials of batches of small matrices: g = exp(A) = (sum_n (A / 2^s)^n / n!)^(2^s)."""

from math import ceil, factorial, log2

import torch
from torch import Tensor

__all__ = ["exponential"]

BOUND = 0.5  # on the norm of A / 2^s: the terms left out are then below rounding
DEGREES = {torch.float64: 12, torch.float32: 8}


def exponential(matrices: Tensor) -> Tensor:
    """exp(A) for a batch A (..., k, k), differentiable any number of times.

    Taylor polynomial of degree 8 (float32) or 12 (float64), in blocks of four powers (Paterson, Stockmeyer 1973),
    scaled by the largest norm of the batch, then squared. Its backward is a few small products, where
    ``torch.linalg.matrix_exp`` exponentiates matrices of twice the size. Other dtypes, large norms, and calls under
    ``torch.compile`` or ``vmap`` (where the number of squarings cannot depend on data) use the latter.
    """
    degree = DEGREES.get(matrices.dtype)
    if degree is None or matrices.numel() == 0 or _is_traced(matrices):
        return torch.linalg.matrix_exp(matrices)
    size = float(matrices.detach().abs().sum(-1).max())
    squarings = max(0, ceil(log2(size / BOUND))) if size > 0 else 0
    if not squarings <= 10:
        return torch.linalg.matrix_exp(matrices)
    result = _taylor(matrices.reshape(-1, *matrices.shape[-2:]) / 2**squarings, degree)
    for _ in range(squarings):
        result = result @ result
    return result.view(matrices.shape)


def _taylor(a: Tensor, degree: int) -> Tensor:
    """sum_{n <= degree} a^n / n! for a (b, k, k), degree a multiple of four."""
    square = a @ a
    fourth = square @ square
    identity = torch.eye(a.shape[-1], dtype=a.dtype, device=a.device).expand_as(a)
    powers = torch.stack([identity, a, square, square @ a, fourth])
    rows = [[1 / factorial(n + i) for i in range(4)] + [0.0] for n in range(0, degree, 4)]
    rows[-1][4] = 1 / factorial(degree)
    blocks = torch.tensordot(torch.tensor(rows, dtype=a.dtype, device=a.device), powers, dims=1)
    result = blocks[-1]
    for block in blocks[:-1].flip(0):
        result = torch.baddbmm(block, fourth, result)
    return result


def _is_traced(matrices: Tensor) -> bool:
    return torch.compiler.is_compiling() or torch._C._functorch.is_functorch_wrapped_tensor(matrices)  # type: ignore[attr-defined]
