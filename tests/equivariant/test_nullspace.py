import time

import pytest
import torch
from conftest import EXACT

from equivariant import Group, LieAlgebra, Scalar, T, V, catalogue, equivariant_maps, null_space
from equivariant.nullspace import intertwiners

SO2, SO3, LORENTZ = catalogue.rotation(2), catalogue.rotation(3), catalogue.lorentz()
ORBITS = catalogue.by_name("4*so(2)")
TABLE = [
    (SO2, V, V, 2),
    (SO2, T(2), T(2), 6),
    (SO3, V, V, 1),
    (SO3, T(2), T(2), 3),
    (SO3, Scalar, T(3), 1),
    (SO3, Scalar, T(4), 3),
    (SO3, Scalar, T(7), 36),
    (LORENTZ, V, V, 1),
    (LORENTZ, T(2), T(2), 4),
    (LORENTZ, Scalar, T(4), 4),
    (LORENTZ, Scalar, T(5), 0),
    (LORENTZ, Scalar, T(6), 25),
    (ORBITS, V, V, 32),
    (ORBITS, Scalar, T(2), 32),
]


def _noisy(algebra, size):
    noise = torch.randn(algebra.basis.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    return LieAlgebra(algebra.basis + size * noise, provenance={"method": "noise"})


@pytest.mark.parametrize(("algebra", "into", "out", "dim"), TABLE)
@pytest.mark.parametrize("scale", [1e-3, 10.0])
def test_dimensions_of_exact_groups_at_every_scale(algebra, into, out, dim, scale):
    found = equivariant_maps(into, out, LieAlgebra(scale * algebra.basis))
    assert found.dim == dim
    assert found.residual <= EXACT
    assert found.gap > 1e6


@pytest.mark.parametrize(("algebra", "into", "out", "dim"), TABLE)
def test_noise_of_a_hundredth_keeps_the_dimensions(algebra, into, out, dim):
    found = equivariant_maps(into, out, _noisy(algebra, 1e-2))
    assert found.dim == dim
    assert found.residual < 0.1


def test_a_count_overrules_the_gap():
    assert equivariant_maps(V, V, ORBITS, count=5).dim == 5


def test_solutions_solve_and_are_orthonormal(generator):
    left, right = torch.randn(40, 6, generator=generator), torch.randn(6, 10, generator=generator)
    constraints = left.double() @ right.double()
    found = null_space(constraints)
    assert found.dim == 4
    assert (constraints @ found.basis.T).norm() < EXACT
    assert torch.allclose(found.basis @ found.basis.T, torch.eye(4).double(), rtol=0, atol=EXACT)


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
def test_the_answer_does_not_depend_on_scale(scale, generator):
    constraints = torch.randn(30, 8, generator=generator).double()
    constraints[:, 0] = constraints[:, 1] + 1e-3 * torch.randn(30, generator=generator)
    found = null_space(scale * constraints)
    assert found.dim == 1
    assert torch.allclose(found.basis, null_space(constraints).basis, atol=1e-9)


def test_the_basis_depends_on_the_space_alone(generator):
    constraints = torch.randn(5, 9, generator=generator).double()
    turned = torch.linalg.qr(torch.randn(5, 5, generator=generator).double()).Q @ constraints
    assert torch.allclose(null_space(constraints).basis, null_space(turned).basis, atol=1e-9)


def test_no_constraint_leaves_everything():
    assert null_space(torch.zeros(3, 4)).dim == 4
    assert intertwiners(torch.zeros(0, 2, 2), torch.zeros(0, 3, 3)).dim == 6
    # a scaling commutes up to rounding, which must not be taken for a constraint
    assert equivariant_maps(V, V, _noisy(catalogue.scaling(3), 1e-14)).dim == 9


def test_discrete_elements_constrain_too():
    parity = Group.with_discrete(SO3, -torch.eye(3))
    assert equivariant_maps(Scalar, T(3), parity).dim == 0
    assert equivariant_maps(T(2), T(2), parity).dim == 3
    swap = Group.with_discrete(LieAlgebra(torch.zeros(0, 2, 2)), torch.tensor([[0.0, 1], [1, 0]]))
    assert equivariant_maps(V, V, swap).dim == 2


def test_two_generators_stand_for_the_group_they_generate():
    """What commutes with two generators commutes with their bracket, so a basis need not be closed."""
    open_basis = LieAlgebra(SO3.basis[:2])
    assert open_basis.closure_error() > 0.5
    assert equivariant_maps(T(2), T(2), open_basis).dim == 3
    assert equivariant_maps(Scalar, T(3), open_basis).dim == 1


def test_factors_of_a_product_do_not_mix():
    product = [SO3, LORENTZ]
    assert equivariant_maps(V[0], V[1], product).dim == 0
    assert equivariant_maps(V[0] * V[1], V[0] * V[1], product).dim == 1


def test_large_spaces_are_solved_in_time():
    start = time.process_time()
    assert equivariant_maps(Scalar, T(7), SO3).dim == 36
    assert equivariant_maps(Scalar, T(6), LORENTZ).dim == 25
    assert time.process_time() - start < 12


@pytest.mark.parametrize("bad", [torch.ones(3), torch.full((2, 2), torch.nan)])
def test_bad_constraints_get_a_sentence(bad):
    with pytest.raises(ValueError, match="finite and of shape"):
        null_space(bad)
    with pytest.raises(ValueError, match="count"):
        null_space(torch.ones(2, 2), count=3)


def test_bad_matrices_get_a_sentence():
    with pytest.raises(ValueError, match="finite"):
        intertwiners(torch.full((1, 2, 2), torch.nan), torch.zeros(1, 2, 2))
    with pytest.raises(ValueError, match="expected left"):
        intertwiners(torch.zeros(1, 2, 2), torch.zeros(2, 2, 2))
