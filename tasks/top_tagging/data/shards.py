"""Files of jets, format ``liesmith-jets/1``: ragged arrays in safetensors, with settings, units and a checksum."""

import json
import os
from hashlib import sha256
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from tasks.top_tagging.data.jets import COLUMNS, Jets

__all__ = ["FORMAT", "load_jets", "read_shard", "shard_path", "write_shard"]

FORMAT = "liesmith-jets/1"
UNITS = "GeV"


def shard_path(folder: str | Path, number: int) -> Path:
    """Where shard ``number`` of a folder lies."""
    return Path(folder) / f"shard-{number:05d}.safetensors"


def write_shard(path: str | Path, jets: Jets, about: dict[str, Any]) -> None:
    """Write jets and ``about`` (anything ``json`` can write: settings, seed, versions) whole or not at all.

    The same content gives the same bytes: keys are sorted, and nothing of the clock or the machine goes in.
    """
    text = json.dumps(about, sort_keys=True)
    metadata = {
        "format": FORMAT,
        "units": UNITS,
        "columns": json.dumps(COLUMNS),
        "about": text,
        "digest": _digest(jets, text),
    }
    tensors = {"p3": jets.p3, "offsets": jets.offsets, "label": jets.label}
    blob = save({name: tensor.contiguous() for name, tensor in tensors.items()}, metadata)
    _replace(Path(path), _in_order(blob))


def read_shard(path: str | Path) -> tuple[Jets, dict[str, Any]]:
    """Jets of one file and what was written about them; the checksum is compared.

    Raises ``FileNotFoundError``, or ``ValueError`` for another format, units, or a damaged file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no jets at {path}; liesmith jets --out {path.parent} makes some")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            _check_format(path, metadata)
            jets = Jets(**{name: file.get_tensor(name) for name in ("p3", "offsets", "label")})
        about = json.loads(metadata["about"])
    except (SafetensorError, KeyError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is not a complete {FORMAT} file ({error}); make it again") from None
    if metadata.get("digest") != _digest(jets, metadata["about"]):
        raise ValueError(f"{path} is damaged: its checksum does not match its content; make it again")
    return jets, about


def load_jets(path: str | Path) -> Jets:
    """Jets of one shard, of a .npz with ``p3``, ``offsets``, ``label``, or of all shards in a folder, in order.

    Raises ``FileNotFoundError`` where there is nothing, ``ValueError`` for a foreign or damaged file.
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
    try:
        with np.load(path, allow_pickle=False) as file:
            p3, offsets, label = (file[name] for name in ("p3", "offsets", "label"))
    except KeyError as error:
        raise ValueError(f"{path} must hold the arrays p3, offsets and label: {error.args[0]}") from None
    except (ValueError, OSError, EOFError, BadZipFile) as error:
        raise ValueError(f"{path} is not a .npz of plain arrays ({error})") from None
    return Jets(
        p3=torch.from_numpy(p3.astype(np.float32)),
        offsets=torch.from_numpy(offsets.astype(np.int64)),
        label=torch.from_numpy(label.astype(np.int8)),
    )


def _check_format(path: Path, metadata: dict[str, str]) -> None:
    actual = metadata.get("format", "a file without a format")
    if actual != FORMAT:
        raise ValueError(f"{path} must have format {FORMAT!r}, got {actual!r}; is it another kind of file?")
    if metadata.get("units") != UNITS or metadata.get("columns") != json.dumps(COLUMNS):
        raise ValueError(
            f"{path} must hold {', '.join(COLUMNS)}, got {metadata.get('columns')} in {metadata.get('units')}"
        )


def _digest(jets: Jets, text: str) -> str:
    return sha256(f"{FORMAT} {jets.digest} {text}".encode()).hexdigest()


def _in_order(blob: bytes) -> bytes:
    """The same safetensors bytes with sorted metadata, whose order the library leaves to chance."""
    size = int.from_bytes(blob[:8], "little")
    header = json.loads(blob[8 : 8 + size])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + blob[8 + size :]


def _replace(path: Path, blob: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(path.name + ".part")
    with fresh.open("wb") as file:
        file.write(blob)
        file.flush()
        os.fsync(file.fileno())
    os.replace(fresh, path)
