"""Many elements of one one-parameter group: exp(t L) = sum_m t^m L^m / m! for one generator L and many times t."""

from math import ceil, log2

import torch
from torch import Tensor

from equivariant.exponential import exponential

__all__ = ["one_parameter"]

RADIUS, DOUBLINGS, FAR = 4.0, 5, 64.0


def one_parameter(generator: Tensor, times: Tensor) -> Tensor:
    """exp(t L) for one generator L (k, k) and many times t (n,): (n, k, k), differentiable in both.

    The powers L^m, m < 32, are made once and each element is a combination of them, squared where |t L| is
    above 4. For eager code, as it reads the largest |t L|; beyond 64 it is ``exponential``.
    """
    size = float(generator.detach().norm() * times.detach().abs().amax()) if times.numel() else 0.0
    if not size <= FAR:
        return exponential(times[:, None, None] * generator)
    squarings = max(0, ceil(log2(size / RADIUS))) if size > 0 else 0
    powers = _powers(generator)
    orders = torch.arange(len(powers), dtype=times.dtype, device=times.device)
    weights = (times[:, None] / 2**squarings) ** orders / torch.exp(torch.lgamma(orders + 1))
    result = (weights @ powers.flatten(1)).unflatten(1, generator.shape)
    for _ in range(squarings):
        result = result @ result
    return result


def _powers(generator: Tensor) -> Tensor:
    """L^m for m < 32, by doubling the list."""
    powers = torch.eye(generator.shape[-1], dtype=generator.dtype, device=generator.device)[None]
    step = generator
    for _ in range(DOUBLINGS):
        powers = torch.cat([powers, powers @ step])
        step = step @ step
    return powers
