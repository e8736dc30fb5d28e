"""The reference set of top tagging, read from its HDF5 files without pandas: https://zenodo.org/records/2603256."""

import contextlib
import logging
import pickletools
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tasks.top_tagging.data.jets import CAP, Jets, Tally
from tasks.top_tagging.data.shards import read_shard, shard_path, write_shard

__all__ = ["ADDRESS", "ReferenceSet"]

ADDRESS = "https://zenodo.org/records/2603256"
MOMENTA = tuple(f"{name}_{i}" for i in range(CAP) for name in ("E", "PX", "PY", "PZ"))
LABEL = "is_signal_new"
WINDOW = (545.0, 655.0)  # GeV: the jets' window, with room for the constituents that were cut off
OUTSIDE = 0.01  # so many may lie outside
ROUNDING = 1e-4  # of an energy; the files hold float32
TEXTS = {"UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "STRING", "BINSTRING", "SHORT_BINSTRING"}
FRAMES = {"PROTO", "FRAME", "MARK", "LIST", "EMPTY_LIST", "APPEND", "APPENDS", "STOP"}
MEMOS = {"PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"}

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ReferenceSet:
    """One of the files train.h5 (1.2 million jets), val.h5, test.h5 (0.4 million each) of Zenodo record 2603256.

    Each holds one pandas table ("table" format): E_0, PX_0, PY_0, PZ_0, ... of 200 constituents [GeV], hardest
    first and padded with zeros, and is_signal_new (1 = top) (Kasieczka et al. 2019, arXiv 1902.09914).
    Columns are found by name. Rows are read on demand: a file never lies in memory whole. Energies are checked
    against E >= |p| and then dropped; see ``Jets``.

    Args:
        path: of the file.

    Example:
        >>> ReferenceSet(path=Path("none.h5")).read()
        Traceback (most recent call last):
        FileNotFoundError: no file at none.h5; the reference set is at https://zenodo.org/records/2603256
    """

    path: Path

    def __len__(self) -> int:
        with _table(self.path) as table:
            return len(table)

    def read(self, begin: int = 0, end: int | None = None) -> Jets:
        """Jets of a range of rows.

        Args:
            begin: first row.
            end: row after the last; all that follow when left out.

        Returns:
            The jets in their order.

        Raises:
            FileNotFoundError: where there is no file.
            ImportError: without h5py.
            ValueError: for another layout, other units, unsorted or space-like constituents, or another label.
        """
        with _table(self.path) as table:
            return self._block(table, begin, end).jets()

    def chunks(self, size: int = 10_000, end: int | None = None) -> Iterator[Jets]:
        """All jets, or those before row ``end``, ``size`` at a time."""
        end = len(self) if end is None else min(end, len(self))
        for begin in range(0, end, size):
            yield self.read(begin, min(begin + size, end))

    def convert(self, out: Path, jets_per_shard: int = 10_000) -> Tally:
        """Write all jets as shards that ``load_jets`` reads; whole shards of the same rows are kept.

        Args:
            out: folder of the shards.
            jets_per_shard: rows of one file.

        Returns:
            What is unusual among the jets.

        Raises:
            ValueError: as ``read``, and where ``out`` holds shards of something else.
        """
        total, massive = Tally(jets=0), 0
        for number, begin in enumerate(range(0, len(self), jets_per_shard)):
            with _table(self.path) as table:
                block = self._block(table, begin, begin + jets_per_shard)
            massive += block.massive()
            jets = block.jets()
            self._write(shard_path(out, number), jets, begin)
            total += jets.tally()
            log.info("%s: %s", self.path.name, total)
        if massive:
            log.warning(
                "%d constituents have a mass above %g of their energy; it is dropped.", massive, ROUNDING
            )
        return total

    def _write(self, path: Path, jets: Jets, begin: int) -> None:
        about = {"method": "reference set", "address": ADDRESS, "source": self.path.name}
        about |= {"rows": [begin, begin + len(jets)]}
        there, made_from = None, about
        with contextlib.suppress(FileNotFoundError, ValueError):
            there, made_from = read_shard(path)
        if made_from != about:
            raise ValueError(f"{path} holds other jets; give another folder, or remove it")
        if there is None or there.digest != jets.digest:
            write_shard(path, jets, about)

    def _block(self, table: Any, begin: int, end: int | None) -> "_Block":
        places = _places(self.path, table)
        try:
            rows = table[begin:end]
        except OSError as error:
            raise ValueError(
                f"{self.path} cannot be read ({error}); if it is compressed: pip install hdf5plugin"
            ) from None
        values = _pick(rows, [places[name] for name in MOMENTA]).reshape(len(rows), CAP, 4)
        block = _Block(values=values, label=_pick(rows, [places[LABEL]])[:, 0])
        block.check(self.path)
        return block


@dataclass(frozen=True, kw_only=True, eq=False)
class _Block:
    """Rows as read: ``values`` (n, 200, 4) (E, px, py, pz) in float64, zeros where there is nothing; ``label`` (n,)."""

    values: np.ndarray
    label: np.ndarray

    def jets(self) -> Jets:
        there = self.values[..., 0] > 0
        return Jets(
            p3=torch.from_numpy(self.values[there][:, 1:].astype(np.float32)),
            offsets=torch.from_numpy(np.concatenate([[0], there.sum(axis=1).cumsum()]).astype(np.int64)),
            label=torch.from_numpy(self.label.astype(np.int8)),
        )

    def massive(self) -> int:
        """Constituents whose mass is more than rounding."""
        energy, momentum = self.values[..., 0], np.linalg.norm(self.values[..., 1:], axis=-1)
        return int(((energy - momentum) > ROUNDING * energy).sum())

    def check(self, path: Path) -> None:
        energy, p3 = self.values[..., 0], self.values[..., 1:]
        momentum, pt = np.linalg.norm(p3, axis=-1), np.hypot(p3[..., 0], p3[..., 1])
        there = energy > 0
        jet_pt = np.hypot(*p3[..., :2].sum(axis=1).T)[there.any(axis=1)]
        outside = np.mean((jet_pt < WINDOW[0]) | (jet_pt > WINDOW[1])) if len(jet_pt) else 0.0
        faults = {
            "numbers that are not finite": ~np.isfinite(self.values).all(),
            f"labels {np.unique(self.label)[:5]} instead of 0 and 1": ~np.isin(self.label, (0, 1)).all(),
            "constituents with E < |p|; is the order E, PX, PY, PZ?": (
                (momentum > energy * (1 + ROUNDING)) | (energy < 0)
            ).any(),
            "constituents after the padding": (there[:, 1:] & ~there[:, :-1]).any(),
            "constituents that are not sorted by falling pT": (
                pt[:, 1:] > pt[:, :-1] * (1 + ROUNDING) + 1e-6
            ).any(),
            f"jets of median pT {np.median(jet_pt) if len(jet_pt) else 0:.4g}, not 550 to 650; is the unit GeV?": (
                outside > OUTSIDE
            ),
        }
        found = [fault for fault, is_so in faults.items() if is_so]
        if found:
            raise ValueError(f"{path} is no file of the reference set: it has {found[0]}")


@contextlib.contextmanager
def _table(path: Path) -> Iterator[Any]:
    """The dataset ``table/table`` of an HDF5 file."""
    if not path.is_file():
        raise FileNotFoundError(f"no file at {path}; the reference set is at {ADDRESS}")
    try:
        import h5py
    except ImportError as error:
        raise ImportError(
            f"reading the reference set needs h5py ({error}); pip install 'liesmith[jets]'"
        ) from None
    with contextlib.suppress(ImportError):
        import_module("hdf5plugin")  # more kinds of compression, where it is installed
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise ValueError(f"{path} is not an HDF5 file ({error}); download it again from {ADDRESS}") from None
    with file:
        table = file.get("table/table")
        if not isinstance(table, h5py.Dataset) or table.dtype.names is None:
            raise ValueError(
                f"{path} must hold a pandas table at table/table, as the files of {ADDRESS} do; "
                f"got {sorted(file)}; DataFrame.to_hdf(..., key='table', format='table') writes one"
            )
        yield table


def _places(path: Path, table: Any) -> dict[str, tuple[str, int]]:
    """Field and position of every column, by its name."""
    places = {}
    for field in table.dtype.names:
        kind = table.attrs.get(f"{field}_kind")
        size = int(np.prod(table.dtype[field].shape, dtype=int))
        names = (field,) if kind is None or field == "index" else _texts(bytes(kind))
        if len(names) == size:
            places |= {name: (field, i) for i, name in enumerate(names)}
    missing = [name for name in (*MOMENTA, LABEL) if name not in places]
    if missing:
        raise ValueError(f"{path} lacks {len(missing)} columns of the reference set, such as {missing[0]}")
    return places


def _pick(rows: np.ndarray, places: list[tuple[str, int]]) -> np.ndarray:
    """Columns (n, len(places)) in float64 out of the fields of a compound array."""
    picked = np.empty((len(rows), len(places)))
    for field in {field for field, _ in places}:
        mine = [i for i, place in enumerate(places) if place[0] == field]
        columns = rows[field].reshape(len(rows), -1)
        picked[:, mine] = columns[:, [places[i][1] for i in mine]]
    return picked


def _texts(pickled: bytes) -> tuple[str, ...]:
    """The texts of a pickled list, read off its opcodes; nothing is unpickled, and other content gives none."""
    texts: list[str] = []
    try:
        for opcode, argument, _ in pickletools.genops(pickled):
            if opcode.name in TEXTS:
                texts.append(str(argument))
            elif opcode.name not in FRAMES | MEMOS:
                return ()
    except ValueError:
        return ()
    return tuple(texts)
