"""Orbits as arrays (n, steps, 8) with named columns; files of them; and windows 'past in, future out'."""

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from equivariant.files import read_npz, write_npz

__all__ = ["COLUMNS", "TIME_STEP", "TwoBodyData", "load_orbits", "pairs", "save_orbits", "windows"]

NAMES = ("q1x", "q1y", "p1x", "p1y", "q2x", "q2y", "p2x", "p2y")
COLUMNS = tuple(f"{name} [{'length' if name[0] == 'q' else 'momentum'}]" for name in NAMES)
TIME_STEP = 20 / 49  # [time], G = 1 and unit masses


@dataclass(frozen=True, kw_only=True, eq=False)
class TwoBodyData:
    """Training and test trajectories of two unit masses, G = 1; columns are ``COLUMNS``.

    Args:
        train: (n, steps, 8), positions [length] and momenta [momentum].
        test: (n, steps, 8).
        source: where they are from, as text.

    Raises:
        ValueError: for a wrong shape, too few trajectories or a number that is not finite.

    Example:
        >>> TwoBodyData(train=torch.ones(3, 20, 8), test=torch.ones(2, 20, 8), source="nowhere").train.shape
        torch.Size([3, 20, 8])
    """

    train: Tensor
    test: Tensor
    source: str

    def __post_init__(self) -> None:
        for name in ("train", "test"):
            _check(name, getattr(self, name))

    @property
    def digest(self) -> str:
        """SHA-256 of both sets."""
        both = (self.train, self.test)
        return sha256(
            b"".join(t.double().contiguous().numpy().astype("<f8").tobytes() for t in both)
        ).hexdigest()


def load_orbits(path: str | Path) -> TwoBodyData:
    """Read a .npz with ``train``, ``test`` (n, steps, 8) and ``columns``, the names of the eight.

    Args:
        path: of the file.

    Returns:
        The orbits, float64.

    Raises:
        FileNotFoundError: where there is no file.
        ValueError: for another kind of file, other columns, or numbers that are not finite.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> data = TwoBodyData(train=torch.ones(3, 20, 8), test=torch.ones(2, 20, 8), source="nowhere")
        >>> with TemporaryDirectory() as folder:
        ...     save_orbits(f"{folder}/orbits.npz", data)
        ...     load_orbits(f"{folder}/orbits.npz").source
        'orbits.npz'
    """
    arrays = _read(Path(path))
    _check_columns(Path(path), arrays["columns"])
    train, test = (torch.as_tensor(arrays[name], dtype=torch.float64) for name in ("train", "test"))
    return TwoBodyData(train=train, test=test, source=Path(path).name)


def save_orbits(path: str | Path, data: TwoBodyData) -> None:
    """Write the .npz that ``load_orbits`` reads; the same orbits give the same bytes.

    Args:
        path: of the file.
        data: the orbits.

    Raises:
        OSError: with a sentence, when it cannot be written.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> data = TwoBodyData(train=torch.ones(3, 20, 8), test=torch.ones(2, 20, 8), source="nowhere")
        >>> with TemporaryDirectory() as folder:
        ...     save_orbits(f"{folder}/orbits.npz", data)
        ...     [path.name for path in Path(folder).iterdir()]
        ['orbits.npz']
    """
    write_npz(path, train=data.train.numpy(), test=data.test.numpy(), columns=np.array(NAMES))


def pairs(trajectories: Tensor) -> tuple[Tensor, Tensor]:
    """Every step and the next one.

    Args:
        trajectories: (n, steps, 8).

    Returns:
        Steps and next steps, each (n (steps - 1), 8).

    Example:
        >>> x, y = pairs(torch.arange(6.0).reshape(1, 3, 2))
        >>> x.tolist(), y.tolist()
        ([[0.0, 1.0], [2.0, 3.0]], [[2.0, 3.0], [4.0, 5.0]])
    """
    return trajectories[:, :-1].flatten(0, 1), trajectories[:, 1:].flatten(0, 1)


def windows(trajectories: Tensor, past: int = 5, future: int = 5) -> tuple[Tensor, Tensor]:
    """Every ``past`` consecutive steps and the ``future`` steps after them.

    Args:
        trajectories: (n, steps, 8).
        past: steps of an input.
        future: steps of a target.

    Returns:
        x (m, past * 8) and y (m, future * 8), flat, step after step, as ``past * V``.

    Raises:
        ValueError: when no window fits.

    Example:
        >>> x, y = windows(torch.zeros(2, 20, 8), past=3, future=1)
        >>> x.shape, y.shape
        (torch.Size([34, 24]), torch.Size([34, 8]))
    """
    if past < 1 or future < 1:
        raise ValueError(f"windows need past >= 1 and future >= 1, got {past} and {future}")
    steps = trajectories.shape[1]
    if steps < past + future:
        raise ValueError(f"windows of {past} + {future} steps need as long trajectories, got {steps} steps")
    cut = trajectories.unfold(1, past + future, 1).flatten(0, 1).mT  # (m, past + future, 8)
    return cut[:, :past].flatten(1), cut[:, past:].flatten(1)


def _read(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise FileNotFoundError(f"no orbits at {path}; leave the option out to simulate them")
    arrays = read_npz(path)
    missing = [name for name in ("train", "test", "columns") if name not in arrays]
    if missing:
        raise ValueError(
            f"{path} must hold the arrays train, test and columns; {', '.join(missing)} is missing"
        )
    return arrays


def _check_columns(path: Path, columns: np.ndarray) -> None:
    actual = tuple(str(name) for name in columns.ravel())
    if actual != NAMES:
        raise ValueError(
            f"the columns of {path} must be {' '.join(NAMES)} in this order, got {' '.join(actual)}"
        )


def _check(name: str, trajectories: Tensor) -> None:
    shape = tuple(trajectories.shape)
    if len(shape) != 3 or shape[-1] != len(NAMES) or shape[1] < 2:
        raise ValueError(f"{name} must have shape (n, steps, {len(NAMES)}) with steps > 1, got {shape}")
    if shape[0] < 2:
        raise ValueError(f"{name} needs at least 2 trajectories, got {shape[0]}")
    bad = int((~torch.isfinite(trajectories)).sum())
    if bad:
        raise ValueError(f"{name} must be finite, got {bad} NaN or infinite numbers")
