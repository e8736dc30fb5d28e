"""Files written whole or not at all, and read with their checksum: safetensors, .npz, and plain bytes."""

import io
import json
import math
import os
import zlib
from collections.abc import Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from threading import get_ident
from typing import IO, Any
from zipfile import BadZipFile, ZipFile, ZipInfo

import numpy as np
import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

__all__ = [
    "read_npy",
    "read_npz",
    "read_safetensors",
    "read_tensors",
    "write_file",
    "write_npz",
    "write_tensors",
]

CHECKSUM = "sha256"  # key of the checksum in a safetensors header
UNSUMMED = "0" * 64  # stands there while the checksum is computed
YEAR_ZERO = (1980, 1, 1, 0, 0, 0)  # of the entries of a .npz, so that the same arrays give the same bytes


def write_file(path: str | Path, content: bytes | str) -> None:
    """Write a file whole or not at all.

    The content goes to a temporary file, whose name carries the process and the thread; it replaces the old one in
    one step.

    Args:
        path: of the file; its folder is made where it is missing.
        content: bytes, or text that is written as UTF-8.

    Raises:
        OSError: with a sentence, when the file cannot be written (disk full, no permission); the old one stays.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     write_file(f"{folder}/a.txt", "text")
        ...     [path.name for path in Path(folder).iterdir()]
        ['a.txt']
    """
    path = Path(path)
    temporary = path.with_name(f"{path.name}.{os.getpid()}-{get_ident()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        with suppress(OSError):  # the error that brought us here says more
            temporary.unlink(missing_ok=True)
        if not isinstance(error, OSError):
            raise
        failure = OSError(
            f"cannot write {path}: {error.strerror or error}; nothing there was changed. Make room or choose another "
            "folder, then run again"
        )
        failure.errno = error.errno
        raise failure from None


def write_tensors(path: str | Path, form: str, tensors: Mapping[str, Tensor], **metadata: str) -> None:
    """Write a safetensors file of a named format with a checksum; the same content gives the same bytes.

    Args:
        path: of the file.
        form: name of the format, such as ``"lie-algebra/1"``; the entry ``format`` of the header.
        tensors: by name; device and layout are not kept, dtype is.
        **metadata: further text for the header.

    Raises:
        OSError: with a sentence, when the file cannot be written; the old one stays.

    Example:
        >>> import torch
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     write_tensors(f"{folder}/a.safetensors", "example/1", {"x": torch.ones(2)}, unit="GeV")
        ...     metadata, tensors = read_tensors(f"{folder}/a.safetensors", "example/1", "example", "write_tensors")
        >>> metadata["unit"], tensors["x"]
        ('GeV', tensor([1., 1.]))
    """
    header = {**metadata, "format": form, CHECKSUM: UNSUMMED}
    blob = safetensors.torch.save(
        {name: t.detach().cpu().contiguous() for name, t in tensors.items()}, header
    )
    blob = _sorted_header(blob)
    write_file(path, blob.replace(UNSUMMED.encode(), sha256(blob).hexdigest().encode(), 1))


def read_tensors(
    path: str | Path, form: str, kind: str, writer: str
) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Metadata and tensors of a safetensors file of a named format; its checksum is compared if it has one.

    Args:
        path: of the file.
        form: the format that the header must name.
        kind: of file, for the sentences, such as ``"algebra"``.
        writer: what writes such files, for the sentences, such as ``"LieAlgebra.save(path)"``.

    Returns:
        The header's text by name, and the tensors by name.

    Raises:
        FileNotFoundError: where there is no file.
        ValueError: for another format, a damaged file, or one that is not safetensors.

    Example:
        >>> read_tensors("none.safetensors", "lie-algebra/1", "algebra", "LieAlgebra.save(path)")
        Traceback (most recent call last):
        FileNotFoundError: no algebra file at none.safetensors; LieAlgebra.save(path) writes one
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no {kind} file at {path}; {writer} writes one")
    try:
        metadata, tensors = read_safetensors(path)
    except ValueError as error:
        raise ValueError(f"{error}; {writer} writes one") from None
    if metadata.get("format") != form:
        actual = metadata.get("format", "a file without a format")
        raise ValueError(f"{path} must have format {form!r}, got {actual!r}; is it another kind of file?")
    return metadata, tensors


def read_safetensors(path: str | Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Metadata and tensors of any safetensors file; its checksum is compared if it has one of ours.

    Args:
        path: of the file.

    Returns:
        The header's text by name, and the tensors by name.

    Raises:
        ValueError: for a damaged file, or one that is not safetensors.
    """
    blob = Path(path).read_bytes()
    try:
        tensors = safetensors.torch.load(blob)
        metadata = _header(blob).get("__metadata__", {})
    except (SafetensorError, ValueError, KeyError) as error:
        raise ValueError(f"{path} is not a safetensors file or not whole ({error})") from None
    written = metadata.get(CHECKSUM)
    if written and sha256(blob.replace(written.encode(), UNSUMMED.encode(), 1)).hexdigest() != written:
        raise ValueError(f"{path} is damaged: its checksum does not match its content")
    return metadata, tensors


def write_npz(path: str | Path, **arrays: np.ndarray) -> None:
    """Write a compressed .npz whole or not at all; the same arrays give the same bytes.

    Args:
        path: of the file.
        **arrays: by name.

    Raises:
        OSError: with a sentence, when the file cannot be written; the old one stays.
    """
    buffer = io.BytesIO()
    with ZipFile(buffer, "w") as archive:
        for name, array in arrays.items():
            entry = io.BytesIO()
            np.save(entry, array, allow_pickle=False)
            about = ZipInfo(f"{name}.npy", YEAR_ZERO)
            archive.writestr(about, entry.getvalue(), compress_type=8)
    write_file(path, buffer.getvalue())


def read_npz(path: str | Path) -> dict[str, np.ndarray]:
    """All arrays of a .npz; nothing is unpickled, and a header that promises more than the file holds is refused.

    Args:
        path: of the file.

    Returns:
        The arrays by name.

    Raises:
        ValueError: for a file without arrays, a damaged one, or one that is not .npz.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     write_npz(f"{folder}/a.npz", x=np.arange(3))
        ...     read_npz(f"{folder}/a.npz")
        {'x': array([0, 1, 2])}
    """
    try:
        with ZipFile(path) as archive:
            arrays = {}
            for entry in (e for e in archive.infolist() if e.filename.endswith(".npy")):
                with archive.open(entry) as file:
                    arrays[entry.filename.removesuffix(".npy")] = _array(file, entry.file_size)
    except (BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError) as error:
        raise ValueError(f"{path} is not a .npz of plain arrays or not whole ({error})") from None
    if not arrays:
        raise ValueError(f"{path} holds no arrays; numpy.savez writes them")
    return arrays


def read_npy(path: str | Path) -> np.ndarray:
    """The array of a .npy; nothing is unpickled, and a header that promises more than the file holds is refused.

    Args:
        path: of the file.

    Returns:
        The array.

    Raises:
        ValueError: for a damaged file, or one that is not .npy.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            return _array(file, path.stat().st_size)
    except (EOFError, ValueError) as error:
        raise ValueError(f"{path} is not a .npy of plain numbers or not whole ({error})") from None


def _header(blob: bytes) -> dict[str, Any]:
    size = int.from_bytes(blob[:8], "little")
    return json.loads(blob[8 : 8 + size])


def _sorted_header(blob: bytes) -> bytes:
    """The same safetensors bytes with sorted metadata; the library leaves their order to chance."""
    header, size = _header(blob), int.from_bytes(blob[:8], "little")
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + blob[8 + size :]


def _array(file: IO[bytes], size: int) -> np.ndarray:
    """One array in .npy format from a file of ``size`` bytes, whose header is checked before memory is asked for."""
    version = np.lib.format.read_magic(file)
    read_header = {1: np.lib.format.read_array_header_1_0, 2: np.lib.format.read_array_header_2_0}.get(
        version[0]
    )
    if read_header is None:
        raise ValueError(f"version {version} of the .npy format is not known")
    shape, _, dtype = read_header(file)
    if dtype.hasobject:
        raise ValueError("it holds Python objects; save plain numbers")
    needed = math.prod(shape) * dtype.itemsize
    if needed > size:
        raise ValueError(f"its header says shape {shape}, {needed:.3g} bytes, but the file holds {size}")
    file.seek(0)
    return np.lib.format.read_array(file, allow_pickle=False)
