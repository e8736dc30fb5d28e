import pytest
import torch
from conftest import EXACT

from equivariant import catalogue
from equivariant.expm import exponential


@pytest.mark.parametrize("k", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("size", [1e-3, 0.3, 1.0, 5.0, 1e5])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-13), (torch.float32, 3e-5)])
def test_it_is_the_exponential(k, size, dtype, tolerance, generator):
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
def test_derivatives_of_both_orders(k, generator):
    matrices = torch.randn(2, k, k, generator=generator).double().requires_grad_()
    assert torch.autograd.gradcheck(exponential, matrices)
    assert torch.autograd.gradgradcheck(exponential, matrices)


def test_traced_calls_agree(generator):
    matrices = torch.randn(5, 3, 3, generator=generator).double()
    assert torch.allclose(torch.vmap(exponential)(matrices), exponential(matrices), rtol=0, atol=EXACT)


def test_shapes_and_special_values():
    assert exponential(torch.zeros(2, 0, 4, 4)).shape == (2, 0, 4, 4)
    assert torch.equal(exponential(torch.zeros(3, 3)), torch.eye(3))
    assert exponential(torch.full((2, 2), torch.nan)).isnan().all()
