"""J_f(x) dx by forward differentiation, with right gradients to x, dx and the weights of f, norms included.

torch's own batch norm and layer norm take their statistics for constants in the gradient of such a product (as
measured with 2.13: the gradient of |J dx|^2 misses most of itself, and ``torch.func.jvp`` has it as wrong).
Here they are computed from plain operations instead, for as long as the product is taken.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import functional
from torch.overrides import TorchFunctionMode

__all__ = ["PlainNorms", "push"]


def push(f: Callable[[Tensor], Tensor], x: Tensor, dx: Tensor) -> tuple[Tensor, Tensor]:
    """f(x) and its rate J_f(x) dx for x and dx of one shape; running statistics of norms are left as they are."""
    with PlainNorms(), forward_ad.dual_level():
        value, rate = forward_ad.unpack_dual(f(forward_ad.make_dual(x, dx)))
    return value, torch.zeros_like(value) if rate is None else rate


class PlainNorms(TorchFunctionMode):
    """While entered, batch norm and layer norm are sums and products, right to every order of derivative."""

    def __torch_function__(
        self, func: Callable, types: Sequence[type], args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is functional.batch_norm:
            return _batch_norm(*args, **(kwargs or {}))
        if func is functional.layer_norm:
            return _layer_norm(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _batch_norm(
    x: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Over every axis but the second."""
    shape = (1, -1) + (1,) * (x.ndim - 2)
    if training or running_mean is None or running_var is None:
        axes = [axis for axis in range(x.ndim) if axis != 1]
        mean, variance = _moments(x, axes)
    else:
        mean, variance = running_mean.view(shape), running_var.view(shape)
    scaled = (x - mean) * (variance + eps).rsqrt()
    scaled = scaled if weight is None else scaled * weight.view(shape)
    return scaled if bias is None else scaled + bias.view(shape)


def _layer_norm(
    x: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:
    mean, variance = _moments(x, list(range(-len(normalized_shape), 0)))
    scaled = (x - mean) * (variance + eps).rsqrt()
    scaled = scaled if weight is None else scaled * weight
    return scaled if bias is None else scaled + bias


def _moments(x: Tensor, axes: list[int]) -> tuple[Tensor, Tensor]:
    mean = x.mean(axes, keepdim=True)
    return mean, (x - mean).square().mean(axes, keepdim=True)
