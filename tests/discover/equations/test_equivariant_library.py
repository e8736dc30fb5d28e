import pytest
import torch
from conftest import EXACT

from discover.equations.library import EquivariantLibrary, PolynomialLibrary, to_isometries
from equivariant import LieAlgebra, catalogue

LEARNED_TURN = torch.tensor(
    [[[0.058, -3.074], [3.047, -0.043]]], dtype=torch.float64
)  # as the paper found it


@pytest.mark.parametrize(
    ("name", "degree", "count"),
    [
        ("so(2)", 3, 4),  # z, Jz, r^2 z, r^2 Jz
        ("so(3)", 3, 2),  # z, r^2 z; its generators are singular
        ("so(3)", 2, 1),
        ("so(1,3)", 3, 2),
        ("sl(2)", 3, 1),
        ("scaling(2)", 3, 4),  # the linear ones
    ],
)
def test_number_of_fields(name, degree, count):
    algebra = catalogue.by_name(name)
    library = PolynomialLibrary(dim=algebra.dim, degree=degree)
    fields = EquivariantLibrary.of(library, algebra)
    assert len(fields) == count
    assert fields.null_space.gap > 1e6
    assert fields.null_space.residual < EXACT


@pytest.mark.parametrize("name", ["so(2)", "so(3)", "so(1,3)"])
@pytest.mark.parametrize("centred", [True, False])
def test_fields_commute_with_the_group_about_its_centre(name, centred, generator):
    exact = catalogue.by_name(name)
    centre = torch.zeros(exact.dim) if centred else torch.linspace(-0.5, 0.7, exact.dim)
    algebra = LieAlgebra(exact.basis, origin=centre)
    fields = EquivariantLibrary.of(PolynomialLibrary(dim=algebra.dim, degree=3), algebra)
    z = torch.randn(5, algebra.dim, dtype=torch.float64, generator=generator)
    g = algebra.sample(5, generator)
    torch.testing.assert_close(
        fields(algebra.act(g, z)), torch.einsum("nij,nja->nia", g, fields(z)), rtol=1e-8, atol=1e-8
    )
    weights = torch.randn(len(fields), dtype=torch.float64, generator=generator)
    expanded = fields.library(z) @ fields.coefficients(weights).T
    torch.testing.assert_close(expanded, fields(z) @ weights, rtol=1e-8, atol=1e-8)


def test_the_basis_is_sparse():
    """r^2 z and r^2 Jz apart, eight numbers and not a mixture."""
    fields = EquivariantLibrary.of(PolynomialLibrary(dim=2, degree=3), catalogue.rotation(2))
    assert fields.basis.count_nonzero() == 2 + 2 + 4 + 4
    torch.testing.assert_close(fields.basis.abs().amax(dim=(1, 2)), torch.ones(4, dtype=torch.float64))


def test_a_learned_generator_loses_no_field():
    learned = LieAlgebra(LEARNED_TURN)
    library = PolynomialLibrary(dim=2, degree=3)
    raw = EquivariantLibrary.of(library, learned)
    assert len(raw) == 4
    assert 1e-4 < raw.null_space.residual < 1e-2
    clean = EquivariantLibrary.of(library, to_isometries(learned))
    assert len(clean) == 4
    assert clean.null_space.residual < EXACT


def test_isometries_keep_the_centre_and_need_a_form():
    learned = LieAlgebra(LEARNED_TURN, origin=torch.tensor([0.1, 0.2]))
    assert torch.equal(to_isometries(learned).origin, learned.origin)
    with pytest.raises(ValueError, match="form"):
        to_isometries(catalogue.scaling(2))


def test_wrong_algebras_get_a_sentence():
    library = PolynomialLibrary(dim=2, constant=False)
    with pytest.raises(ValueError, match="symmetry of 2 variables"):
        EquivariantLibrary.of(library, catalogue.rotation(3))
    with pytest.raises(ValueError, match="at least one generator"):
        EquivariantLibrary.of(library, LieAlgebra(torch.zeros(0, 2, 2)))
    with pytest.raises(ValueError, match="constant=True"):
        EquivariantLibrary.of(library, LieAlgebra(catalogue.rotation(2).basis, origin=torch.ones(2)))
