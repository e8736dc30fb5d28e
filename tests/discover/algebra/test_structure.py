import pytest
import torch

from discover.algebra.structure import Ideal, balance, nearest_closed, structure
from discover.algebra.textbook import textbook
from equivariant import catalogue, closure_error, compare


@pytest.mark.parametrize(
    ("name", "kind", "killing", "derived", "lower_central", "radical", "rank"),
    [
        ("so(3)", "semisimple", (0, 3, 0), (3,), (3,), 0, 1),
        ("so(2,2)", "semisimple", (4, 2, 0), (6,), (6,), 0, 2),
        ("gl(3)", "reductive", (5, 3, 1), (9, 8), (9, 8), 1, 3),
        ("se(2)", "solvable", (0, 1, 2), (3, 2, 0), (3, 2), 3, 1),
        ("se(3)", "not solvable", (0, 3, 3), (6,), (6,), 3, 2),
        ("heisenberg(3)", "nilpotent", (0, 0, 3), (3, 1, 0), (3, 1, 0), 3, 3),
        ("translation(2)", "abelian", (0, 0, 2), (2, 0), (2, 0), 2, 2),
    ],
)
def test_invariants_of_known_algebras(name, kind, killing, derived, lower_central, radical, rank):
    found = structure(textbook(name))
    assert (found.kind, found.killing, found.derived) == (kind, killing, derived)
    assert (found.lower_central, found.radical, found.rank) == (lower_central, radical, rank)


@pytest.mark.parametrize(
    ("name", "field"), [("so(3)", "real"), ("su(3)", "complex"), ("su(2)", "quaternionic")]
)
def test_the_field_of_a_representation(name, field):
    assert [b.field for b in structure(textbook(name)).blocks] == [field]


def test_no_two_simple_algebras_of_one_dimension_and_character_are_confused():
    assert Ideal(dim=15, character=1, is_complex=False).names == ("so(2,4)", "su(2,2)")
    assert Ideal(dim=10, character=2, is_complex=False).names == ("so(2,3)", "sp(4)")
    assert Ideal(dim=7, character=7, is_complex=False).names == ()


def test_balanced_coordinates_make_an_algebra_its_own_transpose():
    frame = torch.tensor([[1.0, 2.0, 0.0], [0.0, 1.0, 0.5], [0.0, 0.0, 3.0]], dtype=torch.float64)
    skewed = frame @ catalogue.pseudo_orthogonal(1, 2).basis @ torch.linalg.inv(frame)
    h, basis = balance(skewed)
    assert (
        compare.principal_angles(basis, basis.mT).max()
        < 1e-8
        < compare.principal_angles(skewed, skewed.mT).max()
    )
    assert compare.principal_angles(h @ skewed @ torch.linalg.inv(h), basis).max() < 1e-8


def test_brackets_mend_a_generator_that_is_known_badly():
    true = catalogue.lorentz().basis
    mixing = torch.eye(6, dtype=torch.float64)
    mixing[5] = mixing[4] + 0.05 * mixing[5]  # what is special of the last generator is small
    rng = torch.Generator().manual_seed(0)
    raw = torch.einsum("ab,bij->aij", mixing, true)
    raw = raw + 0.01 * torch.randn(raw.shape, generator=rng, dtype=torch.float64)
    closed = nearest_closed(raw)
    assert closure_error(closed) < 1e-9
    before, after = (float(compare.principal_angles(basis, true).max()) for basis in (raw, closed))
    assert after < 0.03 < 0.2 < before
