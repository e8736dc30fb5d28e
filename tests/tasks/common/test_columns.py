import json

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tasks.common.columns import DataFile

TABLE = np.arange(12, dtype=float).reshape(4, 3)


@pytest.fixture
def files(tmp_path):
    np.save(tmp_path / "a.npy", TABLE)
    np.savez(tmp_path / "a.npz", x=TABLE, y=TABLE[:, 0], columns=np.array(["E", "px", "py"]))
    (tmp_path / "a.csv").write_text("E,px,py\n" + "\n".join(",".join(map(str, row)) for row in TABLE) + "\n")
    save_file(
        {"x": torch.tensor(TABLE)}, tmp_path / "a.safetensors", {"columns": json.dumps(["E", "px", "py"])}
    )
    return tmp_path


@pytest.mark.parametrize("suffix", ["npz", "csv", "safetensors"])
def test_every_format_gives_the_numbers_and_their_names(files, suffix):
    x, names = DataFile.read(files / f"a.{suffix}").select(None, "x")
    assert torch.equal(x, torch.tensor(TABLE))
    assert names == ("E", "px", "py")


def test_an_npy_has_no_names(files):
    x, names = DataFile.read(files / "a.npy").select(None)
    assert torch.equal(x, torch.tensor(TABLE))
    assert names == ()


def test_columns_are_picked_by_name_in_the_order_asked_for(files):
    x, names = DataFile.read(files / "a.csv").select("py, E")
    assert torch.equal(x, torch.tensor(TABLE[:, [2, 0]]))
    assert names == ("py", "E")


def test_names_belong_to_arrays_they_fit(files):
    assert DataFile.read(files / "a.npz").select("y")[1] == ()


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("b.csv", "1,2\n3,4\n", "name the columns"),
        ("b.csv", "a,b\n1,2\n3\n", "line 3"),
        ("b.csv", "a,b\n1,two\n", "line 2"),
        ("b.csv", "", "name the columns"),
        ("b.npz", "nothing", "plain numbers"),
        ("b.npy", "nothing", "plain numbers"),
        ("b.safetensors", "nothing", "plain numbers"),
        ("b.pkl", "nothing", "must be one of"),
        ("b.csv", "a,a\n1,2\n", "different names, got a, a"),
        ("b.csv", "a,\n1,2\n", "different names"),
        ("b.csv", "a,b\n1,1_01\n", "line 2 must hold 2 numbers, got '1,1_01'"),
    ],
)
def test_what_cannot_be_read_is_refused(tmp_path, name, content, says):
    (tmp_path / name).write_text(content)
    with pytest.raises(ValueError, match=says):
        DataFile.read(tmp_path / name)


def test_nothing_is_unpickled(tmp_path):
    np.save(tmp_path / "evil.npy", np.array([{"a": 1}], dtype=object))
    np.savez(tmp_path / "evil.npz", x=np.array([{"a": 1}], dtype=object))
    np.savez(tmp_path / "text.npz", x=np.array(["a"]))
    for name in ("evil.npy", "evil.npz", "text.npz"):
        with pytest.raises(ValueError, match="plain numbers"):
            DataFile.read(tmp_path / name)


def test_unknown_and_missing_names_are_refused(files):
    with pytest.raises(ValueError, match="has no pz"):
        DataFile.read(files / "a.csv").select("px,pz")
    with pytest.raises(ValueError, match="say which"):
        DataFile.read(files / "a.npz").select(None, "train")
    with pytest.raises(FileNotFoundError):
        DataFile.read(files / "none.csv")


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path):
    (tmp_path / "a.csv").write_text("E,px\n1,2\n", encoding="utf-8-sig")
    assert DataFile.read(tmp_path / "a.csv").columns == ("E", "px")


ARRAYS = {
    "no arrays": ({}, "holds no arrays"),
    "only columns": ({"columns": np.array(["a"])}, "holds no arrays"),
    "other columns": ({"x": TABLE, "columns": np.array(["a", "b"])}, "names 2 columns, but x has 3"),
    "repeated columns": ({"x": TABLE, "columns": np.array(["a", "b", "a"])}, "different names"),
    "complex": ({"x": TABLE * 1j}, "must hold real numbers"),
}


@pytest.mark.parametrize(("arrays", "says"), ARRAYS.values(), ids=ARRAYS.keys())
def test_arrays_that_are_no_table_are_refused(tmp_path, arrays, says):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(ValueError, match=says):
        DataFile.read(tmp_path / "a.npz")


@pytest.mark.parametrize("columns", ["no json", '{"a": 1}', "[1, 2, 3]", '["a", "b"]'])
def test_wrong_columns_of_a_safetensors_file_are_refused(tmp_path, columns):
    save_file({"x": torch.tensor(TABLE)}, tmp_path / "a.safetensors", {"columns": columns})
    with pytest.raises(ValueError, match="plain numbers"):
        DataFile.read(tmp_path / "a.safetensors")


def test_other_byte_orders_are_read(tmp_path):
    np.save(tmp_path / "a.npy", TABLE.astype(">f8"))
    assert torch.equal(DataFile.read(tmp_path / "a.npy").select(None)[0], torch.tensor(TABLE))
