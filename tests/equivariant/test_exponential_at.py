import pytest
import torch
from conftest import EXACT

from equivariant.expm import exponential_at


@pytest.mark.parametrize("scale", [0.0, 0.5, 3.0, 30.0, 300.0])
def test_equals_the_matrix_exponential(generator, scale):
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
