"""Arrays with named columns from .npz, .npy, .csv and .safetensors; nothing is ever unpickled."""

import csv
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from equivariant.files import read_npy, read_npz, read_safetensors

__all__ = ["DataFile"]


@dataclass(frozen=True, kw_only=True, eq=False)
class DataFile:
    """Arrays by name, and names for the columns of their last axis where the file has them.

    A .csv, whose first line must name its columns, holds one array, ``table``; a .npy one array, ``x``. A .npz
    may name columns in an array ``columns``, a .safetensors in a JSON list ``columns`` of its header.

    Args:
        path: of the file.
        arrays: by name.
        columns: names of the last axis of every array of that length.

    Raises:
        ValueError: without arrays, or for columns that are repeated or fit no array.
    """

    path: Path
    arrays: dict[str, Tensor]
    columns: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.arrays:
            raise ValueError("it holds no arrays")
        for name, array in self.arrays.items():
            if array.is_complex():
                raise ValueError(
                    f"the array {name} must hold real numbers, got {array.dtype}; give .real and .imag"
                )
        repeated = [name for i, name in enumerate(self.columns) if name in self.columns[:i] or not name]
        if repeated:
            raise ValueError(f"its columns must have different names, got {', '.join(self.columns)}")
        lengths = {name: tuple(array.shape)[-1:] for name, array in self.arrays.items()}
        if self.columns and (len(self.columns),) not in lengths.values():
            shapes = ", ".join(f"{name} has {'no' if not n else n[0]}" for name, n in lengths.items())
            raise ValueError(f"it names {len(self.columns)} columns, but {shapes}")

    @classmethod
    def read(cls, path: str | Path) -> "DataFile":
        """Read a file by its suffix.

        Args:
            path: of a .npz, .npy, .csv or .safetensors.

        Returns:
            Its arrays.

        Raises:
            FileNotFoundError: where there is no file.
            ValueError: for another kind of file, a damaged one, or one that does not hold plain numbers.
        """
        path = Path(path)
        if path.suffix not in READERS:
            raise ValueError(f"{path} must be one of {', '.join(READERS)}, got {path.suffix or 'no suffix'}")
        if not path.is_file():
            raise FileNotFoundError(f"no data file at {path}")
        try:
            return READERS[path.suffix](path)
        except (OSError, ValueError, csv.Error) as error:
            raise ValueError(f"{path} cannot be read as {path.suffix} of plain numbers: {error}") from None

    def select(self, names: str | None, default: str | None = None) -> tuple[Tensor, tuple[str, ...]]:
        """An array, or some of its columns.

        Args:
            names: of an array, or comma-separated ones of columns; when left out, the array ``default`` or the only
                one.
            default: array to prefer.

        Returns:
            The array and the names of its columns, if it has any.

        Raises:
            ValueError: for an unknown name.
        """
        if names is None:
            names = default if default in self.arrays else next(iter(self.arrays))
            if names != default and len(self.arrays) > 1:
                raise ValueError(
                    f"{self.path} holds the arrays {', '.join(self.arrays)}; say which one is meant"
                )
        if names in self.arrays:
            array = self.arrays[names]
            columns = self.columns if array.shape[-1:] == (len(self.columns),) else ()
        else:
            array, columns = self._pick(tuple(name.strip() for name in names.split(",")))
        return array, columns

    def _pick(self, names: tuple[str, ...]) -> tuple[Tensor, tuple[str, ...]]:
        missing = [name for name in names if name not in self.columns]
        if missing or len(self.arrays) != 1:
            known = [*self.arrays, *self.columns]
            raise ValueError(f"{self.path} has no {', '.join(missing or names)}; it has {', '.join(known)}")
        (array,) = self.arrays.values()
        return array[..., [self.columns.index(name) for name in names]], names


def _npz(path: Path) -> DataFile:
    arrays = read_npz(path)
    columns = tuple(str(name) for name in arrays.pop("columns", np.array([])).ravel())
    return DataFile(path=path, arrays={name: _tensor(name, a) for name, a in arrays.items()}, columns=columns)


def _npy(path: Path) -> DataFile:
    return DataFile(path=path, arrays={"x": _tensor("x", read_npy(path))})


def _csv(path: Path) -> DataFile:
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = [row for row in csv.reader(file) if row]
    if not rows or _is_number(rows[0][0]):
        raise ValueError("its first line must name the columns")
    header = tuple(name.strip() for name in rows[0])
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(header) or not all(map(_is_number, row)):
            raise ValueError(f"line {number} must hold {len(header)} numbers, got {','.join(row)[:60]!r}")
    table = torch.tensor([[float(cell) for cell in row] for row in rows[1:]], dtype=torch.float64)
    return DataFile(path=path, arrays={"table": table.reshape(-1, len(header))}, columns=header)


def _safetensors(path: Path) -> DataFile:
    metadata, arrays = read_safetensors(path)
    columns = json.loads(metadata.get("columns", "[]"))
    if not isinstance(columns, list) or not all(isinstance(name, str) for name in columns):
        raise ValueError(f"its columns must be a JSON list of names, got {metadata['columns'][:60]!r}")
    return DataFile(path=path, arrays=arrays, columns=tuple(columns))


READERS: dict[str, Callable[[Path], DataFile]] = {
    ".npz": _npz,
    ".npy": _npy,
    ".csv": _csv,
    ".safetensors": _safetensors,
}


def _tensor(name: str, array: np.ndarray) -> Tensor:
    if array.dtype.kind not in "fiubc":
        raise ValueError(f"the array {name} must hold real numbers, got {array.dtype}")
    native = array.astype(array.dtype.newbyteorder("="), copy=False)
    try:
        return torch.from_numpy(np.ascontiguousarray(native))
    except TypeError:  # a type that torch does not have, such as longdouble
        return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float64))


def _is_number(cell: str) -> bool:
    """Whether a cell is a number as tables have it; ``float`` would also take 1_01 for 101."""
    try:
        float(cell)
    except ValueError:
        return False
    return "_" not in cell
