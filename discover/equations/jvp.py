"""Jacobian-vector products J_f(x) dx whose gradients are right for networks with batch norm and layer norm, too.

Torch's own norm layers treat their batch statistics as constants when such a product is differentiated (measured with
2.13: most of the gradient of |J dx|^2 is missing, with ``torch.func.jvp`` as well). While a product is computed here,
they are replaced by plain operations.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.nn import functional
from torch.overrides import TorchFunctionMode

__all__ = ["PlainNorms", "jvp"]


def jvp(f: Callable[[Tensor], Tensor], x: Tensor, dx: Tensor) -> tuple[Tensor, Tensor]:
    """f(x) and J_f(x) dx by forward differentiation; running statistics of norm layers are not updated.

    Args:
        f: a map of tensors; its result is differentiable in x, dx and its own parameters.
        x: where the product is taken, any shape.
        dx: of the same shape.

    Returns:
        The value f(x) and the product, both of the value's shape.

    Example:
        >>> import torch
        >>> jvp(torch.square, torch.tensor([1.0, 3.0]), torch.tensor([1.0, 0.5]))
        (tensor([1., 9.]), tensor([2., 3.]))
    """
    with PlainNorms(), forward_ad.dual_level():
        value, rate = forward_ad.unpack_dual(f(forward_ad.make_dual(x, dx)))
    return value, torch.zeros_like(value) if rate is None else rate


class PlainNorms(TorchFunctionMode):
    """Context in which batch norm and layer norm are sums and products, right to every order of derivative."""

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
    """Statistics are over all axes but the second."""
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
