"""A run on disk: written whole or not at all, resumed only by the run it belongs to."""

import os
from hashlib import sha256
from pathlib import Path
from pickle import UnpicklingError
from typing import Protocol

import torch

__all__ = ["Checkpoint", "Stateful"]

FORMAT = "liesmith-checkpoint/1"


class Stateful(Protocol):
    """What can be put away and taken up again."""

    def state_dict(self) -> dict: ...
    def load_state_dict(self, state: dict) -> None: ...


class Checkpoint:
    """One file for one run; ``path=None`` makes every call do nothing.

    Args:
        path: where. owner: text that names settings and data; another owner's file is refused.
    """

    def __init__(self, path: str | Path | None, owner: str):
        self.path = None if path is None else Path(path)
        self.owner = sha256(owner.encode()).hexdigest()

    def write(self, game: Stateful, schedule: Stateful, history: list[dict[str, float]]) -> None:
        """Replace the file in one move, so a kill in between leaves the one before."""
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        content = {
            "format": FORMAT,
            "owner": self.owner,
            "game": game.state_dict(),
            "schedule": schedule.state_dict(),
            "history": history,
        }
        fresh = self.path.with_suffix(self.path.suffix + ".part")
        torch.save(content, fresh)
        os.replace(fresh, self.path)

    def restore(self, game: Stateful, schedule: Stateful) -> list[dict[str, float]]:
        """Continue from the file, if there is one; returns its log.

        Raises ``ValueError`` when the file is no checkpoint, or one of other settings or data.
        """
        if self.path is None or not self.path.exists():
            return []
        content = self._read(self.path)
        game.load_state_dict(content["game"])
        schedule.load_state_dict(content["schedule"])
        return content["history"]

    def _read(self, path: Path) -> dict:
        try:
            content = torch.load(path, weights_only=True)
        except (RuntimeError, UnpicklingError, EOFError, OSError) as error:
            raise ValueError(f"{path} is no readable checkpoint ({error}); remove it to start anew") from None
        if not isinstance(content, dict) or content.get("format") != FORMAT:
            raise ValueError(f"{path} must be a checkpoint of format {FORMAT!r}; remove it to start anew")
        if content["owner"] != self.owner:
            raise ValueError(
                f"{path} belongs to a run with other settings or data; give another path, or remove it to start anew"
            )
        return content
