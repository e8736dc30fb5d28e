"""What users give as numbers (tensors, NumPy arrays, lists, data frames) as one thing: a tensor."""

from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

__all__ = ["ArrayLike", "as_floating", "as_tensor"]

ArrayLike: TypeAlias = Any  # a Tensor, a NumPy array, nested lists of numbers or tensors, or a pandas frame


def as_tensor(values: ArrayLike, name: str = "values", dtype: torch.dtype | None = None) -> Tensor:
    """Numbers as a tensor of real numbers.

    A tensor keeps its device and its graph. Everything else is copied through NumPy, so Python floats become
    float64 and whole numbers int64.

    Args:
        values: a tensor, a NumPy array, nested lists of numbers or of tensors, or anything with ``to_numpy()``
            (a pandas frame or series).
        name: what the values are called in messages.
        dtype: dtype of the result; default: as they come.

    Returns:
        The tensor; the same object where nothing had to change.

    Raises:
        ValueError: for complex numbers, text, missing values that are not NaN, and lists of uneven lengths.

    Example:
        >>> as_tensor([[1, 2], [3, 4]], "x", torch.float64)
        tensor([[1., 2.],
                [3., 4.]], dtype=torch.float64)
    """
    if not isinstance(values, Tensor):
        values = _from_foreign(values, name)
    if values.is_complex():
        raise ValueError(f"{name} must be real, got {values.dtype}; give real and imaginary part as columns")
    return values if dtype is None else values.to(dtype)


def as_floating(values: ArrayLike, name: str = "x") -> Tensor:
    """Numbers as a tensor of floating point numbers; whole numbers become float64.

    Args:
        values: as for ``as_tensor``.
        name: what the values are called in messages.

    Returns:
        The tensor; the same object where nothing had to change.
    """
    tensor = as_tensor(values, name)
    return tensor if tensor.is_floating_point() else tensor.double()


def _from_foreign(values: Any, name: str) -> Tensor:
    if isinstance(values, list | tuple) and any(isinstance(value, Tensor) for value in values):
        parts = [as_tensor(value, name) for value in values]
        if len({part.shape for part in parts}) > 1:
            raise ValueError(
                f"{name} must hold tensors of one shape, got {[tuple(part.shape) for part in parts]}"
            )
        return torch.stack(parts)
    try:
        convert = getattr(values, "to_numpy", None)
        array = np.asarray(values if convert is None else convert())
    except (ValueError, TypeError) as error:
        raise ValueError(f"{name} must be an array of numbers, rows of equal length; got {error}") from None
    if array.dtype == object:
        array = _numbers(array, name)
    if array.dtype.kind not in "biufc":
        raise ValueError(f"{name} must hold numbers, got entries of type {array.dtype}")
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        array = array.astype(np.float64)
    # a copy in native byte order: torch shares neither read-only memory nor negative strides
    return torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder("="), order="C"))


def _numbers(array: np.ndarray, name: str) -> np.ndarray:
    """An array of Python objects as float64, where every one is a number."""
    strange = [v for v in array.flat if v is None or isinstance(v, str | bytes | complex)]
    try:
        if not strange:
            return array.astype(np.float64)
    except (ValueError, TypeError):
        strange = [array.flat[0]]
    raise ValueError(f"{name} must hold numbers, got {strange[0]!r}")
