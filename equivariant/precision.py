"""Precision of models: constants that stay float64 whatever the parameters are cast to, and inputs of their dtype."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from equivariant.arrays import ArrayLike, as_tensor

__all__ = ["ExactConstants", "as_input", "as_optional_input", "autocast_enabled", "full_precision"]


class ExactConstants(nn.Module):
    """``.to()``, ``.float()``, ``.double()`` move the module's float64 buffers to a device but never round them.

    A basis solved in float64 and stored in float32 would break equivariance at 1e-7 even after ``.double()``;
    kept in float64 it is cast when used. Integer and other buffers, and all parameters, follow as usual.

    A state dict whose constants are those of another group is refused with a ``ValueError``.
    """

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        exact = {name: b for name, b in self._buffers.items() if b is not None and b.is_floating_point()}
        super()._apply(fn, recurse)
        for name, constant in exact.items():
            moved = self._buffers[name]
            if moved is not None and not constant.is_meta and not moved.is_meta:
                self._buffers[name] = constant.to(moved.device)
        return self

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        state_dict, prefix = args[:2]
        for name, own in self.named_buffers(recurse=False):
            given = state_dict.get(prefix + name)
            comparable = isinstance(given, Tensor) and given.shape == own.shape and own.numel() > 0
            if not comparable or given.is_meta or own.is_meta:
                continue
            if not self._same_group(name, own, given.to(own)):
                raise ValueError(
                    f"the state dict is of another group: {prefix}{name} differs; build the model with the algebra or "
                    "the metrics that it was trained with"
                )
        super()._load_from_state_dict(*args, **kwargs)

    def _same_group(self, name: str, own: Tensor, given: Tensor) -> bool:
        """Whether a constant of a state dict, of the same shape as the own one, belongs to the same group."""
        return True


def as_input(
    x: ArrayLike, parameter: Tensor, name: str = "x", shape: tuple[int | str, ...] | None = None
) -> Tensor:
    """A model's input as a tensor: arrays and lists are converted, a tensor must already fit the model.

    Args:
        x: a tensor, NumPy array, list or data frame.
        parameter: one of the model's, whose device and, outside of autocast, dtype x must have.
        name: what x is called in messages.
        shape: what x must have, with a letter for each size that is free; default: any.

    Returns:
        x as a tensor.

    Raises:
        ValueError: for a tensor on another device, or of another dtype or shape.
    """
    tensor = x if isinstance(x, Tensor) else as_tensor(x, name, parameter.dtype).to(parameter.device)
    if tensor.device != parameter.device:
        raise ValueError(
            f"{name} must be on the model's device {parameter.device}, got {tensor.device}; use .to()"
        )
    if tensor.dtype != parameter.dtype and not autocast_enabled(tensor):
        raise ValueError(
            f"{name} must have the model's dtype {parameter.dtype}, got {tensor.dtype}; use .to()"
        )
    if shape is not None and not _fits(tensor.shape, shape):
        raise ValueError(f"{name} must have shape ({', '.join(map(str, shape))}), got {tuple(tensor.shape)}")
    return tensor


def as_optional_input(
    x: ArrayLike | None, parameter: Tensor, name: str, shape: tuple[int | str, ...]
) -> Tensor | None:
    """``as_input`` for what may be left out where the model was built without it, so where the last size is 0."""
    if x is None and shape[-1] != 0:
        raise ValueError(f"the model was built with {shape[-1]} {name}, got none")
    return None if x is None else as_input(x, parameter, name, shape)


def _fits(actual: torch.Size, shape: tuple[int | str, ...]) -> bool:
    return len(actual) == len(shape) and all(
        isinstance(b, str) or a == b for a, b in zip(actual, shape, strict=True)
    )


def autocast_enabled(x: Tensor) -> bool:
    """Whether autocast is on for the device of x."""
    return not x.is_meta and torch.is_autocast_enabled(x.device.type)


def full_precision(x: Tensor) -> AbstractContextManager:
    """A block of code that autocast does not cast, on the device of x."""
    return torch.autocast(x.device.type, enabled=False) if autocast_enabled(x) else nullcontext()
