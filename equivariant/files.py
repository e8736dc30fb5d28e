"""Reading a safetensors file of a named format, with a sentence for every file that is not one."""

from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

__all__ = ["read_tensors"]


def read_tensors(path: Path, form: str, kind: str, writer: str) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Metadata and tensors of a file whose metadata say ``format = form``.

    ``kind`` of file and ``writer``, such as ``"LieAlgebra.save(path)"``, are for the sentences. Raises
    ``FileNotFoundError``, and ``ValueError`` for another format or what is no whole safetensors file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no {kind} file at {path}; {writer} writes one")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != form:
                came = metadata.get("format", "a file without a format")
                raise ValueError(
                    f"{path} must have format {form!r}, got {came!r}; is it another kind of file?"
                )
            return metadata, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(
            f"{path} is not a safetensors file or not whole ({error}); {writer} writes one"
        ) from None
