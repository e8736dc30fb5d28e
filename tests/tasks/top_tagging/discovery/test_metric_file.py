import pytest
import torch
from conftest import EXACT

from equivariant import catalogue
from tasks.top_tagging.discovery.benchmark import JetAlgebra
from tasks.top_tagging.discovery.metric_file import find, minkowski_cosine

METRIC = torch.diag(torch.tensor([1.0, -1.0, -1.0, -1.0]))


def algebra(metric=METRIC):
    evidence = {"gap": 9.0} if metric is not None else {"metric_refused": "several forms are kept alike"}
    return JetAlgebra(algebra=catalogue.lorentz(), metric=metric, verdict=None, evidence=evidence)


def test_a_metric_is_found_once(some_jets, tmp_path):
    asked = []

    def discover(jets):
        asked.append(len(jets))
        return algebra()

    first, again = (find(tmp_path, some_jets, 0, discover, {"leading": 2}) for _ in range(2))
    assert asked == [60]
    assert torch.equal(first.metric, again.metric)
    assert again.cosine == pytest.approx(1)
    assert again.evidence == {"gap": 9.0}
    assert "6 generators and a metric of |cosine| 1.00000" in str(again)
    assert first.to_dict()["metric"] == METRIC.tolist()
    assert {path.name for path in tmp_path.iterdir()} == {
        "metric-60-0.safetensors",
        "algebra-60-0.safetensors",
    }


@pytest.mark.parametrize("change", ["jets", "settings"])
def test_another_search_is_not_taken_for_this_one(some_jets, tmp_path, change):
    find(tmp_path, some_jets, 0, lambda jets: algebra(), {"leading": 2})
    other = some_jets[torch.arange(60).flip(0)] if change == "jets" else some_jets
    with pytest.raises(ValueError, match="other jets or with other settings"):
        find(tmp_path, other, 0, lambda jets: algebra(), {"leading": 3 if change == "settings" else 2})


def test_no_metric_is_a_finding_too(some_jets, tmp_path):
    found = find(tmp_path, some_jets, 0, lambda jets: algebra(None), {})
    assert found.metric is None
    assert found.cosine is None
    assert "several forms are kept alike" in str(found)


def test_a_damaged_file_is_refused(some_jets, tmp_path):
    find(tmp_path, some_jets, 0, lambda jets: algebra(), {})
    (tmp_path / "metric-60-0.safetensors").write_text("no")
    with pytest.raises(ValueError, match="remove it to discover again"):
        find(tmp_path, some_jets, 0, lambda jets: algebra(), {})


def test_the_cosine_forgets_sign_and_size():
    assert minkowski_cosine(-3 * METRIC) == pytest.approx(1, abs=EXACT)
    assert minkowski_cosine(torch.eye(4)) == pytest.approx(0.5)
