from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tasks.latent.data import Trajectories


def trajectories(**more: Any) -> Trajectories:
    states = torch.arange(24.0).reshape(2, 4, 3)
    known: dict[str, Any] = {"name": "line", "states": states, "time_step": 0.5, "coordinates": ("x [1]",)}
    known |= {"rates": states + 1, "coefficients": torch.ones(2, 3, 1)}
    return Trajectories(**(known | more))


def test_a_file_gives_back_what_was_saved(tmp_path):
    trajectories().save(tmp_path / "a.safetensors")
    back = Trajectories.load(tmp_path / "a.safetensors")
    assert back.digest == trajectories().digest
    assert back.coordinates == ("x [1]",)


def test_the_digest_sees_every_part():
    others = [{"rates": None}, {"time_step": 1.0}, {"coordinates": ("y",)}, {"states": torch.ones(2, 4, 3)}]
    assert len({trajectories(**more).digest for more in [{}, *others]}) == 5


def test_parts_are_cut_together():
    part = trajectories().choose(slice(1, 2)).between(1, 4)
    assert part.states[0, 0].tolist() == [15, 16, 17]
    assert part.rates is not None
    assert part.coefficients is not None
    assert part.rates.shape == (1, 3, 3)
    assert part.coefficients.shape == (1, 2, 1)
    assert part.shape == (3,)
    assert len(part) == 1


def test_a_stride_changes_the_time_step_and_drops_group_elements():
    thinned = trajectories().every(2)
    assert thinned.time_step == 1.0
    assert thinned.states.shape == (2, 2, 3)
    assert thinned.coefficients is None
    assert trajectories().every(1).coefficients is not None


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"states": torch.ones(2, 4)}, "m, T"),
        ({"states": torch.ones(0, 4, 3)}, "m, T"),
        ({"time_step": 0.0}, "time_step"),
        ({"rates": torch.ones(2, 4, 1)}, "rates"),
        ({"coefficients": torch.ones(2, 4, 1)}, "coefficients"),
        ({"rates": torch.full((2, 4, 3), torch.nan)}, "finite"),
    ],
)
def test_wrong_shapes_and_numbers_are_refused(more, says):
    with pytest.raises(ValueError, match=says):
        trajectories(**more)


def test_foreign_files_are_refused(tmp_path):
    save_file({"states": torch.ones(1)}, tmp_path / "other.safetensors")
    (tmp_path / "text.safetensors").write_text("no")
    with pytest.raises(ValueError, match="trajectories/1"):
        Trajectories.load(tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match="not a safetensors"):
        Trajectories.load(tmp_path / "text.safetensors")
    with pytest.raises(FileNotFoundError):
        Trajectories.load(tmp_path / "none.safetensors")
