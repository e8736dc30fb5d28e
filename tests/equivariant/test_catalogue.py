import pytest
import torch
from conftest import EXACT

from equivariant import LieAlgebra, catalogue


@pytest.mark.parametrize(
    ("name", "count", "size"),
    [
        ("so(2)", 1, 2),
        ("so(3)", 3, 3),
        ("so(4)", 6, 4),
        ("so(1,3)", 6, 4),
        ("so(2,2)", 6, 4),
        ("sl(3)", 8, 3),
        ("sp(4)", 10, 4),
        ("gl(2)", 4, 2),
        ("se(3)", 6, 4),
        ("aff(2)", 6, 3),
        ("scaling(3)", 1, 3),
        ("translation(2)", 2, 3),
        ("4*so(2)", 1, 8),
    ],
)
def test_members_have_their_dimensions_and_are_closed(name, count, size):
    algebra = catalogue.by_name(name)
    assert (algebra.n_generators, algebra.dim) == (count, size)
    assert algebra.closure_error() < EXACT
    assert algebra.basis.dtype == torch.float64


def test_lorentz_keeps_the_minkowski_form():
    metric = torch.diag(torch.tensor([1.0, -1, -1, -1], dtype=torch.float64))
    L = catalogue.lorentz().basis
    assert (L.mT @ metric + metric @ L).norm() < EXACT
    assert catalogue.lorentz().coordinates[0].startswith("E")


def test_symplectic_keeps_its_form():
    omega = torch.tensor([[0, 1.0], [-1, 0]], dtype=torch.float64).kron(torch.eye(2))
    L = catalogue.symplectic(4).basis
    assert (L.mT @ omega + omega @ L).norm() < EXACT


def test_rotations_of_space_follow_the_right_hand():
    g = catalogue.rotation(3).element(torch.tensor([0, 0, torch.pi / 2], dtype=torch.float64))
    assert torch.allclose(
        g @ torch.tensor([1.0, 0, 0]).double(), torch.tensor([0, 1.0, 0]).double(), rtol=0, atol=EXACT
    )


def test_copies_move_every_vector_alike(generator):
    algebra = catalogue.rotation(2)
    w = torch.tensor([0.7], dtype=torch.float64)
    x = torch.randn(3, 2, generator=generator, dtype=torch.float64)
    together = catalogue.copies(algebra, 3).element(w) @ x.flatten()
    assert torch.allclose(together, (x @ algebra.element(w).T).flatten(), rtol=0, atol=EXACT)


def test_a_direct_sum_moves_each_part_alone():
    algebra = catalogue.direct_sum(catalogue.rotation(2), catalogue.rotation(3))
    assert (algebra.n_generators, algebra.dim) == (4, 5)
    assert not algebra.basis[0, 2:, 2:].any()
    assert not algebra.basis[1:, :2, :2].any()


def test_a_union_needs_independent_generators():
    both = catalogue.union(catalogue.lorentz(), catalogue.scaling(4))
    assert both.n_generators == 7
    with pytest.raises(ValueError, match="dependent"):
        catalogue.union(catalogue.rotation(2), catalogue.rotation(2))


@pytest.mark.parametrize("name", ["su(2)", "so", "so(1,2,3)", "sl(1,3)", ""])
def test_unknown_names_are_refused_with_the_known_ones(name):
    with pytest.raises(ValueError, match="choose from"):
        catalogue.by_name(name)


@pytest.mark.parametrize("make", [lambda: catalogue.symplectic(3), lambda: catalogue.rotation(0)])
def test_impossible_sizes_are_refused(make):
    with pytest.raises(ValueError, match="must be"):
        make()


def test_members_say_their_name():
    assert "so(1,3)" in repr(catalogue.lorentz())
    assert isinstance(catalogue.by_name("so(1)"), LieAlgebra)
