"""``TaggerRun``: one trained tagger on disk, its scores of the test jets and how it was made."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from equivariant.files import read_safetensors, write_tensors

__all__ = ["TaggerRun", "run_name"]

FORMAT = "liesmith-tagger-scores/2"
RENAMED = {"owner": "config_hash", "moved": "boosted_scores"}  # names in format 1, of version 0.1
TEXT = ("row", "seed", "train_jets", "config_hash", "study", "about")


@dataclass(frozen=True, kw_only=True, eq=False)
class TaggerRun:
    """What is kept of one training.

    Args:
        row: name of the tagger.
        seed: of the training.
        train_jets: number of training jets.
        config_hash: ``fingerprint`` of all that decides the result.
        study: ``fingerprint`` of what all trainings of a study share.
        scores: probabilities of top of the test jets, in their order, (n,).
        boosted_scores: the same of the first m test jets after boosts of r rapidities, (2, r, m): of constituents and
            beams first, then of constituents alone; (2, 0, 0) where none were made.
        about: parameters, seconds, history and the like, as ``json`` can write it.
    """

    row: str
    seed: int
    train_jets: int
    config_hash: str
    study: str
    scores: Tensor
    boosted_scores: Tensor = field(default_factory=lambda: torch.zeros(2, 0, 0))
    about: dict[str, Any] = field(default_factory=dict)

    @property
    def failed(self) -> bool:
        """Whether some scores are not finite, so that nothing can be measured."""
        return not bool(torch.isfinite(self.scores).all())

    def write(self, path: str | Path) -> None:
        """Write the file whole or not at all."""
        text = {name: json.dumps(getattr(self, name)) for name in TEXT}
        write_tensors(path, FORMAT, {"scores": self.scores, "boosted_scores": self.boosted_scores}, **text)

    @classmethod
    def read(cls, path: str | Path) -> "TaggerRun":
        """Read a file of this version or of 0.1; ``ValueError`` for another kind of file or a damaged one."""
        try:
            metadata, tensors = read_safetensors(path)
            if metadata["format"] not in (FORMAT, "liesmith-tagger-scores/1"):
                raise ValueError(f"format {metadata['format']!r}, not {FORMAT!r}")
            text = {RENAMED.get(name, name): value for name, value in metadata.items()}
            values: dict[str, Any] = {name: json.loads(text[name]) for name in TEXT}
            values |= {RENAMED.get(name, name): tensor for name, tensor in tensors.items()}
            return cls(**values)
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{path} cannot be read as {FORMAT} ({error}); remove it to train again"
            ) from None

    def __str__(self) -> str:
        return f"{self.row}, {self.train_jets} jets, seed {self.seed}"


def run_name(row: str, train_jets: int, seed: int) -> str:
    """The name of a training as a file's."""
    plain = "-".join("".join(c if c.isalnum() else " " for c in row.lower()).split())
    return f"{plain}-{train_jets}-{seed}"
