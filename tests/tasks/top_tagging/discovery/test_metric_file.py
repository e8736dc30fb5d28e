import json
from types import SimpleNamespace

import pytest
import torch

from equivariant import catalogue
from tasks.top_tagging.data.jets import MINKOWSKI
from tasks.top_tagging.discovery.jet_algebra import JetAlgebra
from tasks.top_tagging.discovery.metric_file import find_metric


class Search(SimpleNamespace):
    """Stands for a ``JetDiscovery``: gives the same metric at once and counts how often it is asked."""

    asked = []  # noqa: RUF012
    metric = MINKOWSKI

    def run(self, jets):
        self.asked.append(len(jets))
        evidence = {"gap": 9.0} if self.metric is not None else {"metric_refused": "several are invariant"}
        return JetAlgebra(algebra=catalogue.lorentz(), metric=self.metric, verdict=None, evidence=evidence)


class WithoutMetric(Search):
    metric = None


@pytest.fixture
def asked(monkeypatch):
    monkeypatch.setattr(Search, "asked", [])
    return Search.asked


def test_a_metric_is_searched_once(some_jets, tmp_path, asked):
    first = find_metric(tmp_path, some_jets, Search(seed=0, leading=2, progress=True))
    again = find_metric(tmp_path, some_jets, Search(seed=0, leading=2, progress=False))
    assert asked == [60]
    assert torch.equal(first.metric, again.metric)
    assert again.cosine == pytest.approx(1)
    assert again.evidence == {"gap": 9.0}
    assert "6 generators and a metric of |cosine| 1.00000" in str(again)
    assert json.loads(json.dumps(first.to_dict()))["metric"] == MINKOWSKI.tolist()
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"metric-60-0.safetensors", "algebra-60-0.safetensors"}


@pytest.mark.parametrize("change", ["jets", "settings"])
def test_another_search_is_not_taken_for_this_one(some_jets, tmp_path, change):
    find_metric(tmp_path, some_jets, Search(seed=0, leading=2))
    other = some_jets[torch.arange(60).flip(0)] if change == "jets" else some_jets
    with pytest.raises(ValueError, match="other jets or with other settings"):
        find_metric(tmp_path, other, Search(seed=0, leading=3 if change == "settings" else 2))


def test_a_search_without_a_metric_is_kept_too(some_jets, tmp_path):
    found = find_metric(tmp_path, some_jets, WithoutMetric(seed=0))
    assert found.metric is None
    assert found.cosine is None
    assert "several are invariant" in str(found)


def test_a_damaged_file_is_refused(some_jets, tmp_path):
    find_metric(tmp_path, some_jets, Search(seed=0))
    path = tmp_path / "metric-60-0.safetensors"
    blob = bytearray(path.read_bytes())
    blob[-1] ^= 1
    for damaged in (b"no", bytes(blob)):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="remove it"):
            find_metric(tmp_path, some_jets, Search(seed=0))
