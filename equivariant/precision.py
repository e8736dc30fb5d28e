"""Modules whose constants keep float64, whatever dtype their parameters are cast to."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["ExactConstants", "check_like"]


class ExactConstants(nn.Module):
    """``.to()``, ``.float()``, ``.double()`` move the own float64 buffers to a device but never round them.

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


def check_like(x: Tensor, parameter: Tensor, name: str = "x") -> None:
    """Raise ``ValueError`` unless x has a model's device and, outside of autocast, its dtype."""
    if x.device != parameter.device:
        raise ValueError(
            f"{name} must be on the model's device {parameter.device}, got {x.device}; use .to()"
        )
    if x.dtype != parameter.dtype and not torch.is_autocast_enabled(x.device.type):
        raise ValueError(f"{name} must have the model's dtype {parameter.dtype}, got {x.dtype}; use .to()")
