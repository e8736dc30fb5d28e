import math

import pytest
import torch
from conftest import EXACT

from discover.equations.equation import Equation
from discover.equations.library import PolynomialLibrary
from equivariant import LieAlgebra, catalogue
from tasks.latent.metrics import (
    equation_measures,
    equivariance_measures,
    generator_measures,
    orbit_measures,
    reconstruction_error,
    rotation_rate,
)


class Coder:
    """An encoder and a decoder given as functions, and a generator L."""

    def __init__(self, encode=lambda x: x, decode=lambda z: z, basis=((0.0, -1.0), (1.0, 0.0))):
        self.algebra = LieAlgebra(torch.tensor(basis, dtype=torch.float64)[None])
        self.encode, self.decode = encode, decode


def radius(x):
    return x.square().sum(-1)


def linear(matrix, degree=2):
    library = PolynomialLibrary(dim=2, degree=degree)
    coefficients = torch.zeros(2, len(library), dtype=torch.float64)
    coefficients[:, library.degrees() == 1] = torch.tensor(matrix, dtype=torch.float64)
    return Equation(library, coefficients)


def test_a_rotation_is_skew_and_a_squeezed_one_is_in_its_inner_product():
    squeeze = torch.diag(torch.tensor([3.0, 1.0], dtype=torch.float64))
    turn = 2 * catalogue.rotation(2).basis.double()
    squeezed = LieAlgebra(squeeze @ turn @ squeeze.inverse())
    exact, other = generator_measures(LieAlgebra(turn)), generator_measures(squeezed)
    assert exact["cosine_raw"] == pytest.approx(1, abs=EXACT)
    assert other["cosine_raw"] == pytest.approx((3 + 1 / 3) / math.sqrt(2 * (9 + 1 / 9)), abs=1e-9)
    assert other["cosine_inner"] == pytest.approx(1, abs=1e-6)
    assert exact["frequency"] == pytest.approx(other["frequency"])
    assert rotation_rate(squeezed) == pytest.approx(2.0)


def test_a_spiral_is_less_skew_than_a_circle_and_says_how_it_grows():
    spiral = LieAlgebra(torch.tensor([[[0.1, -1.0], [1.0, 0.1]]], dtype=torch.float64))
    measures = generator_measures(spiral)
    assert measures["cosine_inner"] == pytest.approx(1 / math.sqrt(1.01), abs=1e-6)
    assert measures["growth"] == pytest.approx(0.1)


def test_the_rank_of_a_rotation_in_space_is_two():
    assert generator_measures(LieAlgebra(catalogue.rotation(3).basis[:1]))["rank"] == 2
    full = torch.diag(torch.tensor([1.0, 2.0, 3.0]))
    assert generator_measures(LieAlgebra(full[None]))["rank"] == 3


def test_energy_is_conserved_on_circular_orbits_alone(generator):
    states = torch.randn(40, 1, 2, generator=generator)
    exact = orbit_measures(Coder(), states, radius)
    assert exact["energy_drift"] < 1e-5
    assert exact["energy_worst"] < 1e-4
    skewed = Coder(basis=((0.0, -1.2), (1 / 1.2, 0.0)))
    assert orbit_measures(skewed, states, radius)["energy_drift"] > 0.05
    broken = Coder(decode=lambda z: 1.1 * z)
    floor = orbit_measures(broken, states, radius)["energy_floor"]
    expected = 0.21 * radius(states).square().mean().sqrt() / radius(states).std()
    assert floor == pytest.approx(float(expected), rel=0.05)


def test_energy_drift_is_over_the_whole_period(generator):
    states = torch.randn(40, 1, 2, generator=generator)
    squeezed = Coder(basis=((0.0, -2.0), (0.5, 0.0)))
    measures = orbit_measures(squeezed, states, radius)
    assert measures["energy_floor"] < 1e-6
    assert measures["energy_drift"] > 0.5


def test_a_generator_that_does_not_rotate_has_no_energy_measure():
    still = Coder(basis=((1.0, 0.0), (0.0, 1.0)))
    assert set(orbit_measures(still, torch.ones(3, 1, 2), radius).values()) == {None}


def test_equivariance_errors_under_known_elements(generator):
    start, w = torch.randn(50, 1, 2, generator=generator), torch.randn(50, 1, 1, generator=generator)
    turn = Coder().algebra.element(w[:, 0]).float()
    states = torch.cat([start, torch.einsum("nij,ntj->nti", turn, start)], dim=1)
    exact = equivariance_measures(Coder(), states, w)
    assert exact["equivariance_error"] < 1e-6
    assert exact["picture_error"] < 1e-6
    assert equivariance_measures(Coder(), states, -w)["equivariance_error"] > 0.5
    assert equivariance_measures(Coder(decode=lambda z: 0 * z), states, w)["picture_error"] == pytest.approx(
        1, rel=0.2
    )


def test_reconstruction_is_relative_to_what_varies():
    states = 100 + torch.tensor([[[0.0, 0.0], [2.0, 0.0]]])
    assert reconstruction_error(Coder(), states) == 0
    off = Coder(decode=lambda z: z + torch.tensor([0.0, 0.1]))
    assert reconstruction_error(off, states) == pytest.approx(0.1, rel=1e-4)


def test_an_equation_is_measured_by_its_terms():
    measures = equation_measures(linear([[0.0, 0.9], [-0.8, 0.0]]))
    assert measures["terms"] == 2
    assert measures["largest_degree"] == 1
    assert measures["coefficient_mismatch"] == pytest.approx(1 - 0.8 / 0.9)
    assert measures["equation_frequency"] == pytest.approx(math.sqrt(0.72))
    assert measures["equation_rank"] == 2


def test_equal_signs_are_no_rotation_and_an_empty_equation_has_no_rank():
    assert equation_measures(linear([[0.0, 0.9], [0.8, 0.0]]))["coefficient_mismatch"] is None
    empty = equation_measures(linear([[0.0, 0.0], [0.0, 0.0]]))
    assert (empty["terms"], empty["equation_rank"], empty["equation_frequency"]) == (0, 0, None)
