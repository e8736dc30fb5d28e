"""Arrays with named columns from .npz, .npy, .csv and .safetensors; nothing is ever unpickled."""

import csv
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

__all__ = ["DataFile"]


@dataclass(frozen=True, kw_only=True, eq=False)
class DataFile:
    """What a file holds: arrays by name, and names for the columns of their last axis where it has them.

    A .csv, whose first line must name its columns, holds one array, ``table``; a .npy one array, ``x``. A .npz
    may name columns in an array ``columns``, a .safetensors in a JSON list ``columns`` of its header.
    """

    path: Path
    arrays: dict[str, Tensor]
    columns: tuple[str, ...] = ()

    @classmethod
    def read(cls, path: str | Path) -> "DataFile":
        """Raises ``FileNotFoundError``, or ``ValueError`` for another kind of file or a broken one."""
        path = Path(path)
        if path.suffix not in READERS:
            raise ValueError(f"{path} must be one of {', '.join(READERS)}, got {path.suffix or 'no suffix'}")
        if not path.is_file():
            raise FileNotFoundError(f"no data file at {path}")
        try:
            return READERS[path.suffix](path)
        except (OSError, EOFError, BadZipFile, SafetensorError, ValueError, UnicodeDecodeError) as error:
            raise ValueError(f"{path} cannot be read as {path.suffix} of plain numbers: {error}") from None

    def select(self, names: str | None, default: str | None = None) -> tuple[Tensor, tuple[str, ...]]:
        """An array by its name, or columns of the only array by theirs, comma-separated; with column names.

        Left out, it is the array ``default`` or the only one. Raises ``ValueError`` for an unknown name.
        """
        if names is None:
            names = default if default in self.arrays else next(iter(self.arrays))
            if names != default and len(self.arrays) > 1:
                raise ValueError(
                    f"{self.path} holds the arrays {', '.join(self.arrays)}; say which one is meant"
                )
        if names in self.arrays:
            array = self.arrays[names]
            return array, self.columns if array.shape[-1:] == (len(self.columns),) else ()
        return self._pick(tuple(name.strip() for name in names.split(",")))

    def _pick(self, names: tuple[str, ...]) -> tuple[Tensor, tuple[str, ...]]:
        missing = [name for name in names if name not in self.columns]
        if missing or len(self.arrays) != 1:
            known = [*self.arrays, *self.columns]
            raise ValueError(f"{self.path} has no {', '.join(missing or names)}; it has {', '.join(known)}")
        (array,) = self.arrays.values()
        return array[..., [self.columns.index(name) for name in names]], names


def _npz(path: Path) -> DataFile:
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    columns = tuple(str(name) for name in arrays.pop("columns", np.array([])).ravel())
    return DataFile(path=path, arrays={name: _number(name, a) for name, a in arrays.items()}, columns=columns)


def _npy(path: Path) -> DataFile:
    return DataFile(path=path, arrays={"x": _number("x", np.load(path, allow_pickle=False))})


def _csv(path: Path) -> DataFile:
    with path.open(newline="", encoding="utf-8") as file:
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
    with safe_open(path, framework="pt") as file:
        columns = tuple(json.loads((file.metadata() or {}).get("columns", "[]")))
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    return DataFile(path=path, arrays=arrays, columns=columns)


READERS: dict[str, Callable[[Path], DataFile]] = {
    ".npz": _npz,
    ".npy": _npy,
    ".csv": _csv,
    ".safetensors": _safetensors,
}


def _number(name: str, array: np.ndarray) -> Tensor:
    if array.dtype.kind not in "fiub":
        raise ValueError(f"the array {name} must hold real numbers, got {array.dtype}")
    return torch.from_numpy(np.ascontiguousarray(array))


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
