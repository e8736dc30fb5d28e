import math

import pytest
import torch
from conftest import EXACT

from equivariant import Scalar, V, assert_equivariant, catalogue, equivariance_error
from equivariant.check import elements_of_size
from equivariant.group import Group

SO3 = catalogue.rotation(3)


def test_an_equivariant_function_passes_and_another_fails(generator):
    x = torch.randn(20, 3, generator=generator).double()
    assert_equivariant(
        lambda x: x * x.norm(dim=1, keepdim=True), SO3, V, V, x, rtol=EXACT, generator=generator
    )
    with pytest.raises(AssertionError, match=r"relative error .* expected <= 1e-10"):
        assert_equivariant(lambda x: x + 1e-6, SO3, V, V, x, rtol=EXACT, generator=generator)


def test_nan_fails():
    x = torch.randn(5, 3).double()
    assert math.isnan(equivariance_error(lambda x: x * torch.nan, SO3, V, V, x))
    with pytest.raises(AssertionError, match="nan"):
        assert_equivariant(lambda x: x * torch.nan, SO3, V, V, x, rtol=1.0)


def test_the_error_is_relative(generator):
    x = torch.randn(20, 3, generator=generator).double()

    def error(size):
        seeded = torch.Generator().manual_seed(1)
        return equivariance_error(lambda x: size * x.abs(), SO3, V, V, x, generator=seeded)

    assert error(1e-6) == pytest.approx(error(1e6))


def test_elements_are_as_small_as_said(generator):
    (g,) = elements_of_size(Group.of(catalogue.lorentz()), 200, 0.5, generator)
    sizes = torch.linalg.matrix_norm(torch.linalg.matrix_norm(g, 2).log()[:, None, None], 2)
    assert sizes.max() <= 0.5 + 1e-9
    assert sizes.max() > 0.3


def test_a_zero_answer_is_no_error():
    assert equivariance_error(lambda x: 0 * x[:, :1], SO3, V, Scalar, torch.ones(2, 3).double()) == 0
