import pytest
import torch
from conftest import EXACT

from discover.latent.reduction import Reduction


def fields(n: int = 200, size: int = 600) -> torch.Tensor:
    random = torch.Generator().manual_seed(0)
    left, right = torch.randn(n, 8, generator=random), torch.randn(8, size, generator=random)
    return ((left * 10.0 ** -torch.arange(8)) @ right).double() + 5


@pytest.mark.parametrize("size", [40, 600])
@pytest.mark.parametrize("tolerance", [1e-1, 1e-3, 1e-5])
def test_the_stated_error_is_the_error(size, tolerance):
    x = fields(size=size)
    reduction, coefficients = Reduction.of_data(x, tolerance)
    error = float((reduction.inverse(coefficients) - x).norm() / (x - x.mean(0)).norm())
    assert error <= tolerance
    assert float(reduction.residual) == pytest.approx(error, rel=1e-3, abs=1e-12)
    fewer = Reduction.of_data(x, tolerance, most=reduction.size)[0]
    assert fewer.size == reduction.size
    assert float(coefficients.square().sum(1).mean()) == pytest.approx(1, rel=2 * tolerance)


def test_without_a_tolerance_nothing_is_lost():
    x = fields(size=40)
    reduction, coefficients = Reduction.of_data(x, None)
    assert reduction.size == 40
    torch.testing.assert_close(reduction.inverse(coefficients), x, rtol=EXACT, atol=EXACT)


def test_modes_of_a_subset_are_held_to_all_snapshots(monkeypatch):
    monkeypatch.setattr("discover.latent.reduction.SUBSET", 4)
    x = fields()
    reduction, coefficients = Reduction.of_data(x, 1e-5)
    assert float((reduction.inverse(coefficients) - x).norm() / (x - x.mean(0)).norm()) <= 1e-5


def test_rates_are_reduced_like_differences():
    x = fields()
    reduction, coefficients = Reduction.of_data(x, 1e-3)
    torch.testing.assert_close(
        reduction.rate(x[1:] - x[:-1]), coefficients.diff(dim=0), rtol=1e-8, atol=1e-10
    )


def test_too_many_modes_and_a_constant_are_refused():
    with pytest.raises(ValueError, match="larger error"):
        Reduction.of_data(torch.randn(300, 300, dtype=torch.float64), 1e-6, most=20)
    with pytest.raises(ValueError, match="must differ"):
        Reduction.of_data(torch.ones(5, 4), 1e-3)
