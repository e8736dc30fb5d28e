import numpy as np
import pytest
import torch
from conftest import EXACT

from tasks.two_body import TwoBodyData, load_orbits, pairs, save_orbits, simulated_orbits, windows
from tasks.two_body.data import NAMES


@pytest.fixture(scope="module")
def orbits() -> TwoBodyData:
    return simulated_orbits(4, 3)


def test_a_file_comes_back_as_it_was(tmp_path, orbits):
    save_orbits(tmp_path / "orbits.npz", orbits)
    assert load_orbits(tmp_path / "orbits.npz").digest == orbits.digest


def test_the_published_file_is_read(published_orbits):
    data = load_orbits(published_orbits)
    assert data.train.shape == (814, 20, 8)
    assert data.test.shape == (790, 20, 8)


def test_windows_are_consecutive_steps(orbits):
    x, y = windows(orbits.train, 5, 4)
    assert x.shape == (4 * 12, 40)
    assert y.shape == (4 * 12, 32)
    third = x.view(4, 12, 5, 8)[2, 7]
    assert torch.equal(third, orbits.train[2, 7:12])
    assert torch.equal(y.view(4, 12, 4, 8)[2, 7], orbits.train[2, 12:16])


def test_pairs_are_all_neighbours(orbits):
    x, y = pairs(orbits.train)
    assert x.shape == (4 * 19, 8)
    assert torch.equal(x.view(4, 19, 8)[1, 18], orbits.train[1, 18])
    assert torch.equal(y.view(4, 19, 8)[1, 18], orbits.train[1, 19])


def test_windows_do_not_touch_the_orbits(orbits):
    before = orbits.train.clone()
    x, _ = windows(orbits.train)
    x.zero_()
    assert (orbits.train - before).abs().max() < EXACT


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"columns": np.array(NAMES[::-1])}, "in this order"),
        ({"columns": np.array(["q1x"])}, "in this order"),
        ({"train": np.zeros((3, 20, 7))}, r"\(n, steps, 8\)"),
        ({"train": np.full((3, 20, 8), np.nan)}, "finite"),
        ({"test": np.zeros((1, 20, 8))}, "at least 2"),
        ({"train": None}, "must hold"),
    ],
)
def test_a_wrong_file_is_refused_with_a_sentence(tmp_path, orbits, change, says):
    arrays = {"train": orbits.train.numpy(), "test": orbits.test.numpy(), "columns": np.array(NAMES)} | change
    np.savez(tmp_path / "bad.npz", **{name: array for name, array in arrays.items() if array is not None})
    with pytest.raises(ValueError, match=says):
        load_orbits(tmp_path / "bad.npz")


def test_pickled_and_foreign_files_are_refused(tmp_path, orbits):
    pickled = np.array([{"a": 1}], dtype=object)
    np.savez(tmp_path / "pickled.npz", train=pickled, test=pickled, columns=pickled)
    (tmp_path / "text.npz").write_text("no archive")
    for name in ("pickled.npz", "text.npz"):
        with pytest.raises(ValueError, match="plain arrays"):
            load_orbits(tmp_path / name)
    with pytest.raises(FileNotFoundError, match="no orbits at"):
        load_orbits(tmp_path / "none.npz")


@pytest.mark.parametrize(("past", "future"), [(15, 6), (0, 5), (5, 0)])
def test_windows_that_do_not_fit_are_refused(orbits, past, future):
    with pytest.raises(ValueError, match="windows"):
        windows(orbits.train, past, future)
