"""Result files and the folder of a run: strict JSON, CSV, settings' fingerprint, and a lock while a run is going."""

import csv
import io
import json
import math
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import fields, is_dataclass
from hashlib import sha256
from pathlib import Path
from typing import IO, Any

import numpy as np
from torch import Tensor

from equivariant.files import write_file

try:
    import fcntl
except ImportError:  # Windows: folders are not locked there
    fcntl = None

__all__ = ["RunFolder", "fingerprint", "read_json", "to_plain", "write_csv", "write_json"]

ABOUT, LOCK = "run.json", "run.lock"
PRODUCTS = (ABOUT, "results.*", "report.html", "checkpoints")
PATIENCE = 10.0  # seconds that a shared run waits for one that is just opening the folder


def to_plain(value: Any) -> Any:
    """A value as strict JSON has it.

    Args:
        value: numbers, text, paths, tensors, arrays, dataclasses, and mappings and sequences of these.

    Returns:
        The same of dict, list, str, int, float, bool and None; NaN and infinity become None.

    Example:
        >>> to_plain({"error": float("nan"), "size": (2, 3), "file": Path("a.npz")})
        {'error': None, 'size': [2, 3], 'file': 'a.npz'}
    """
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_plain(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, Mapping):
        return {str(name): to_plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [to_plain(part) for part in value]
    if isinstance(value, Tensor | np.ndarray | np.generic):
        return to_plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | int) else str(value)


def write_json(path: str | Path, content: Any, *, indent: int | None = 1) -> None:
    """Write ``to_plain(content)`` as JSON, whole or not at all.

    Args:
        path: of the file.
        content: what ``to_plain`` takes.
        indent: spaces a level; None puts everything on one line.

    Raises:
        OSError: with a sentence, when the file cannot be written.
    """
    write_file(path, json.dumps(to_plain(content), indent=indent, allow_nan=False) + "\n")


def read_json(path: str | Path, kind: str = "result file") -> Any:
    """The content of a JSON file.

    Args:
        path: of the file.
        kind: of file, for the sentences.

    Returns:
        What it holds.

    Raises:
        FileNotFoundError: where there is no file.
        ValueError: when it is not JSON.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no {kind} at {path}")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(
            f"{path} is not a {kind} or not whole ({error}); remove it to make it again"
        ) from None


def write_csv(path: str | Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows as CSV, whole or not at all; a column for each name, in the order of first appearance.

    Args:
        path: of the file.
        rows: cells by column; missing ones stay empty.

    Raises:
        OSError: with a sentence, when the file cannot be written.
    """
    text = io.StringIO()
    writer = csv.DictWriter(
        text, list(dict.fromkeys(name for row in rows for name in row)), lineterminator="\n"
    )
    writer.writeheader()
    writer.writerows([to_plain(row) for row in rows])
    write_file(path, text.getvalue())


def fingerprint(content: Mapping[str, Any]) -> str:
    """SHA-256 of settings.

    Args:
        content: settings by name; their order does not matter.

    Returns:
        64 hexadecimal digits.

    Example:
        >>> fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
        True
    """
    return sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


class RunFolder:
    """The folder of one run: only the run it belongs to goes on in it, and one process at a time.

    A file in it (``run.json``) names the settings; another run's folder is refused before anything is written. The
    folder is locked within the ``with`` block; the lock ends with its process, however that ends.

    Args:
        path: of the folder; made where it is missing.
        settings: all that decides the results, data digest included.
        overwrite: remove what another run left (``products``) instead of refusing.
        shared: several processes with the same settings may work in it side by side.
        products: names, with wildcards, of what a run writes there; nothing else is ever removed.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     with RunFolder(f"{folder}/run", {"seed": 0}) as path:
        ...         write_json(path / "results.json", {})
        ...     with RunFolder(f"{folder}/run", {"seed": 1}):
        ...         pass  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ValueError: ... belongs to another run (seed 0, not 1); give another --out, or --overwrite to replace it
    """

    def __init__(
        self,
        path: str | Path,
        settings: Mapping[str, Any],
        *,
        overwrite: bool = False,
        shared: bool = False,
        products: Sequence[str] = (),
    ):
        self.path, self.settings = Path(path), to_plain(settings)
        self.overwrite, self.shared = overwrite, shared
        self.products = (*PRODUCTS, *products)
        self._new = False

    def __enter__(self) -> Path:
        """Lock the folder and see whose it is.

        Returns:
            Its path.

        Raises:
            BlockingIOError: when another process works in it.
            ValueError: when it belongs to another run.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock: IO[str] = (self.path / LOCK).open("a+")
        try:
            alone = self._acquire()
            if self.overwrite and not alone:
                raise BlockingIOError(
                    f"{self.path} is in use by other processes, so it cannot be overwritten"
                )
            if self.overwrite:
                self._clear()
            self._check()
            if alone and self.shared and fcntl:
                fcntl.flock(self._lock, fcntl.LOCK_SH)
        except BaseException:
            self._lock.close()
            raise
        return self.path

    def __exit__(self, error: object, *_: object) -> None:
        """Unlock; a run that was refused before it wrote anything leaves no trace."""
        left = {path.name for path in self.path.iterdir()} if self.path.is_dir() else set()
        if error and self._new and not self.shared and left <= {ABOUT, LOCK}:
            for name in left:
                (self.path / name).unlink()
            with suppress(OSError):  # such as the working directory
                self.path.rmdir()
        self._lock.close()

    def _acquire(self) -> bool:
        """Lock; returns whether no other process is there."""
        if fcntl is None or self._try(fcntl.LOCK_EX):
            self._lock.truncate(0)
            self._lock.write(str(os.getpid()))
            self._lock.flush()
            return True
        until = time.monotonic() + PATIENCE
        while self.shared and time.monotonic() < until:
            if self._try(fcntl.LOCK_SH):
                return False
            time.sleep(0.05)
        self._lock.seek(0)
        owner = self._lock.read() or "unknown"
        raise BlockingIOError(
            f"{self.path} is in use by another process (id {owner}); wait for it, or give another --out"
        )

    def _try(self, mode: int) -> bool:
        try:
            fcntl.flock(self._lock, mode | fcntl.LOCK_NB)  # type: ignore[union-attr]
        except BlockingIOError:
            return False
        return True

    def _check(self) -> None:
        """Refuse another run's folder; write whose it is where nobody has yet."""
        about, hint = self.path / ABOUT, "give another --out, or --overwrite to replace it"
        if not about.exists():
            if (self.path / "results.json").exists():
                raise ValueError(
                    f"{self.path} holds the results of a run that did not say its settings; {hint}"
                )
            self._new = True
            write_json(about, {"settings": self.settings, "digest": fingerprint(self.settings)})
            return
        before = read_json(about, "run file").get("settings", {})
        if before != self.settings:
            raise ValueError(
                f"{self.path} belongs to another run ({_difference(before, self.settings)}); {hint}"
            )

    def _clear(self) -> None:
        for path in (found for pattern in self.products for found in self.path.glob(pattern)):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


def _difference(before: Mapping[str, Any], now: Mapping[str, Any], most: int = 3) -> str:
    """What differs between two sets of settings, as text."""
    names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
    shown = [f"{name} {_short(before.get(name))}, not {_short(now.get(name))}" for name in names[:most]]
    return "; ".join(shown) + (f" and {len(names) - most} more" if len(names) > most else "")


def _short(value: Any) -> str:
    text = json.dumps(value) if isinstance(value, dict | list) else str(value)
    return text if len(text) <= 40 else f"{text[:12]}..."
