"""The reader of the reference set on small files of its layout, which pandas writes ("table" format)."""

import os
import pickle

import numpy as np
import pytest
import torch
from conftest import SHARED

from tasks.top_tagging import Pad, ReferenceSet, load_jets
from tasks.top_tagging.data.reference import LABEL, MOMENTA, _texts

h5py = pytest.importorskip("h5py", reason="the reference set is HDF5: pip install 'liesmith[jets]'")
TRUTH = ("truthE", "truthPX", "truthPY", "truthPZ")


def write(path, jets, change=None, columns=MOMENTA, label=LABEL, scale=1.0, **options):
    """A pandas table: compound rows of index, floats and integers; column names pickled in attributes."""
    padded = Pad(beams=False)(jets).p4.numpy()
    values = np.zeros((len(jets), 200, 4), dtype=np.float32)
    values[:, : padded.shape[1]] = padded * scale
    if change is not None:
        change(values)
    names = (*columns, *TRUTH)
    kind = [("index", "<i8"), ("values_block_0", "<f4", (len(names),)), ("values_block_1", "<i8", (2,))]
    rows = np.zeros(len(jets), dtype=kind)
    place = {name: i for i, name in enumerate(MOMENTA)}
    order = [place[name] for name in columns if name in place]
    rows["values_block_0"][:, : len(order)] = values.reshape(len(jets), 800)[:, order]
    rows["values_block_1"][:, 1] = jets.label.numpy()
    with h5py.File(path, "w") as file:
        table = file.create_dataset("table/table", data=rows, chunks=(4,), **options)
        table.attrs["values_block_0_kind"] = np.bytes_(pickle.dumps(list(names), 0))
        table.attrs["values_block_1_kind"] = np.bytes_(pickle.dumps(["ttv", label], 0))
        table.attrs["values_block_0_meta"] = np.bytes_(b"N.")
    return ReferenceSet(path=path)


@pytest.fixture
def real(jets):
    return jets[[0, 1, 3, 4, 5] * 5]


def test_a_table_is_read(tmp_path, real):
    reference = write(tmp_path / "test.h5", real)
    assert len(reference) == 25
    assert reference.read().digest == real.digest
    assert reference.read(3, 7).digest == real[3:7].digest


def test_a_compressed_table_in_another_order_of_columns_is_read(tmp_path, real):
    order = tuple(sorted(MOMENTA))
    reference = write(tmp_path / "test.h5", real, columns=order, compression="gzip")
    assert reference.read().digest == real.digest


def test_chunks_cover_the_file(tmp_path, real):
    parts = list(write(tmp_path / "test.h5", real).chunks(10))
    assert [len(part) for part in parts] == [10, 10, 5]
    assert [len(part) for part in write(tmp_path / "test.h5", real).chunks(10, end=12)] == [10, 2]
    assert torch.equal(torch.cat([part.p3 for part in parts]), real.p3)


def test_conversion_gives_shards_and_keeps_what_is_there(tmp_path, real, caplog):
    caplog.set_level("INFO")
    reference = write(tmp_path / "test.h5", real)
    tally = reference.convert(tmp_path / "out", 10)
    assert (tally.jets, tally.single) == (25, 5)
    assert len(caplog.messages) == 3
    assert load_jets(tmp_path / "out").digest == real.digest
    first, second, _ = sorted((tmp_path / "out").iterdir())
    second.write_bytes(second.read_bytes()[:-4])
    os.utime(first, ns=(1, 1))
    reference.convert(tmp_path / "out", 10)
    assert first.stat().st_mtime_ns == 1
    assert load_jets(tmp_path / "out").digest == real.digest


def test_a_folder_of_other_jets_is_not_written_over(tmp_path, real):
    write(tmp_path / "val.h5", real).convert(tmp_path / "out", 10)
    with pytest.raises(ValueError, match="other jets"):
        write(tmp_path / "test.h5", real).convert(tmp_path / "out", 10)
    write(tmp_path / "val.h5", real[1:21]).convert(tmp_path / "new", 10)
    write(tmp_path / "val.h5", real[:20]).convert(tmp_path / "new", 10)
    assert load_jets(tmp_path / "new").digest == real[:20].digest


def test_masses_are_counted_where_they_are_dropped(tmp_path, real, caplog):
    def heavier(values):
        values[4, 0, 0] *= 1.01

    write(tmp_path / "test.h5", real, heavier).convert(tmp_path / "out", 100)
    assert caplog.messages[-1].startswith("1 constituents have a mass")


def test_an_empty_jet_is_read(tmp_path, jets):
    came = write(tmp_path / "test.h5", jets).read()
    assert came.digest == jets.digest
    assert came.tally().empty == 1


def change_at(index, value):
    def change(values):
        values[index] = value

    return change


BAD = {
    "MeV": ({"scale": 1000.0}, "unit GeV"),
    "space-like": ({"change": change_at((2, 0, 0), 1.0)}, r"E < \|p\|"),
    "unsorted": ({"change": lambda values: values[0, :2].__setitem__(slice(None), values[0, 1::-1].copy())}, "sorted"),
    "hole": ({"change": change_at((0, 1), 0.0)}, "padding"),
    "NaN": ({"change": change_at((0, 0, 2), np.nan)}, "finite"),
    "no label": ({"label": "signal"}, "is_signal_new"),
    "no column": ({"columns": MOMENTA[:-1]}, "PZ_199"),
}  # fmt: skip


@pytest.mark.parametrize(("fault", "says"), BAD.values(), ids=BAD.keys())
def test_other_content_gets_a_sentence(tmp_path, real, fault, says):
    with pytest.raises(ValueError, match=says):
        write(tmp_path / "test.h5", real, **fault).read()


def test_another_label_gets_a_sentence(tmp_path, real):
    reference = write(tmp_path / "test.h5", real)
    with h5py.File(tmp_path / "test.h5", "r+") as file:
        rows = file["table/table"][:]
        rows["values_block_1"][3, 1] = 2
        file["table/table"][:] = rows
    with pytest.raises(ValueError, match="labels"):
        reference.read()


def test_other_files_get_a_sentence(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"zenodo\.org/records/2603256"):
        ReferenceSet(path=tmp_path / "none.h5").read()
    (tmp_path / "text.h5").write_text("no HDF5")
    with pytest.raises(ValueError, match="not an HDF5 file"):
        ReferenceSet(path=tmp_path / "text.h5").read()
    with h5py.File(tmp_path / "fixed.h5", "w") as file:
        file.create_dataset("table/axis0", data=np.zeros(3))
    with pytest.raises(ValueError, match="format='table'"):
        ReferenceSet(path=tmp_path / "fixed.h5").read()


class Mischief:
    def __reduce__(self):
        return os.system, ("echo harm",)


@pytest.mark.parametrize("protocol", range(5))
def test_names_are_read_without_unpickling(protocol):
    assert _texts(pickle.dumps(["E_0", "PX_0"], protocol)) == ("E_0", "PX_0")
    assert _texts(pickle.dumps(["E_0", Mischief()], protocol)) == ()


def test_bytes_that_are_no_pickle_have_no_names():
    assert _texts(b"") == _texts(b"E_0") == ()


def test_real_jets_pass_the_checks(tmp_path, shared_jets):
    assert SHARED.exists()
    few = shared_jets[:50]
    assert write(tmp_path / "test.h5", few).read().digest == few.digest
