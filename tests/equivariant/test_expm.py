import pytest
import torch
from conftest import EXACT

from equivariant import LieAlgebra, RandomGroupAction, V, catalogue
from equivariant.expm import (
    ClosedForm,
    closed_form,
    elements,
    exponential,
    exponential_at,
    one_parameter_group,
)


@pytest.mark.parametrize("k", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("size", [1e-3, 0.3, 1.0, 5.0, 1e5])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-13), (torch.float32, 3e-5)])
def test_exponential_is_that_of_torch(k, size, dtype, tolerance, generator):
    matrices = torch.randn(50, k, k, generator=generator, dtype=torch.float64)
    matrices = (size * (matrices - matrices.mT)).to(dtype)
    expected = torch.linalg.matrix_exp(matrices.double())
    error = (exponential(matrices).double() - expected).norm() / expected.norm()
    assert error < tolerance * max(1, size)


def test_boosts_are_exact(generator):
    w = torch.randn(100, 6, generator=generator).double()
    matrices = torch.einsum("nc,cij->nij", w, catalogue.lorentz().basis)
    expected = torch.linalg.matrix_exp(matrices)
    assert ((exponential(matrices) - expected).norm() / expected.norm()) < EXACT


@pytest.mark.parametrize("k", [3, 4])
def test_derivatives_of_the_exponential(k, generator):
    matrices = torch.randn(2, k, k, generator=generator).double().requires_grad_()
    assert torch.autograd.gradcheck(exponential, matrices)
    assert torch.autograd.gradgradcheck(exponential, matrices)


def test_traced_exponentials_agree(generator):
    matrices = torch.randn(5, 3, 3, generator=generator).double()
    assert torch.allclose(torch.vmap(exponential)(matrices), exponential(matrices), rtol=0, atol=EXACT)


def test_shapes_and_special_values():
    assert exponential(torch.zeros(2, 0, 4, 4)).shape == (2, 0, 4, 4)
    assert torch.equal(exponential(torch.zeros(3, 3)), torch.eye(3))
    assert exponential(torch.full((2, 2), torch.nan)).isnan().all()


@pytest.mark.parametrize("scale", [0.0, 0.5, 3.0, 30.0, 300.0])
def test_exponential_at_is_the_exponential(generator, scale):
    L = torch.randn(4, 4, generator=generator, dtype=torch.float64)
    L = (L - L.T) / (L - L.T).norm()  # the elements stay of size one, so errors are relative
    times = scale * torch.randn(50, generator=generator, dtype=torch.float64)
    expected = torch.linalg.matrix_exp(times[:, None, None] * L)
    torch.testing.assert_close(exponential_at(L, times), expected, rtol=0, atol=EXACT)


def test_gradients_reach_generator_and_times(generator):
    L = torch.randn(3, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    times = torch.randn(5, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(exponential_at, (L, times))
    assert torch.autograd.gradgradcheck(exponential_at, (L, times))


def test_no_times_no_elements():
    assert exponential_at(torch.eye(3), torch.zeros(0)).shape == (0, 3, 3)


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


@pytest.mark.parametrize("speeds", [(1.0,), (1.0, 1.0), (2.0, 3.0), (0.5, 1.5, 4.0)])
def test_a_one_parameter_group_is_the_exponential(speeds, generator):
    plane = catalogue.rotation(2).basis[0]
    L = torch.block_diag(*(speed * plane for speed in speeds), torch.zeros(1, 1))
    mix = torch.randn(len(L), len(L), generator=generator).double()
    L = torch.linalg.solve(mix, L @ mix)
    subgroup = one_parameter_group(L)
    assert subgroup is not None
    angles = torch.tensor([0.0, 0.3, 2.0]).double()
    expected = torch.linalg.matrix_exp(angles[:, None, None] * L / subgroup.frequency)
    assert torch.allclose(subgroup.element(angles), expected, rtol=0, atol=1e-9)
    assert torch.allclose(subgroup.element(angles + 2 * torch.pi), expected, rtol=0, atol=1e-9)
    assert (subgroup.fixed @ subgroup.fixed - subgroup.fixed).norm() < 100 * EXACT


@pytest.mark.parametrize(
    "L",
    [
        catalogue.scaling(2).basis[0],
        catalogue.lorentz().basis[0],
        catalogue.translation(1).basis[0],
        torch.zeros(2, 2).double(),
        torch.block_diag(catalogue.rotation(2).basis[0], 2**0.5 * catalogue.rotation(2).basis[0]),
    ],
)
def test_what_has_no_period_has_no_one_parameter_group(L):
    assert one_parameter_group(L) is None
