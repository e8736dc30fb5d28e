"""Strict JSON, and a run's folder that only its own run goes on in, one process at a time."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from tasks.common.files import RunFolder, fingerprint, read_json, write_csv, write_json


@dataclass
class Point:
    x: float
    where: Path


def test_json_is_strict(tmp_path):
    content = {
        "a": float("inf"),
        "b": torch.eye(2),
        "c": np.float32(0.5),
        "d": Point(float("nan"), Path("p")),
    }
    write_json(tmp_path / "a.json", content)

    def refuse(word):
        raise AssertionError(word)

    read = json.loads((tmp_path / "a.json").read_text(), parse_constant=refuse)
    assert read == {"a": None, "b": [[1.0, 0.0], [0.0, 1.0]], "c": 0.5, "d": {"x": None, "where": "p"}}


def test_csv_has_a_column_for_every_name(tmp_path):
    write_csv(tmp_path / "a.csv", [{"a": 1, "b": float("nan")}, {"a": 2, "c": 3}])
    assert (tmp_path / "a.csv").read_text() == "a,b,c\n1,,\n2,,3\n"


def test_a_file_that_is_not_json_gets_a_sentence(tmp_path):
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(ValueError, match="not a result file or not whole"):
        read_json(tmp_path / "a.json")


def test_fingerprints_tell_settings_apart():
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1}) != fingerprint({"a": 1, "b": 3})


def test_a_folder_is_resumed_by_its_own_run_only(tmp_path):
    folder = tmp_path / "run"
    for _ in range(2):
        with RunFolder(folder, {"seed": 0, "data": "abc"}) as path:
            assert path == folder
    with (
        pytest.raises(ValueError, match=r"another run \(seed 0, not 1\)"),
        RunFolder(folder, {"seed": 1, "data": "abc"}),
    ):
        pass
    with pytest.raises(ValueError, match="data abc, not abd"), RunFolder(folder, {"seed": 0, "data": "abd"}):
        pass


def test_overwrite_removes_what_the_run_made_and_nothing_else(tmp_path):
    with RunFolder(tmp_path, {"seed": 0}) as folder:
        write_json(folder / "results.json", {})
        (folder / "notes.txt").write_text("mine")
        (folder / "a.safetensors").write_text("")
    with RunFolder(tmp_path, {"seed": 1}, overwrite=True, products=["*.safetensors"]):
        left = {path.name for path in tmp_path.iterdir()}
    assert left == {"notes.txt", "run.json", "run.lock"}


def test_results_of_a_run_without_settings_are_not_replaced(tmp_path):
    write_json(tmp_path / "results.json", {})
    with pytest.raises(ValueError, match="--overwrite"), RunFolder(tmp_path, {"seed": 0}):
        pass


def fail(folder, wrote):
    with RunFolder(folder, {"seed": 0}) as path:
        if wrote:
            (path / "checkpoints").mkdir()
        raise ValueError("refused")


def test_a_run_that_is_refused_before_it_wrote_anything_leaves_no_trace(tmp_path):
    with pytest.raises(ValueError, match="refused"):
        fail(tmp_path / "run", wrote=False)
    assert not (tmp_path / "run").exists()
    with pytest.raises(ValueError, match="refused"):
        fail(tmp_path / "run", wrote=True)
    with pytest.raises(ValueError, match="another run"), RunFolder(tmp_path / "run", {"seed": 1}):
        pass


HOLD = """
import sys
from tasks.common.files import RunFolder
with RunFolder(sys.argv[1], {"seed": 0}, shared=sys.argv[2] == "shared"):
    print("in", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def hold(tmp_path):
    """Start a process that works in the folder."""
    started = []

    def start(mode):
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, str(tmp_path / "run"), mode],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).resolve().parents[3],
        )
        started.append(process)
        assert process.stdout.readline() == b"in\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_a_second_process_is_told_and_the_lock_dies_with_the_first(hold, tmp_path):
    first = hold("alone")
    with (
        pytest.raises(BlockingIOError, match=f"in use by another process .id {first.pid}"),
        RunFolder(tmp_path / "run", {"seed": 0}),
    ):
        pass
    first.kill()
    first.wait()
    with RunFolder(tmp_path / "run", {"seed": 0}):
        pass


def test_processes_share_a_folder_that_is_shared_on_purpose(hold, tmp_path):
    hold("shared")
    with RunFolder(tmp_path / "run", {"seed": 0}, shared=True):
        pass
    with (
        pytest.raises(ValueError, match="another run"),
        RunFolder(tmp_path / "run", {"seed": 1}, shared=True),
    ):
        pass
    with (
        pytest.raises(BlockingIOError, match="cannot be overwritten"),
        RunFolder(tmp_path / "run", {"seed": 1}, shared=True, overwrite=True),
    ):
        pass
