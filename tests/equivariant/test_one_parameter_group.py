import pytest
import torch
from conftest import EXACT

from equivariant import catalogue
from equivariant.expm import one_parameter_group


@pytest.mark.parametrize("speeds", [(1.0,), (1.0, 1.0), (2.0, 3.0), (0.5, 1.5, 4.0)])
def test_the_closed_form_is_the_exponential(speeds, generator):
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
def test_what_has_no_period_is_told(L):
    assert one_parameter_group(L) is None
