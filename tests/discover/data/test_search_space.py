import pytest
import torch
from conftest import EXACT

from discover import Spectral
from discover.data.search_space import SearchSpace, allowed_entries


@pytest.fixture
def plane_in_space() -> torch.Tensor:
    """Points (50, 4) with x2 = -x0, x3 = -x1, of unequal spread."""
    plane = torch.randn(50, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    plane = plane * torch.tensor([1.0, 30.0])
    return torch.cat([plane, -plane], dim=1)


def test_every_matrix_maps_the_span_of_the_data_into_itself(plane_in_space):
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


def test_a_mask_holds_for_every_matrix(plane_in_space):
    space = SearchSpace.of_data(plane_in_space, "blocks:2")
    assert not space.matrices[:, ~allowed_entries("blocks:2", 4)].any()
    # on this plane both blocks must do the same
    torch.testing.assert_close(space.matrices[:, :2, :2], space.matrices[:, 2:, 2:], rtol=EXACT, atol=EXACT)


def test_undetermined_directions_are_those_without_data(plane_in_space):
    directions = SearchSpace.of_data(plane_in_space).whitening.undetermined()
    assert directions.shape == (2, 4)
    assert (plane_in_space @ directions.mT).abs().max() < EXACT * plane_in_space.abs().max()


def test_the_equations_of_the_data_are_written_in_their_names(plane_in_space):
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


def test_columns_of_very_different_units_all_count(generator):
    """1e9 beside 1e2: neither is dropped, and the space is that of the scaled columns in other units."""
    x = torch.randn(200, 3, dtype=torch.float64, generator=generator)
    units = torch.tensor([1e9, 1.0, 1e2], dtype=torch.float64)
    for specification in ("free", "0,2|1"):
        plain, scaled = SearchSpace.of_data(x, specification), SearchSpace.of_data(x * units, specification)
        assert scaled.size == plain.size == (9 if specification == "free" else 5)
        z = x * units @ scaled.whitening.encode.mT
        torch.testing.assert_close(z.mT @ z / 200, torch.eye(3, dtype=torch.float64), rtol=0, atol=1e-9)
        back = (scaled.matrices * units / units[:, None]).flatten(1)
        assert torch.linalg.matrix_rank(torch.cat([back, plain.matrices.flatten(1)])) == plain.size
    assert scaled.whitening.relations(["a", "b", "c"]) == ()


def test_relations_between_columns_of_very_different_units_are_found(generator):
    x = torch.randn(200, 2, dtype=torch.float64, generator=generator)
    data = torch.stack([x[:, 0], 2e9 * x[:, 0], x[:, 1]], dim=1)
    whitening = SearchSpace.of_data(data).whitening
    assert whitening.relations(["a", "b", "c"]) in (("a - 5e-10 b = 0",), ("5e-10 b - a = 0",))
    assert whitening.span.rank == 2
    assert (data @ whitening.undetermined().mT).abs().max() < 1e-6 * data.abs().max()
    # a rotation of the last two columns leads out of the plane of the data, one within it does not
    outside = torch.zeros(1, 3, 3, dtype=torch.float64)
    outside[0, 0, 2] = 1
    within = torch.stack([outside[0], torch.zeros(3, 3).double()])
    within[0, 1, 2] = 2e9
    assert whitening.off_span(outside) > 0.5
    assert whitening.off_span(within) < EXACT


def test_a_wide_free_space_is_complete_without_being_stored(generator):
    """Above 32 columns the basis is not stored: 200 columns would take 25 GB."""
    x = torch.randn(500, 40, dtype=torch.float64, generator=generator)
    x = torch.cat([x, x[:, :1] - x[:, 1:2]], dim=1)
    space = SearchSpace.of_data(x)
    assert (space.rank, space.size, space.matrices) == (40, 1600, None)
    coefficients = torch.randn(2, 1600, dtype=torch.float64, generator=generator)
    generators = space.combine(coefficients)
    moved = x @ generators.mT
    assert (moved - moved @ space.whitening.span.projector).norm() < EXACT * moved.norm()
    back = torch.einsum("cm,mij->cij", coefficients, space.whitened_basis())
    torch.testing.assert_close(space.whitening.generators(generators), back, rtol=1e-9, atol=1e-9)


def test_a_wide_mask_leaves_the_span_as_a_narrow_one_does(generator):
    """More than 32 columns take another way to the same space."""
    x = torch.randn(300, 20, dtype=torch.float64, generator=generator)
    space = SearchSpace.of_data(
        torch.cat([x, -x], dim=1)[:, torch.arange(40).reshape(2, 20).mT.flatten()], "blocks:4"
    )
    assert space.size == 40  # ten blocks of two pairs: each acts as a free 2 x 2 matrix
    assert not space.matrices[:, ~allowed_entries("blocks:4", 40)].any()


def test_what_memory_does_not_hold_is_refused_with_its_size(generator):
    x = torch.randn(500, 200, dtype=torch.float64, generator=generator)
    with pytest.raises(ValueError, match=r"GB of memory.*blocks:2"):
        SearchSpace.of_data(x, "blocks:50")
    with pytest.raises(ValueError, match=r"40000 unknowns.*GB"):
        Spectral(progress=False).fit(x, x[:, 0])
