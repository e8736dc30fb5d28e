"""Solved maps on disk: one safetensors file per problem, named by the SHA-256 of everything that decides it."""

import hashlib
import json
import os
import tempfile
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from equivariant.group import Group
from equivariant.nullspace import NullSpace
from equivariant.rep import Term

__all__ = ["problem_key", "read", "write"]

FORMAT = "null-space/1"  # a new number whenever the solver's answer may change


def problem_key(group: Group, term: Term, rtol: float) -> str:
    """Digest of the generators and discrete elements (as numbers, not by name), the term, and the tolerance."""
    digest = hashlib.sha256(json.dumps([FORMAT, [list(axis) for axis in term], rtol]).encode())
    for factor in group.factors:
        for tensor in (factor.continuous, factor.finite):
            digest.update(json.dumps(list(tensor.shape)).encode())
            digest.update(tensor.cpu().contiguous().numpy().astype("<f8").tobytes())
    return digest.hexdigest()


def read(folder: Path, key: str) -> NullSpace | None:
    """The stored answer, or None where there is none or the file is damaged."""
    path = folder / f"{key}.safetensors"
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            evidence = json.loads((file.metadata() or {})["evidence"])
            tensors = {name: file.get_tensor(name) for name in ("basis", "singular_values")}
        return NullSpace(**tensors, **evidence)
    except (SafetensorError, KeyError, ValueError, TypeError):
        return None


def write(folder: Path, key: str, found: NullSpace) -> None:
    """Store an answer; another process never sees half of a file."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {"basis": found.basis, "singular_values": found.singular_values}
    evidence = {"residual": found.residual, "gap": found.gap}
    handle, unfinished = tempfile.mkstemp(dir=folder)
    os.close(handle)
    save_file(
        {name: tensor.cpu().contiguous() for name, tensor in tensors.items()},
        unfinished,
        {"format": FORMAT, "evidence": json.dumps(evidence)},
    )
    os.replace(unfinished, folder / f"{key}.safetensors")
