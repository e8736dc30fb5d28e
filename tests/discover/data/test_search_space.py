import pytest
import torch
from conftest import EXACT

from discover.data.search_space import SearchSpace, allowed_entries


@pytest.fixture
def plane_in_space() -> torch.Tensor:
    """Points (50, 4) with x2 = -x0, x3 = -x1, of unequal spread."""
    plane = torch.randn(50, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    plane = plane * torch.tensor([1.0, 30.0])
    return torch.cat([plane, -plane], dim=1)


def test_every_matrix_keeps_the_data_in_their_span(plane_in_space):
    space = SearchSpace.of_data(plane_in_space)
    moved = plane_in_space @ space.matrices.mT
    outside = moved - moved @ space.whitening.span.projector
    assert space.size == 4  # gl(2): what a 4 x 4 matrix can do to a plane it keeps
    assert outside.norm() < EXACT * moved.norm()


def test_both_forms_of_a_generator_are_one(plane_in_space):
    space = SearchSpace.of_data(plane_in_space)
    torch.testing.assert_close(
        space.whitening.generators(space.matrices), space.whitened, rtol=EXACT, atol=EXACT
    )
    gram = space.whitened.flatten(1) @ space.whitened.flatten(1).mT
    torch.testing.assert_close(gram, torch.eye(4, dtype=torch.float64), rtol=0, atol=EXACT)


def test_whitened_data_have_unit_second_moments(plane_in_space):
    z = plane_in_space @ SearchSpace.of_data(plane_in_space).whitening.encode.mT
    torch.testing.assert_close(z.mT @ z / 50, torch.eye(2, dtype=torch.float64), rtol=0, atol=1e-9)


def test_a_mask_is_kept_in_every_matrix(plane_in_space):
    space = SearchSpace.of_data(plane_in_space, "blocks:2")
    assert not space.matrices[:, ~allowed_entries("blocks:2", 4)].any()
    # on this plane both blocks must do the same
    torch.testing.assert_close(space.matrices[:, :2, :2], space.matrices[:, 2:, 2:], rtol=EXACT, atol=EXACT)


def test_undetermined_directions_are_those_without_data(plane_in_space):
    directions = SearchSpace.of_data(plane_in_space).whitening.undetermined()
    assert directions.shape == (2, 4)
    assert (plane_in_space @ directions.mT).abs().max() < EXACT * plane_in_space.abs().max()


def test_the_equations_of_the_data_are_said_in_their_names(plane_in_space):
    names = ("a [m]", "b [m]", "c [m]", "d [m]")
    relations = SearchSpace.of_data(plane_in_space).whitening.relations(names)
    assert sorted(relations) == ["a + c = 0", "b + d = 0"]
    whole = SearchSpace.of_data(torch.randn(50, 4, dtype=torch.float64)).whitening
    assert whole.relations(names) == ()


@pytest.mark.parametrize(
    ("specification", "entries"),
    [("free", 16), ("blocks:2", 8), ("blocks:4", 16), ("0,2|1,3", 8), ([[0, 1, 2]], 9), (torch.eye(4), 4)],
)
def test_specifications(specification, entries):
    assert int(allowed_entries(specification, 4).sum()) == entries


@pytest.mark.parametrize(
    "specification", ["blocks:3", "0,9", "0,1|1,2", "fre", "", torch.zeros(4, 4), torch.eye(3)]
)
def test_a_specification_that_does_not_fit_is_refused(specification):
    with pytest.raises(ValueError, match=r"search space|groups|mask"):
        allowed_entries(specification, 4)


def test_a_space_that_cannot_move_the_data_is_refused(plane_in_space):
    mask = torch.zeros(4, 4)
    mask[0, 1] = 1  # moves the data out of their plane
    with pytest.raises(ValueError, match=r"none keeps the data in their span"):
        SearchSpace.of_data(plane_in_space, mask)
