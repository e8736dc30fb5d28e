"""Files of jets, format ``liesmith-jets/1``: ragged arrays in safetensors, with settings, units and a checksum.

``write_shard`` and ``read_shard`` handle one file, ``load_jets`` reads any sample: a file or a folder of shards.
"""

import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch

from equivariant.files import CHECKSUM, read_npz, read_tensors, write_tensors
from tasks.top_tagging.data.jets import COLUMNS, Jets

__all__ = ["FORMAT", "load_jets", "read_shard", "shard_path", "write_shard"]

FORMAT = "liesmith-jets/1"
UNITS = "GeV"


def shard_path(folder: str | Path, number: int) -> Path:
    """Where shard ``number`` of a folder lies."""
    return Path(folder) / f"shard-{number:05d}.safetensors"


def write_shard(path: str | Path, jets: Jets, about: dict[str, Any]) -> None:
    """Write jets whole or not at all; the same content gives the same bytes.

    Args:
        path: of the file.
        jets: to write.
        about: anything ``json`` can write: settings, seed, versions.

    Raises:
        OSError: with a sentence, when the file cannot be written.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     write_shard(f"{folder}/jets.safetensors", Jets.empty(), {"seed": 1})
        ...     read_shard(f"{folder}/jets.safetensors")
        (Jets(0 jets, 0 top, 0 constituents), {'seed': 1})
    """
    tensors = {"p3": jets.p3, "offsets": jets.offsets, "label": jets.label}
    text = json.dumps(about, sort_keys=True)
    write_tensors(path, FORMAT, tensors, units=UNITS, columns=json.dumps(COLUMNS), about=text)


def read_shard(path: str | Path) -> tuple[Jets, dict[str, Any]]:
    """Jets of one file and what was written about them; the checksum is compared.

    Args:
        path: of the file.

    Returns:
        Jets, and what ``write_shard`` was given about them.

    Raises:
        FileNotFoundError: where there is no file.
        ValueError: for another format or other units, or a damaged file.

    Example:
        >>> read_shard("none.safetensors")
        Traceback (most recent call last):
        FileNotFoundError: no jets file at none.safetensors; liesmith jets writes one
    """
    metadata, tensors = read_tensors(path, FORMAT, "jets", "liesmith jets")
    if metadata.get("units") != UNITS or metadata.get("columns") != json.dumps(COLUMNS):
        raise ValueError(
            f"{path} must hold {', '.join(COLUMNS)}, got {metadata.get('columns')} in {metadata.get('units')}"
        )
    try:
        jets, about = Jets(**tensors), json.loads(metadata["about"])
    except (TypeError, KeyError, json.JSONDecodeError) as error:
        raise ValueError(
            f"{path} is not a complete {FORMAT} file ({error}); liesmith jets writes one"
        ) from None
    if CHECKSUM not in metadata and metadata.get("digest") != _digest(jets, metadata["about"]):
        raise ValueError(f"{path} is damaged: its checksum does not match its content; make it again")
    return jets, about


def load_jets(path: str | Path) -> Jets:
    """Jets of one shard, of a .npz with ``p3``, ``offsets``, ``label``, or of all shards in a folder, in order.

    Args:
        path: of the file or folder.

    Returns:
        The jets.

    Raises:
        FileNotFoundError: where there is nothing.
        ValueError: for another kind of file or a damaged one.

    Example:
        >>> load_jets("none.npz")
        Traceback (most recent call last):
        FileNotFoundError: no jets at none.npz
    """
    path = Path(path)
    if path.is_dir():
        shards = sorted(path.glob("shard-*.safetensors"))
        if not shards:
            raise FileNotFoundError(f"no shards in {path}; liesmith jets --out {path} makes some")
        return Jets.join([read_shard(shard)[0] for shard in shards])
    return _load_npz(path) if path.suffix == ".npz" else read_shard(path)[0]


def _load_npz(path: Path) -> Jets:
    if not path.is_file():
        raise FileNotFoundError(f"no jets at {path}")
    arrays, kinds = read_npz(path), {"p3": np.float32, "offsets": np.int64, "label": np.int8}
    missing = kinds.keys() - arrays.keys()
    if missing:
        raise ValueError(
            f"{path} must hold the arrays p3, offsets and label; it lacks {', '.join(sorted(missing))}"
        )
    return Jets(**{name: torch.from_numpy(arrays[name].astype(kind)) for name, kind in kinds.items()})


def _digest(jets: Jets, text: str) -> str:
    """The checksum that version 0.1 wrote."""
    return sha256(f"{FORMAT} {jets.digest} {text}".encode()).hexdigest()
