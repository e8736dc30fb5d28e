"""Checkpoints: the state of a run in one file with a checksum, read back only by the same run; and Ctrl-C."""

import io
import signal
import threading
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

import torch

from equivariant.files import write_file

__all__ = ["Checkpoint", "Interrupts", "Stateful"]

FORMAT = "liesmith-checkpoint/2"  # the first line of a file, followed by a space and the SHA-256 of the rest
ZIP = b"PK"  # how a file of version 0.1 begins


class Stateful(Protocol):
    """An object whose state can be saved and restored."""

    def state_dict(self) -> dict: ...
    def load_state_dict(self, state: dict) -> None: ...


class Checkpoint:
    """The checkpoint file of one training run.

    Args:
        path: file to write to and to read from; with ``None`` every call does nothing.
        run: text that identifies the settings and the data of the run. A file of another run is refused.
    """

    def __init__(self, path: str | Path | None, run: str):
        self.path = None if path is None else Path(path)
        self.run_hash = sha256(run.encode()).hexdigest()

    def write(self, trainer: Stateful, schedule: Stateful, history: list[dict[str, float]]) -> None:
        """Replace the file atomically: whoever reads it finds the old content or the new one, whole.

        Args:
            trainer: models, optimisers and random state.
            schedule: the count of steps.
            history: the log so far.

        Raises:
            OSError: if the file cannot be written, such as on a full disk; the old file stays.
        """
        if self.path is None:
            return
        buffer = io.BytesIO()
        content = {"trainer": trainer.state_dict(), "schedule": schedule.state_dict(), "history": history}
        torch.save({"run": self.run_hash, **content}, buffer)
        payload = buffer.getvalue()
        write_file(self.path, f"{FORMAT} {sha256(payload).hexdigest()}\n".encode() + payload)

    def restore(self, trainer: Stateful, schedule: Stateful) -> list[dict[str, float]]:
        """Load the state of the run, if there is a file.

        Args:
            trainer: gets the saved models, optimisers and random state.
            schedule: gets the saved count of steps.

        Returns:
            The log of the steps so far, empty without a file.

        Raises:
            ValueError: if the file is not a checkpoint, is damaged, was written by version 0.1, or belongs to a
                run with other settings or data.
        """
        if self.path is None or not self.path.exists():
            return []
        content = self._read(self.path)
        trainer.load_state_dict(content["trainer"])
        schedule.load_state_dict(content["schedule"])
        return content["history"]

    def _read(self, path: Path) -> dict[str, Any]:
        header, _, payload = path.read_bytes().partition(b"\n")
        if header.startswith(ZIP):
            raise ValueError(
                f"{path} has no checksum; if version 0.1 wrote it, finish the run with that version, or remove the "
                "file to start again"
            )
        form, _, checksum = header.decode(errors="replace").partition(" ")
        if form != FORMAT:
            raise ValueError(
                f"{path} must be a checkpoint of format {FORMAT!r}, got another file; remove it to start again"
            )
        if checksum != sha256(payload).hexdigest():
            raise ValueError(
                f"{path} is damaged: its content does not match its checksum; remove it to start again"
            )
        content = torch.load(io.BytesIO(payload), weights_only=True)
        if content["run"] != self.run_hash:
            raise ValueError(
                f"{path} belongs to a run with other settings or data; give another path, or remove it to start again"
            )
        return content


class Interrupts:
    """Ctrl-C within the block only sets ``asked``, so that a step is completed; a second one does not wait."""

    asked = False

    def __enter__(self) -> "Interrupts":
        self.held = threading.current_thread() is threading.main_thread()
        self.before = signal.signal(signal.SIGINT, self._note) if self.held else None
        return self

    def __exit__(self, *_: object) -> None:
        if self.held:
            signal.signal(signal.SIGINT, self.before)

    def _note(self, *_: object) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
