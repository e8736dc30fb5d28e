import math

import pytest
import torch
from conftest import EXACT

from equivariant import LieAlgebra, catalogue, compare
from equivariant.compare import closure_error, cosine, data_span, principal_angles


def test_a_span_does_not_depend_on_its_basis(generator):
    basis = catalogue.lorentz().basis
    mixed = torch.einsum("ab,bij->aij", torch.randn(6, 6, generator=generator).double(), basis)
    assert 1 - cosine(basis, mixed) < EXACT
    assert compare.subspace_error(basis, mixed) < EXACT


@pytest.mark.parametrize("angle", [1e-9, 1e-4, 0.3, 1.2, math.pi / 2])
def test_angles_are_sharp_at_both_ends(angle):
    a = torch.tensor([[[1.0, 0], [0, 0]]]).double()
    b = torch.tensor([[[math.cos(angle), math.sin(angle)], [0, 0]]]).double()
    assert float(principal_angles(a, b)) == pytest.approx(angle, rel=1e-6, abs=1e-15)


def test_on_a_subspace_generators_are_what_they_do_to_the_data(generator):
    turn = catalogue.by_name("2*so(2)").basis
    other = turn.clone()
    other[0, :2, :2] = other[0, 2:, 2:] = 0
    other[0, 0, 3], other[0, 1, 2], other[0, 2, 1], other[0, 3, 0] = 1, -1, 1, -1
    half = torch.randn(50, 2, generator=generator).double()
    data = torch.cat([half, -half], dim=1)
    assert data_span(data).rank == 2
    assert cosine(turn, other) < 0.1
    assert 1 - cosine(turn, other, data) < EXACT


def test_the_span_of_data_shows_its_evidence(generator):
    data = torch.randn(100, 3, generator=generator) @ torch.randn(3, 5, generator=generator)
    found = data_span(data.double())
    assert found.rank == 3
    assert found.gap > 1e6
    assert torch.allclose(data.double() @ found.projector, data.double(), atol=1e-9)


def test_empty_spans():
    none = LieAlgebra(torch.zeros(0, 2, 2))
    assert len(principal_angles(none, catalogue.rotation(2))) == 0
    assert cosine(none, catalogue.rotation(2)) == 0
    assert cosine(none, none) == 1
    assert cosine(torch.zeros(1, 2, 2), catalogue.rotation(2)) == 0
    assert closure_error(none) == 0
    assert compare.killing_form(none).shape == (0, 0)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_closure_is_relative(scale):
    so3 = catalogue.rotation(3).basis
    assert closure_error(scale * so3) < EXACT
    assert closure_error(scale * so3[:2]) == pytest.approx(1.0)


def test_commuting_generators_are_closed():
    assert closure_error(catalogue.direct_sum(catalogue.rotation(2), catalogue.rotation(2))) == 0


def test_the_killing_form_tells_compact_from_not():
    assert torch.linalg.eigvalsh(compare.killing_form(catalogue.rotation(3))).max() < 0
    signs = torch.linalg.eigvalsh(compare.killing_form(catalogue.lorentz())).sign()
    assert signs.tolist() == [-1, -1, -1, 1, 1, 1]
    assert not compare.killing_form(catalogue.translation(2)).any()


def test_structure_constants_give_back_the_brackets():
    L = catalogue.special_linear(3).basis
    rebuilt = torch.einsum("abc,cij->abij", compare.structure_constants(L), L)
    assert torch.allclose(rebuilt, compare.brackets(L), rtol=0, atol=EXACT)


def test_bad_input_gets_a_sentence():
    with pytest.raises(ValueError, match="one space"):
        cosine(catalogue.rotation(2), catalogue.rotation(3))
    with pytest.raises(ValueError, match="data must"):
        cosine(catalogue.rotation(2), catalogue.rotation(2), torch.ones(3, 3))
    with pytest.raises(ValueError, match="finite"):
        data_span(torch.full((3, 2), torch.nan))


@pytest.mark.parametrize("bad", [torch.full((1, 2, 2), torch.nan), torch.zeros(2, 2), torch.zeros(1, 2, 3)])
def test_bad_generators_get_a_sentence(bad):
    for function in (closure_error, compare.killing_form, compare.span, compare.brackets):
        with pytest.raises(ValueError, match="a basis must"):
            function(bad)


@pytest.mark.parametrize("bad", [torch.zeros(0, 3), torch.tensor(1.0), torch.full((2, 2), torch.inf)])
def test_bad_data_get_a_sentence(bad):
    with pytest.raises(ValueError, match="data must be finite"):
        data_span(bad)
