"""Checkpoints are whole, belong to one run, and show every change of their content."""

import errno
import os
import signal
from pathlib import Path

import pytest
import torch

from discover.checkpoint import Checkpoint, Interrupts


class Counter:
    """Anything with a state."""

    def __init__(self, value: float = 0.0):
        self.value = torch.tensor(value)

    def state_dict(self) -> dict:
        return {"value": self.value}

    def load_state_dict(self, state: dict) -> None:
        self.value = state["value"]


ROWS = [{"step": 1.0, "loss": 0.5}]


@pytest.fixture
def path(tmp_path) -> Path:
    path = tmp_path / "run" / "run.ckpt"
    Checkpoint(path, "a run").write(Counter(3.0), Counter(4.0), ROWS)
    return path


def restore(path: Path, run: str = "a run") -> tuple[float, float, list]:
    trainer, schedule = Counter(), Counter()
    history = Checkpoint(path, run).restore(trainer, schedule)
    return float(trainer.value), float(schedule.value), history


def test_what_was_written_is_restored(path):
    assert restore(path) == (3.0, 4.0, ROWS)
    assert os.listdir(path.parent) == [path.name]


def test_without_a_file_nothing_is_restored(tmp_path):
    assert restore(tmp_path / "none") == (0.0, 0.0, [])
    Checkpoint(None, "a run").write(Counter(), Counter(), [])
    assert Checkpoint(None, "a run").restore(Counter(), Counter()) == []


def test_every_flipped_bit_is_refused(path):
    whole = path.read_bytes()
    for place in range(0, len(whole), 7):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="remove it to start again"):
            restore(path)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"liesmith-checkpoint/2 0\n"])
def test_other_files_are_refused(path, content):
    path.write_bytes(content)
    with pytest.raises(ValueError, match="remove it to start again"):
        restore(path)


def test_a_file_cut_short_is_refused(path):
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="does not match its checksum"):
        restore(path)


def test_another_run_is_refused(path):
    with pytest.raises(ValueError, match="other settings or data"):
        restore(path, "another run")


def test_a_checkpoint_of_version_0_1_says_how_to_go_on(path):
    torch.save(
        {"format": "liesmith-checkpoint/1", "owner": "", "game": {}, "schedule": {}, "history": []}, path
    )
    with pytest.raises(ValueError, match=r"version 0\.1 wrote it, finish the run with that version"):
        restore(path)


def test_a_full_disk_gets_a_sentence_and_the_old_file_stays(path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "replace", full)
        with pytest.raises(OSError, match=r"cannot write .*run\.ckpt: No space left on device"):
            Checkpoint(path, "a run").write(Counter(5.0), Counter(6.0), [])
    assert restore(path) == (3.0, 4.0, ROWS)
    assert os.listdir(path.parent) == [path.name]


def test_a_second_ctrl_c_does_not_wait():
    before = signal.getsignal(signal.SIGINT)  # a shell's background jobs have another than Python's own
    with Interrupts() as interrupts:
        signal.raise_signal(signal.SIGINT)
        assert interrupts.asked
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before
