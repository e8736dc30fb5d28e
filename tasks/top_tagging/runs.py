"""One trained tagger on disk, format ``liesmith-tagger-scores/1``: its scores of the test jets and how it was made."""

import json
import os
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

__all__ = ["TaggerRun", "fingerprint", "run_name", "write_blob"]

FORMAT = "liesmith-tagger-scores/1"
NAMED = ("row", "seed", "train_jets")


@dataclass(frozen=True, kw_only=True, eq=False)
class TaggerRun:
    """What is left of one training.

    Args:
        row: name of the tagger. seed, train_jets: of this training.
        owner: ``fingerprint`` of all that decides the result; study: of what all runs of a study share.
        scores: probabilities of top (n,) of the test jets, in their order.
        moved: the same (2, r, m) of the first m test jets after boosts of r rapidities, of constituents and beams
            first, then of constituents alone; (2, 0, 0) where none were made.
        about: parameters, seconds, history and the like, as ``json`` can write it.
    """

    row: str
    seed: int
    train_jets: int
    owner: str
    study: str
    scores: Tensor
    moved: Tensor = field(default_factory=lambda: torch.zeros(2, 0, 0))
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def failed(self) -> bool:
        """Whether some scores are no numbers, so that nothing can be measured."""
        return not bool(torch.isfinite(self.scores).all())

    def write(self, path: str | Path) -> None:
        """Write the file whole or not at all."""
        text = {name: json.dumps(getattr(self, name)) for name in (*NAMED, "owner", "study", "about")}
        tensors = {"scores": self.scores.contiguous(), "moved": self.moved.contiguous()}
        write_blob(Path(path), save(tensors, {"format": FORMAT, **text}))

    @classmethod
    def read(cls, path: str | Path) -> "TaggerRun":
        """Raises ``ValueError`` for a foreign or damaged file."""
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in ("scores", "moved")}
            if metadata["format"] != FORMAT:
                raise KeyError("format")
            values = {name: json.loads(metadata[name]) for name in (*NAMED, "owner", "study", "about")}
        except (SafetensorError, KeyError, json.JSONDecodeError) as error:
            raise ValueError(
                f"{path} is no whole {FORMAT} file ({error}); remove it to train again"
            ) from None
        return cls(**values, **tensors)

    def __str__(self) -> str:
        return f"{self.row}, {self.train_jets} jets, seed {self.seed}"


def run_name(row: str, train_jets: int, seed: int) -> str:
    """The name of a training as a file's."""
    plain = "-".join("".join(c if c.isalnum() else " " for c in row.lower()).split())
    return f"{plain}-{train_jets}-{seed}"


def fingerprint(content: dict[str, Any]) -> str:
    """SHA-256 of settings."""
    return sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def write_blob(path: Path, blob: bytes) -> None:
    """Replace a file in one move; processes side by side do not meet on the way."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.{os.getpid()}.part")
    fresh.write_bytes(blob)
    os.replace(fresh, path)
