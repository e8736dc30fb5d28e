import pytest
import torch

from equivariant import LieAlgebra, RandomGroupAction, V, catalogue
from equivariant.expm import ClosedForm, closed_form, elements

ROUNDING = 1e-12  # of a closed form against the matrix exponential, relative


def _conjugated(algebra, generator):
    mix = torch.eye(algebra.dim).double() + 0.3 * torch.randn(algebra.dim, algebra.dim, generator=generator)
    return torch.linalg.solve(mix, algebra.basis.double() @ mix)


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("so(2)", ClosedForm(3, 2)),
        ("gl(2)", ClosedForm(3, 2)),
        ("so(3)", ClosedForm(3, 2)),
        ("so(1,2)", ClosedForm(3, 2)),
        ("4*so(2)", ClosedForm(3, 8)),
        ("so(1,3)", ClosedForm(4)),
        ("so(4)", None),
        ("so(2,2)", None),
        ("sl(3)", None),
    ],
)
@pytest.mark.parametrize("size", [0.0, 1e-9, 1e-4, 0.1, 0.5, 1.0, 3.0, 6.0])
def test_elements_are_the_exponential(name, form, size, generator):
    basis = catalogue.by_name(name).basis.double()
    assert closed_form(basis) == form
    w = size * torch.randn(2, 100, len(basis), generator=generator).double()
    expected = torch.linalg.matrix_exp(torch.einsum("...c,cij->...ij", w, basis))
    error = (elements(w, basis, form) - expected).flatten(-2).norm(dim=-1) / expected.flatten(-2).norm(dim=-1)
    assert error.max() < ROUNDING


@pytest.mark.parametrize("name", ["so(2)", "so(3)", "so(1,3)", "4*so(2)"])
def test_any_basis_of_the_algebra_has_the_form(name, generator):
    basis = _conjugated(catalogue.by_name(name), generator)
    form = closed_form(basis)
    assert form is not None
    w = torch.randn(100, len(basis), generator=generator).double()
    expected = torch.linalg.matrix_exp(torch.einsum("nc,cij->nij", w, basis))
    assert (elements(w, basis, form) - expected).norm() < 10 * ROUNDING * expected.norm()


def test_null_rotations_turns_and_boosts_of_the_lorentz_group():
    basis = catalogue.lorentz().basis.double()
    w = torch.cat([torch.eye(6), 5 * torch.eye(6), torch.cartesian_prod(*[torch.tensor([-1.0, 1.0])] * 6)])
    expected = torch.linalg.matrix_exp(torch.einsum("nc,cij->nij", w.double(), basis))
    found = elements(w.double(), basis, closed_form(basis))
    assert (found - expected).norm() < ROUNDING * expected.norm()


@pytest.mark.parametrize("name", ["so(2)", "so(3)", "so(1,3)"])
@pytest.mark.parametrize("size", [0.0, 0.1, 2.0])
def test_derivatives_of_both_orders(name, size, generator):
    basis = catalogue.by_name(name).basis.double()
    form = closed_form(basis)
    w = (size * torch.randn(2, len(basis), generator=generator).double()).requires_grad_()
    assert torch.autograd.gradcheck(lambda w: elements(w, basis, form), w)
    assert torch.autograd.gradgradcheck(lambda w: elements(w, basis, form), w)


def test_large_angles_and_rapidities_have_finite_gradients():
    basis = catalogue.lorentz().basis.double()
    for size in (50.0, 2000.0):
        w = (size * torch.eye(6).double()).requires_grad_()
        turned = elements(w, basis, closed_form(basis)).flatten(1)
        finite = torch.isfinite(turned).all(1)
        torch.where(finite[:, None], turned, 0).sum().backward()
        assert torch.isfinite(w.grad[finite]).all()
        assert finite.sum() >= 3


def test_a_noisy_algebra_has_no_closed_form(generator):
    basis = catalogue.lorentz().basis.double()
    basis = basis + 1e-3 * torch.randn(basis.shape, generator=generator).double()
    assert closed_form(basis) is None
    w = torch.randn(5, 6, generator=generator).double()
    expected = torch.linalg.matrix_exp(torch.einsum("nc,cij->nij", w, basis))
    assert (LieAlgebra(basis).element(w) - expected).norm() < ROUNDING * expected.norm()


def test_traced_calls_agree(generator):
    basis = catalogue.lorentz().basis.double()
    form, w = closed_form(basis), torch.randn(5, 6, generator=generator).double()
    once = torch.vmap(lambda w: elements(w, basis, form))(w)
    assert torch.allclose(once, elements(w, basis, form), rtol=0, atol=ROUNDING * 1e2)


def test_a_loaded_algebra_brings_its_form(generator):
    noisy = LieAlgebra(catalogue.rotation(3).basis + 0.1 * torch.randn(3, 3, 3, generator=generator).double())
    action = RandomGroupAction(catalogue.rotation(3), V, generator=torch.Generator().manual_seed(0))
    other = RandomGroupAction(noisy, V, generator=torch.Generator().manual_seed(0))
    action.load_state_dict(other.state_dict())
    assert torch.equal(action.draw(5, torch.float64)[0], other.draw(5, torch.float64)[0])
