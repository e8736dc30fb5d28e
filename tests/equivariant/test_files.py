"""Files are written whole or not at all, give the same bytes twice, and a flipped bit is refused."""

import os

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from equivariant.files import (
    read_npy,
    read_npz,
    read_tensors,
    write_file,
    write_npz,
    write_tensors,
)


def read(path):
    return read_tensors(path, "example/1", "example", "write_tensors")


def save(path):
    write_tensors(path, "example/1", {"b": torch.arange(3.0), "a": torch.eye(2)}, note="text", another="one")


def test_tensors_come_back_and_the_same_content_gives_the_same_bytes(tmp_path):
    save(tmp_path / "one")
    save(tmp_path / "two")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    metadata, tensors = read(tmp_path / "one")
    assert metadata["note"] == "text"
    assert torch.equal(tensors["b"], torch.arange(3.0))


def test_every_flipped_bit_of_the_numbers_is_refused(tmp_path):
    save(tmp_path / "a")
    blob = bytearray((tmp_path / "a").read_bytes())
    for place in range(len(blob) - 28, len(blob)):
        blob[place] ^= 1
        (tmp_path / "b").write_bytes(blob)
        blob[place] ^= 1
        with pytest.raises(ValueError, match="checksum"):
            read(tmp_path / "b")


def test_a_changed_header_is_refused(tmp_path):
    save(tmp_path / "a")
    (tmp_path / "b").write_bytes((tmp_path / "a").read_bytes().replace(b"text", b"test"))
    with pytest.raises(ValueError, match="checksum"):
        read(tmp_path / "b")


def test_files_of_0_1_without_a_checksum_open(tmp_path):
    save_file({"a": torch.eye(2)}, tmp_path / "a", {"format": "example/1"})
    assert torch.equal(read(tmp_path / "a")[1]["a"], torch.eye(2))


def test_other_formats_and_cut_files_are_refused(tmp_path):
    save_file({"a": torch.eye(2)}, tmp_path / "other", {"format": "another/1"})
    save(tmp_path / "a")
    (tmp_path / "cut").write_bytes((tmp_path / "a").read_bytes()[:-5])
    (tmp_path / "text").write_text("no")
    with pytest.raises(ValueError, match="format 'example/1', got 'another/1'"):
        read(tmp_path / "other")
    for name in ("cut", "text"):
        with pytest.raises(ValueError, match="not a safetensors file or not whole"):
            read(tmp_path / name)
    with pytest.raises(FileNotFoundError, match="write_tensors writes one"):
        read(tmp_path / "none")


def test_an_error_while_writing_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    write_file(tmp_path / "a.txt", "old")

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        OSError, match=r"^cannot write .*a.txt: No space left on device; nothing there was changed"
    ):
        write_file(tmp_path / "a.txt", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]
    assert (tmp_path / "a.txt").read_text() == "old"


def test_an_interruption_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    write_file(tmp_path / "a.txt", "old")
    seen = []

    def interrupt(descriptor):
        seen.extend(path.name for path in tmp_path.iterdir())
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_file(tmp_path / "a.txt", "new")
    assert any(name.startswith(f"a.txt.{os.getpid()}-") for name in seen)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]


def test_a_folder_that_is_a_file_gets_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="cannot write"):
        write_file(tmp_path / "file" / "a.txt", "text")


def test_npz_saved_twice_gives_the_same_bytes(tmp_path, monkeypatch):
    write_npz(tmp_path / "a.npz", x=np.arange(4), names=np.array(["a", "b"]))
    monkeypatch.setattr("time.time", lambda: 1e9)
    write_npz(tmp_path / "b.npz", x=np.arange(4), names=np.array(["a", "b"]))
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    assert read_npz(tmp_path / "a.npz")["names"].tolist() == ["a", "b"]
    with np.load(tmp_path / "a.npz") as file:
        assert file["x"].tolist() == [0, 1, 2, 3]


def huge_header(path):
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(
            file, {"descr": "<f8", "fortran_order": False, "shape": (10**12, 3)}
        )
        file.write(b"\0" * 48)


def test_a_header_of_a_million_million_rows_is_refused_before_memory_is_asked_for(tmp_path):
    from zipfile import ZipFile

    huge_header(tmp_path / "a.npy")
    with ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.write(tmp_path / "a.npy", "x.npy")
    with pytest.raises(ValueError, match="its header says shape"):
        read_npy(tmp_path / "a.npy")
    with pytest.raises(ValueError, match="its header says shape"):
        read_npz(tmp_path / "a.npz")


def test_damaged_compression_and_files_without_arrays_are_refused(tmp_path):
    from zipfile import ZipFile

    write_npz(tmp_path / "a.npz", x=np.random.default_rng(0).normal(size=500))
    blob = bytearray((tmp_path / "a.npz").read_bytes())
    blob[300:400] = bytes(100)
    (tmp_path / "b.npz").write_bytes(blob)
    with ZipFile(tmp_path / "c.npz", "w") as archive:
        archive.writestr("readme.txt", "no arrays")
    with pytest.raises(ValueError, match="not whole"):
        read_npz(tmp_path / "b.npz")
    with pytest.raises(ValueError, match="holds no arrays"):
        read_npz(tmp_path / "c.npz")
