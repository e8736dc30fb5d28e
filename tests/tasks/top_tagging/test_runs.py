import json

import pytest
import torch
from safetensors.torch import save_file

from tasks.top_tagging.runs import TaggerRun, run_name
from tasks.top_tagging.tagging.models import TAGGERS


def run(**changes):
    settings = {"row": "LorentzNet, raw", "seed": 3, "train_jets": 50, "config_hash": "o", "study": "s"}
    return TaggerRun(**{**settings, "scores": torch.rand(7).double(), "about": {"seconds": 1.5}} | changes)


def test_what_is_written_is_read(tmp_path):
    before = run(boosted_scores=torch.rand(2, 8, 3).double())
    before.write(tmp_path / "deep" / "a.safetensors")
    after = TaggerRun.read(tmp_path / "deep" / "a.safetensors")
    assert torch.equal(after.scores, before.scores)
    assert torch.equal(after.boosted_scores, before.boosted_scores)
    names = ("row", "seed", "train_jets", "config_hash", "study", "about")
    assert [getattr(after, n) for n in names] == [getattr(before, n) for n in names]
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["a.safetensors"]


def test_scores_that_are_no_numbers_are_kept_and_known(tmp_path):
    run(scores=torch.tensor([0.5, float("nan")])).write(tmp_path / "a.safetensors")
    assert TaggerRun.read(tmp_path / "a.safetensors").failed
    assert not run().failed


def test_a_damaged_or_foreign_file_is_refused(tmp_path):
    path = tmp_path / "a.safetensors"
    run().write(path)
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(ValueError, match="remove it to train again"):
        TaggerRun.read(path)
    save_file({"scores": torch.zeros(2), "boosted_scores": torch.zeros(2)}, path)
    with pytest.raises(ValueError, match="cannot be read as liesmith-tagger-scores/2"):
        TaggerRun.read(path)


def test_names_tell_trainings_apart():
    names = {run_name(row, size, seed) for row in TAGGERS for size in (1, 11) for seed in (1, 11)}
    assert len(names) == 4 * len(TAGGERS)
    assert run_name("LorentzNet, raw", 1000, 2) == "lorentznet-raw-1000-2"


def test_one_flipped_bit_is_refused(tmp_path):
    path = tmp_path / "a.safetensors"
    run().write(path)
    blob = bytearray(path.read_bytes())
    blob[-3] ^= 1
    path.write_bytes(blob)
    with pytest.raises(ValueError, match="checksum"):
        TaggerRun.read(path)


def test_files_of_version_0_1_are_read(tmp_path):
    text = {
        "row": "EGNN",
        "seed": 0,
        "train_jets": 5,
        "owner": "abc",
        "study": "s",
        "about": {"seconds": 1.5},
    }
    metadata = {
        "format": "liesmith-tagger-scores/1",
        **{name: json.dumps(value) for name, value in text.items()},
    }
    save_file({"scores": torch.ones(3), "moved": torch.zeros(2, 8, 2)}, tmp_path / "a.safetensors", metadata)
    read = TaggerRun.read(tmp_path / "a.safetensors")
    assert (read.row, read.config_hash, read.about) == ("EGNN", "abc", {"seconds": 1.5})
    assert read.boosted_scores.shape == (2, 8, 2)
