"""Precision of models: constants that stay float64 whatever the parameters are cast to, and inputs of their dtype."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from equivariant.arrays import ArrayLike, as_tensor

__all__ = ["ExactConstants", "as_input", "autocast_enabled", "full_precision"]


class ExactConstants(nn.Module):
    """``.to()``, ``.float()``, ``.double()`` move the module's float64 buffers to a device but never round them.

    A basis solved in float64 and stored in float32 would break equivariance at 1e-7 even after ``.double()``;
    kept in float64 it is cast when used. Integer and other buffers, and all parameters, follow as usual.
    """

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        exact = {name: b for name, b in self._buffers.items() if b is not None and b.is_floating_point()}
        super()._apply(fn, recurse)
        for name, constant in exact.items():
            moved = self._buffers[name]
            if moved is not None and not constant.is_meta and not moved.is_meta:
                self._buffers[name] = constant.to(moved.device)
        return self


def as_input(x: ArrayLike, parameter: Tensor, name: str = "x") -> Tensor:
    """A model's input as a tensor: arrays and lists are converted, a tensor must already fit the model.

    Args:
        x: a tensor, NumPy array, list or data frame.
        parameter: one of the model's, whose device and, outside of autocast, dtype x must have.
        name: what x is called in messages.

    Returns:
        x as a tensor.

    Raises:
        ValueError: for a tensor on another device or of another dtype.
    """
    if not isinstance(x, Tensor):
        return as_tensor(x, name, parameter.dtype).to(parameter.device)
    if x.device != parameter.device:
        raise ValueError(
            f"{name} must be on the model's device {parameter.device}, got {x.device}; use .to()"
        )
    if x.dtype != parameter.dtype and not autocast_enabled(x):
        raise ValueError(f"{name} must have the model's dtype {parameter.dtype}, got {x.dtype}; use .to()")
    return x


def autocast_enabled(x: Tensor) -> bool:
    """Whether autocast is on for the device of x."""
    return not x.is_meta and torch.is_autocast_enabled(x.device.type)


def full_precision(x: Tensor) -> AbstractContextManager:
    """A block of code that autocast does not cast, on the device of x."""
    return torch.autocast(x.device.type, enabled=False) if autocast_enabled(x) else nullcontext()
