"""Matrix exponentials of batches of small matrices: g = exp(A) = (sum_n (A / 2^s)^n / n!)^(2^s)."""

from math import ceil, factorial, log2
from typing import Any

import torch
from torch import Tensor

__all__ = ["exponential", "is_traced", "product"]

BOUND = 0.5  # on the norm of A / 2^s: the terms left out are then below rounding
DEGREES = {torch.float64: 12, torch.float32: 8}
SMALL = 8  # up to this size, products of whole planes of the batch beat batched matrix products


def exponential(matrices: Tensor) -> Tensor:
    """exp(A) for a batch A (..., k, k), differentiable any number of times.

    The matrices are scaled by the largest norm of the batch, and squared after a Taylor polynomial in blocks
    of four powers (Paterson, Stockmeyer 1973). The backward is a few small products, where
    ``torch.linalg.matrix_exp`` exponentiates matrices of twice the size. Other dtypes, large norms, and calls
    under ``torch.compile`` or ``vmap`` (the number of squarings depends on the data) use the latter.
    """
    if matrices.dtype not in DEGREES or matrices.numel() == 0 or is_traced(matrices):
        return torch.linalg.matrix_exp(matrices)
    size = float(matrices.detach().abs().sum(-1).max())
    squarings = max(0, ceil(log2(size / BOUND))) if size > 0 else 0
    if not squarings <= 10:
        return torch.linalg.matrix_exp(matrices)
    a = matrices.reshape(-1, *matrices.shape[-2:]).permute(1, 2, 0).contiguous() / 2**squarings
    result = _taylor(a, DEGREES[matrices.dtype])
    for _ in range(squarings):
        result = product(result, result)
    return result.permute(2, 0, 1).reshape(matrices.shape)


def _taylor(a: Tensor, degree: int) -> Tensor:
    """sum_{n <= degree} a^n / n! for a (k, k, b), degree a multiple of four."""
    square = product(a, a)
    fourth = product(square, square)
    identity = torch.eye(len(a), dtype=a.dtype, device=a.device).unsqueeze(-1).expand_as(a)
    powers = torch.stack([identity, a, square, product(square, a), fourth])
    rows = [[1 / factorial(n + i) for i in range(4)] + [0.0] for n in range(0, degree, 4)]
    rows[-1][4] = 1 / factorial(degree)
    blocks = torch.tensordot(torch.tensor(rows, dtype=a.dtype, device=a.device), powers, dims=1)
    result = blocks[-1]
    for block in blocks[:-1].flip(0):
        result = block + product(fourth, result)
    return result


def product(a: Tensor, b: Tensor) -> Tensor:
    """The matrix products of a and b (k, k, batch)."""
    small = len(a) <= SMALL and not (is_traced(a) or is_traced(b))
    return _SmallProduct.apply(a, b) if small else _batched(a, b)


class _SmallProduct(torch.autograd.Function):
    """sum_j a_ij b_jl as k products of whole planes; its gradients are products of the same kind."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(a, b)
        total = a[:, 0, None] * b[0]
        for j in range(1, len(a)):
            total.addcmul_(a[:, j, None], b[j])
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        a, b = ctx.saved_tensors
        return product(grad, b.transpose(0, 1)), product(a.transpose(0, 1), grad)


def _batched(a: Tensor, b: Tensor) -> Tensor:
    return (a.permute(2, 0, 1) @ b.permute(2, 0, 1)).permute(1, 2, 0)


def is_traced(matrices: Tensor) -> bool:
    """Whether a call is under ``torch.compile`` or a transform such as ``vmap``."""
    wrapped = torch._C._functorch.is_functorch_wrapped_tensor(matrices)  # type: ignore[attr-defined]
    return torch.compiler.is_compiling() or wrapped
