import json
from hashlib import sha256

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from equivariant.files import read_safetensors
from tasks.top_tagging import Jets, load_jets, read_shard, write_shard
from tasks.top_tagging.data.shards import shard_path

ABOUT = {"seed": 3, "settings": {"b": [1, 2.5], "a": "x"}, "versions": {"numpy": "2"}}


@pytest.fixture
def path(tmp_path, jets):
    path = shard_path(tmp_path / "new", 4)
    write_shard(path, jets, ABOUT)
    return path


def test_a_shard_comes_back_as_it_was(path, jets):
    actual, about = read_shard(path)
    assert actual.digest == jets.digest
    assert about == ABOUT
    assert [file.name for file in path.parent.iterdir()] == ["shard-00004.safetensors"]


def test_the_same_content_is_the_same_bytes(path, jets, tmp_path):
    for i in range(6):  # the order of the library's metadata changes from call to call
        write_shard(tmp_path / f"{i}", jets, dict(reversed(ABOUT.items())))
        assert (tmp_path / f"{i}").read_bytes() == path.read_bytes()


def test_any_library_reads_the_arrays(path, jets):
    arrays = load_file(path)
    assert torch.equal(arrays["p3"], jets.p3)
    assert arrays["offsets"].dtype == torch.int64
    assert arrays["label"].dtype == torch.int8


def test_every_damaged_byte_is_found(path):
    blob = path.read_bytes()
    for place in range(0, len(blob), 7):
        path.write_bytes(blob[:place] + bytes([blob[place] ^ 1]) + blob[place + 1 :])
        with pytest.raises(ValueError, match=r"damaged|not whole|must|kind of file"):
            read_shard(path)
    path.write_bytes(blob[:-10])
    with pytest.raises(ValueError, match="not whole"):
        read_shard(path)


def test_the_checksum_of_version_0_1_is_compared(tmp_path, jets):
    digest = sha256(f"liesmith-jets/1 {jets.digest} {{}}".encode()).hexdigest()
    metadata = {"format": "liesmith-jets/1", "units": "GeV", "about": "{}", "digest": digest,
                "columns": json.dumps(["px [GeV]", "py [GeV]", "pz [GeV]"])}  # fmt: skip
    arrays = {"p3": jets.p3, "offsets": jets.offsets, "label": jets.label}
    save_file(arrays, tmp_path / "old", metadata)
    assert read_shard(tmp_path / "old")[0].digest == jets.digest
    save_file(arrays | {"label": 1 - jets.label}, tmp_path / "old", metadata)
    with pytest.raises(ValueError, match="damaged"):
        read_shard(tmp_path / "old")


def test_a_folder_is_read_in_order(tmp_path, jets):
    for number, part in ((10, jets[4:]), (9, jets[:4])):
        write_shard(shard_path(tmp_path, number), part, {})
    assert load_jets(tmp_path).digest == jets.digest


def test_an_npz_is_read(tmp_path, jets):
    arrays = {"p3": jets.p3.numpy(), "offsets": jets.offsets.numpy(), "label": jets.label.numpy()}
    np.savez_compressed(tmp_path / "jets.npz", **arrays)
    assert load_jets(tmp_path / "jets.npz").digest == jets.digest
    np.savez(tmp_path / "half.npz", p3=arrays["p3"])
    with pytest.raises(ValueError, match="must hold"):
        load_jets(tmp_path / "half.npz")
    (tmp_path / "text.npz").write_text("no archive")
    with pytest.raises(ValueError, match="plain arrays"):
        load_jets(tmp_path / "text.npz")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"format": "lie-algebra/1"}, "liesmith-jets/1"),
        ({"units": "MeV"}, "MeV"),
        ({"columns": json.dumps(["E", "x", "y"])}, r"px \[GeV\]"),
        ({"about": "{}"}, "damaged"),
    ],
)
def test_other_files_get_a_sentence(tmp_path, path, change, says):
    metadata, tensors = read_safetensors(path)
    metadata |= {"digest": metadata.pop("sha256")} | change
    save_file(tensors, tmp_path / "x", metadata)
    with pytest.raises(ValueError, match=says):
        read_shard(tmp_path / "x")


def test_nothing_there_says_how_to_make_some(tmp_path):
    for place in (tmp_path, tmp_path / "none", tmp_path / "none.npz"):
        with pytest.raises(FileNotFoundError, match=r"no (shards|jets)"):
            load_jets(place)


def test_jets_that_are_none_are_kept(tmp_path):
    write_shard(tmp_path / "none", Jets.empty(), {})
    assert len(read_shard(tmp_path / "none")[0]) == 0
