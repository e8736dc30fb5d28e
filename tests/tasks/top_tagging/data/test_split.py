import pytest

from tasks.top_tagging import Jets, write_shard
from tasks.top_tagging.data import split
from tasks.top_tagging.data.shards import shard_path
from tasks.top_tagging.data.split import read_split


def put(folder, *parts):
    for number, part in enumerate(parts):
        write_shard(shard_path(folder, number), part, {})
    return folder


def test_sets_follow_one_another_and_share_nothing(some_jets, tmp_path):
    sets = read_split(put(tmp_path, some_jets[:25], some_jets[25:]), 30, 10, 12)
    assert sets.train.digest == some_jets[:30].digest
    assert sets.validation.digest == some_jets[30:40].digest
    assert sets.test.digest == some_jets[40:52].digest
    assert sets.repeated == 0
    assert str(sets).startswith("30 train, 10 validation, 12 test jets from ")


def test_repeated_jets_are_counted(some_jets, tmp_path):
    again = Jets.join([some_jets[:30], some_jets[:3], some_jets[33:]])
    assert read_split(put(tmp_path, again), 30, 10, 12).repeated == 3


@pytest.mark.parametrize("sizes", [(30, 20, 20), (100, 1, 1)])
def test_too_few_jets_are_refused(some_jets, tmp_path, sizes):
    with pytest.raises(ValueError, match="make more"):
        read_split(put(tmp_path, some_jets), *sizes)


def test_one_class_is_refused(some_jets, tmp_path):
    ordered = some_jets[some_jets.label.argsort()]
    with pytest.raises(ValueError, match="train needs top and QCD jets"):
        read_split(put(tmp_path, ordered), 20, 20, 20)


def test_a_folder_that_is_divided_keeps_its_division(some_jets, tmp_path):
    for name, begin in (("train", 0), ("val", 30), ("test", 40)):
        put(tmp_path / name, some_jets[begin : begin + 10])
    sets = read_split(tmp_path, 8, 10, 6)
    assert sets.train.digest == some_jets[:8].digest
    assert sets.validation.digest == some_jets[30:40].digest
    assert sets.test.digest == some_jets[40:46].digest


def test_files_of_the_reference_set_are_read_up_to_what_is_needed(some_jets, tmp_path, monkeypatch):
    asked = []

    def chunks(self, size=10_000, end=None):
        asked.append((self.path.name, end))
        return iter([some_jets[: end // 2], some_jets[end // 2 : end]])

    monkeypatch.setattr(split.ReferenceSet, "chunks", chunks)
    for name in split.REFERENCE:
        (tmp_path / f"{name}.h5").touch()
    parts = split.read_split(tmp_path, 50, 20, 60)
    assert parts.train.digest == some_jets[:50].digest
    assert asked == [("train.h5", 50), ("val.h5", 20), ("test.h5", 60)]
