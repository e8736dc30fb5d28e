import pytest
import torch
from safetensors.torch import save_file

from tasks.top_tagging.runs import TaggerRun, fingerprint, run_name
from tasks.top_tagging.tagging.models import TAGGERS


def run(**changes):
    settings = {"row": "LorentzNet, raw", "seed": 3, "train_jets": 50, "owner": "o", "study": "s"}
    return TaggerRun(**{**settings, "scores": torch.rand(7).double(), "about": {"seconds": 1.5}} | changes)


def test_what_is_written_is_read(tmp_path):
    before = run(moved=torch.rand(2, 8, 3).double())
    before.write(tmp_path / "deep" / "a.safetensors")
    after = TaggerRun.read(tmp_path / "deep" / "a.safetensors")
    assert torch.equal(after.scores, before.scores)
    assert torch.equal(after.moved, before.moved)
    names = ("row", "seed", "train_jets", "owner", "study", "about")
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
    save_file({"scores": torch.zeros(2), "moved": torch.zeros(2)}, path)
    with pytest.raises(ValueError, match="no whole liesmith-tagger-scores/1"):
        TaggerRun.read(path)


def test_names_and_fingerprints_tell_trainings_apart():
    names = {run_name(row, size, seed) for row in TAGGERS for size in (1, 11) for seed in (1, 11)}
    assert len(names) == 4 * len(TAGGERS)
    assert run_name("LorentzNet, raw", 1000, 2) == "lorentznet-raw-1000-2"
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1}) != fingerprint({"a": 1, "b": 3})
