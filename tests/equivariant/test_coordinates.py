"""The maps of an exact algebra do not depend on how it is written: basis, units, coordinates."""

import math
import time

import pytest
import torch
from conftest import EXACT

from equivariant import (
    EMLP,
    CoefficientDistribution,
    Group,
    LieAlgebra,
    Scalar,
    T,
    V,
    catalogue,
    equivariance_error,
    equivariant_maps,
    invariant_metrics,
)

SO3, LORENTZ = catalogue.rotation(3), catalogue.lorentz()
NONE = torch.zeros(0, 2, 2, dtype=torch.float64)


def _normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _in_coordinates(algebra, condition):
    """The algebra seen in random coordinates of this condition number."""
    k = algebra.dim
    left, right = (torch.linalg.qr(_normal(k, k, seed=seed)).Q for seed in (1, 2))
    change = left @ torch.diag(torch.logspace(0, math.log10(condition), k, dtype=torch.float64)) @ right
    return LieAlgebra(change @ algebra.basis @ torch.linalg.inv(change))


def _nearly_parallel(algebra, angle):
    """The same span from generators that differ little."""
    return LieAlgebra(torch.cat([algebra.basis[:1], algebra.basis[:1] + angle * algebra.basis[1:]]))


def _with_unit_of_time(algebra, seconds):
    unit = torch.diag(torch.tensor([seconds, 1, 1, 1], dtype=torch.float64))
    return LieAlgebra(unit @ algebra.basis @ torch.linalg.inv(unit))


def _rotation_by(angle):
    c, s = math.cos(angle), math.sin(angle)
    return Group.with_discrete(LieAlgebra(NONE), torch.tensor([[c, -s], [s, c]], dtype=torch.float64))


EXACT_GROUPS = {
    "nearly parallel": (_nearly_parallel(SO3, 0.1), 1, 3),
    "almost parallel": (_nearly_parallel(SO3, 1e-3), 1, 3),
    "condition 10": (_in_coordinates(SO3, 10), 1, 3),
    "condition 1000": (_in_coordinates(SO3, 1000), 1, 3),
    "both": (_in_coordinates(_nearly_parallel(SO3, 0.03), 100), 1, 3),
    "another unit of time": (_with_unit_of_time(LORENTZ, 30.0), 1, 4),
    "boosts, condition 1000": (_in_coordinates(LORENTZ, 1000), 1, 4),
    "rotation by 1/64": (_rotation_by(2 * math.pi / 64), 2, 6),
    "rotation by 1/1000": (_rotation_by(2 * math.pi / 1000), 2, 6),
}


@pytest.mark.parametrize("name", EXACT_GROUPS)
def test_exact_groups_have_their_dimensions_however_written(name):
    symmetry, vectors, matrices = EXACT_GROUPS[name]
    assert equivariant_maps(V, V, symmetry).dim == vectors
    found = equivariant_maps(T(2), T(2), symmetry)
    assert found.dim == matrices
    assert found.residual < EXACT
    assert found.gap > 1e3
    assert len(invariant_metrics(symmetry).metrics) == 1


@pytest.mark.parametrize("name", EXACT_GROUPS)
def test_models_of_exact_groups_are_exact_however_written(name):
    symmetry = EXACT_GROUPS[name][0]
    k = Group.of(symmetry).dims[0]
    model = EMLP(2 * V, V, symmetry, hidden=8 * Scalar + 2 * V + T(2), layers=1, dtype=torch.float64)
    rng = torch.Generator().manual_seed(3)
    assert equivariance_error(model, symmetry, 2 * V, V, _normal(8, 2 * k), generator=rng) < EXACT


def test_a_metric_is_found_in_any_coordinates():
    """eta becomes S^-T eta S^-1 in coordinates S x."""
    algebra = _in_coordinates(LORENTZ, 1000)
    found = invariant_metrics(algebra)
    L, J = algebra.basis, found.metrics[0]
    assert (L.mT @ J + J @ L).norm() < EXACT * L.norm() * J.norm()
    assert sorted(found.signatures[0]) == [0, 1, 3]


@pytest.mark.parametrize("size", [1e-6, 1e-4, 1e-3, 1e-2])
def test_noisy_generators_keep_their_dimensions(size):
    noisy = LieAlgebra(LORENTZ.basis + size * _normal(6, 4, 4, seed=5))
    assert equivariant_maps(T(2), T(2), noisy).dim == 4
    assert equivariant_maps(Scalar, T(4), noisy).dim == 4
    assert len(invariant_metrics(noisy).metrics) == 1
    model = EMLP(V, V, noisy, hidden=8 * Scalar + 2 * V + T(2), layers=1)
    assert 1e-2 * size < model.residual < 10 * size


def test_a_single_noisy_generator_keeps_its_dimensions_with_a_warning():
    noisy = LieAlgebra(catalogue.by_name("4*so(2)").basis + 1e-2 * _normal(1, 8, 8))
    with pytest.warns(UserWarning, match="only commuting generators"):
        assert equivariant_maps(V, V, noisy).dim == 32
    assert equivariant_maps(V, V, noisy, rtol=1e-9).dim == 8


def test_relations_that_a_search_space_makes_exact_do_not_make_a_learned_generator_exact():
    """Two pairs of equal blocks: 16 maps are exact, 32 up to the noise."""
    learned = torch.tensor([[0.0, -1.0], [1.0, 0.0]], dtype=torch.float64).repeat(4, 1, 1)
    learned[2:] += 1e-4
    basis = torch.block_diag(*learned)[None]
    assert equivariant_maps(V, V, LieAlgebra(basis, provenance={"method": "LieGAN"})).dim == 32
    assert equivariant_maps(V, V, LieAlgebra(basis)).dim == 16


def test_a_tolerance_far_above_an_exact_algebra_warns():
    with pytest.warns(UserWarning, match="leave rtol out"):
        assert equivariant_maps(V, V, _nearly_parallel(SO3, 0.1), rtol=1e-2).dim == 3


def test_permutations_are_solved_by_orbits():
    eye = torch.eye(64, dtype=torch.float64)
    shift = Group.with_discrete(LieAlgebra(torch.zeros(0, 64, 64, dtype=torch.float64)), eye.roll(1, 0))
    start = time.process_time()
    found = equivariant_maps(V, V, shift)
    assert time.process_time() - start < 1
    assert found.dim == 64
    maps = found.basis.reshape(-1, 64, 64)
    assert (eye.roll(1, 0) @ maps - maps @ eye.roll(1, 0)).abs().max() < EXACT
    assert torch.allclose(found.basis @ found.basis.mT, eye, rtol=0, atol=EXACT)


@pytest.mark.parametrize(
    ("into", "out", "dim"), [(V, V, 2), (Scalar, T(3), 5), (T(2), T(2), 15), (V, Scalar, 1)]
)
def test_orbits_of_the_symmetric_group_are_set_partitions(into, out, dim):
    """S_n on n >= 4 letters: Bell's numbers 2, 5, 15 for 2, 3, 4 axes (Maron et al. 2019, arXiv 1812.09902)."""
    eye = torch.eye(5, dtype=torch.float64)
    swap = eye[[1, 0, 2, 3, 4]]
    letters = Group.with_discrete(LieAlgebra(torch.zeros(0, 5, 5)), torch.stack([eye.roll(1, 0), swap]))
    assert equivariant_maps(into, out, letters).dim == dim


def test_orbits_agree_with_the_linear_problem():
    """A fourth of a turn, once as a permutation of four corners and once with its rounding."""
    corners = torch.eye(4, dtype=torch.float64).roll(1, 0)
    empty = LieAlgebra(torch.zeros(0, 4, 4, dtype=torch.float64))
    orbits = equivariant_maps(T(2), V, Group.with_discrete(empty, corners))
    solved = equivariant_maps(T(2), V, Group.with_discrete(empty, corners), count=orbits.dim)
    assert torch.allclose(orbits.basis, solved.basis, rtol=0, atol=1e-9)


def test_large_maps_of_an_exact_group_are_built_in_time():
    start = time.process_time()
    found = equivariant_maps(T(4), T(4), SO3)
    assert time.process_time() - start < 2
    assert found.dim == 91  # Motzkin's sums 1, 0, 1, 1, 3, 6, 15, 36, 91
    assert found.residual < EXACT
    assert found.gap > 1e6


def test_integer_coefficients_give_a_discrete_group():
    quarter = LieAlgebra(math.pi / 2 * catalogue.rotation(2).basis, CoefficientDistribution.integer(1))
    assert equivariant_maps(V, V, quarter).dim == 2
