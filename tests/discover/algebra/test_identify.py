import pytest
import torch
from conftest import EXACT

from discover import identify
from discover.algebra.textbook import textbook
from equivariant import LieAlgebra, catalogue, compare

NAMES = [
    *[
        "so(2)",
        "so(1,1)",
        "scaling(3)",
        "translation(2)",
        "so(3)",
        "so(1,2)",
        "so(1,3)",
        "so(4)",
        "so(2,2)",
        "sl(2)",
        "sl(3)",
        "gl(2)",
        "sp(4)",
        "su(2)",
        "su(3)",
        "su(1,2)",
        "u(2)",
        "u(1,1)",
        "sl(2,C)",
        "gl(2,C)",
        "se(2)",
        "se(3)",
        "iso(1,1)",
        "iso(1,2)",
        "aff(2)",
        "heisenberg(3)",
        "heisenberg(5)",
        "2*so(3)",
        "4*so(2)",
        "2*so(1,3)",
        "so(2)+so(2)",
        "so(3)+so(2)",
        "so(2)+scaling(1)",
    ],
    "so(3) with scaling(3)",
]


def presented(basis: torch.Tensor, noise: float, seed: int, condition: float = 4.0) -> LieAlgebra:
    """The algebra in random coordinates and a random basis of the given condition number, with noise."""
    rng = torch.Generator().manual_seed(seed)

    def matrix(n: int) -> torch.Tensor:
        left, right = (
            torch.linalg.qr(torch.randn(n, n, generator=rng, dtype=torch.float64)).Q for _ in range(2)
        )
        return left @ torch.diag(condition ** torch.linspace(0, 1, n, dtype=torch.float64)) @ right

    c, k = basis.shape[:2]
    frame = matrix(k)
    moved = torch.einsum("ab,bij->aij", matrix(c), frame @ basis @ torch.linalg.inv(frame))
    errors = torch.randn(moved.shape, generator=rng, dtype=torch.float64) / k
    return LieAlgebra(moved + noise * errors * moved.flatten(1).norm(dim=1)[:, None, None])


@pytest.mark.parametrize("name", NAMES)
def test_exact_generators_are_named_in_any_basis_and_coordinates(name):
    algebra = presented(textbook(name).basis, 0.0, seed=1)
    match = identify(algebra)
    assert sorted(match.name.split("+")) == sorted(name.split("+"))
    assert match.angle < 1e-8
    frame = match.change_of_basis
    assert frame is not None
    assert match.textbook is not None
    moved = frame @ match.textbook.basis @ torch.linalg.inv(frame)
    assert compare.principal_angles(moved, algebra).max() < 1e-8


@pytest.mark.parametrize("noise", [0.01, 0.03])
def test_with_noise_a_name_is_right_or_not_given(noise):
    right = 0
    for seed, name in enumerate(NAMES):
        answer = identify(presented(textbook(name).basis, noise, seed))
        right += sorted(answer.name.split("+")) == sorted(name.split("+"))
        assert not answer.known or sorted(answer.name.split("+")) == sorted(name.split("+"))
    assert right >= 0.9 * len(NAMES)


def test_the_structure_is_told():
    found = identify(presented(catalogue.lorentz().basis, 0.01, seed=0)).structure
    assert (found.dim, found.killing, found.kind, found.rank) == (6, (3, 3, 0), "semisimple", 2)
    assert [ideal.names for ideal in found.ideals] == [("so(1,3)", "sl(2,C)")]
    blocks = identify(presented(catalogue.by_name("2*so(3)").basis, 0.01, seed=0)).structure.blocks
    assert [(b.dim, b.multiplicity, b.field, b.trivial) for b in blocks] == [(3, 2, "real", False)]


def test_isomorphic_algebras_are_told_apart_by_what_they_act_on():
    vector, spinor = (
        identify(presented(textbook(name).basis, 0.0, seed=2)) for name in ("so(1,3)", "sl(2,C)")
    )
    assert (vector.name, spinor.name) == ("so(1,3)", "sl(2,C)")
    assert (vector.alternatives, spinor.alternatives) == (("sl(2,C)",), ("so(1,3)",))


def test_directions_that_nothing_moves_are_no_obstacle():
    wide = torch.nn.functional.pad(catalogue.rotation(3).basis, (0, 2, 0, 2))
    match = identify(presented(wide, 0.01, seed=0))
    assert match.name == "so(3)"
    assert [(b.dim, b.multiplicity) for b in match.structure.blocks if b.trivial] == [(1, 2)]


def test_a_single_generator_is_named_by_its_jordan_form():
    def one(*blocks: list[list[float]]) -> str:
        matrix = torch.block_diag(*(torch.tensor(block, dtype=torch.float64) for block in blocks))
        return identify(presented(matrix[None], 0.0, seed=0, condition=2.0)).name

    turn = [[0.0, -1.0], [1.0, 0.0]]
    assert one(turn, turn) == "2*so(2)"
    assert one(turn, [[0.0, -2.0], [2.0, 0.0]]) == "so(2) with frequencies 1:2"
    assert one([[0.0, 1.0], [1.0, 0.0]]) == "so(1,1)"
    assert one([[0.3, -1.0], [1.0, 0.3]]) == "spiral"
    assert one([[0.0, 1.0], [0.0, 0.0]]) == "translation(1)"
    assert one(turn, [[0.0, -(2**0.5)], [2**0.5, 0.0]]).endswith("not in the catalogue")


def test_what_is_not_in_the_catalogue_is_said_to_be_so():
    upper = torch.stack([catalogue.general_linear(2).basis[i] for i in (0, 1, 3)])
    match = identify(presented(upper, 0.01, seed=0))
    assert not match.known
    assert match.name == "dimension 3, solvable, not in the catalogue"
    assert match.algebra.closure_error() < 1e-8


def test_an_irreducible_representation_without_a_textbook_form_gives_the_abstract_name():
    adjoint = compare.structure_constants(catalogue.special_linear(3)).transpose(1, 2)
    match = identify(presented(adjoint, 0.01, seed=0))
    assert match.name == "sl(3)"
    assert match.textbook is None


def test_noise_hides_which_of_two_algebras_it_is_and_the_name_is_not_given():
    squeezed = torch.diag(torch.tensor([1.0, 8.0])).double()
    rotation = squeezed @ catalogue.rotation(2).basis @ torch.linalg.inv(squeezed)
    assert identify(LieAlgebra(rotation)).name == "so(2)"
    noise = torch.tensor([[[0.05, 0.0], [0.02, -0.1]]], dtype=torch.float64)
    assert not identify(LieAlgebra(rotation + noise)).known
    assert identify(LieAlgebra(rotation + noise), noise=1e-5).name == "spiral"


def test_data_give_the_coordinates_in_which_names_are_judged():
    points = torch.randn(500, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    squeezed = torch.diag(torch.tensor([1.0, 8.0])).double()
    rotation = squeezed @ catalogue.rotation(2).basis @ torch.linalg.inv(squeezed)
    noise = torch.tensor([[[0.05, 0.0], [0.002, -0.1]]], dtype=torch.float64)
    assert identify(LieAlgebra(rotation + noise), points @ squeezed).name == "so(2)"


def test_the_algebra_named_is_exact_and_nearest():
    true = catalogue.lorentz()
    rng = torch.Generator().manual_seed(0)
    raw = LieAlgebra(true.basis + 0.02 * torch.randn(6, 4, 4, generator=rng, dtype=torch.float64))
    match = identify(raw)
    assert match.algebra.closure_error() < EXACT
    assert compare.principal_angles(match.algebra, true).max() < compare.principal_angles(raw, true).max()


def test_data_of_another_size_are_refused():
    with pytest.raises(ValueError, match="vectors of size 3"):
        identify(catalogue.rotation(3), torch.ones(5, 2))
