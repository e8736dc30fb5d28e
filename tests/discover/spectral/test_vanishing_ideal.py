import pytest
import torch

from discover import Spectral
from discover.spectral.tangent import normals
from discover.spectral.vanishing_ideal import vanishing_ideal
from equivariant import catalogue, compare, cosine


def cone(n: int, generator: torch.Generator) -> torch.Tensor:
    p = torch.randn(n, 3, dtype=torch.float64, generator=generator) * torch.tensor([1.0, 2.0, 3.0])
    return torch.cat([p.norm(dim=1, keepdim=True), p], dim=1)


def test_the_cone_is_found_and_written(generator):
    found = vanishing_ideal(cone(500, generator))
    assert len(found) == 1
    names = ["E [GeV]", "px [GeV]", "py [GeV]", "pz [GeV]"]
    assert found.text(names) == ("E^2 - px^2 - py^2 - pz^2 = 0",)


def test_data_that_fill_their_space_obey_nothing(generator):
    assert len(vanishing_ideal(torch.randn(500, 3, generator=generator))) == 0


def test_few_data_and_noisy_data_obey_nothing(generator):
    points = cone(500, generator)
    assert len(vanishing_ideal(points[:100])) == 0  # ten for each of fifteen monomials are asked
    assert len(vanishing_ideal(points + 1e-3 * torch.randn(500, 4, generator=generator))) == 0
    assert len(vanishing_ideal(points, exact=0.0)) == 0


def test_single_precision_is_exact_enough(generator):
    assert len(vanishing_ideal(cone(500, generator).float())) == 1


def test_an_equation_seen_from_other_coordinates(generator):
    matrix = torch.randn(4, 4, dtype=torch.float64, generator=generator)
    points = cone(500, generator)
    there = vanishing_ideal(points).pull_back(matrix)
    back = points @ torch.linalg.inv(matrix).mT
    values = there.library(back) @ there.coefficients.mT
    assert float(values.abs().max() / there.library(back).abs().max()) < 1e-10


def test_gradients_are_normals_where_the_support_bends(generator):
    points = cone(2000, generator)
    exact = normals(points[:200], points, ideal=vanishing_ideal(points))
    true = points[:200] * torch.tensor([1.0, -1.0, -1.0, -1.0])
    true = true / true.norm(dim=1, keepdim=True)
    assert torch.allclose(torch.einsum("nik,nk->ni", exact, true).square().sum(1), torch.ones(200).double())
    assert torch.allclose(exact.square().sum((1, 2)), torch.ones(200).double())  # and no other direction


def test_local_normals_in_other_directions_stay(generator):
    """A cylinder thin along the fourth axis: one equation, and one direction in which nothing spreads."""
    angle = 6.3 * torch.rand(3000, dtype=torch.float64, generator=generator)
    rest = torch.rand(3000, 2, dtype=torch.float64, generator=generator) * torch.tensor([0.5, 1e-3])
    points = torch.cat([angle.cos()[:, None], angle.sin()[:, None], rest], dim=1)
    ideal = vanishing_ideal(points[:, :3])
    assert len(ideal) == 1
    whole = vanishing_ideal(points)
    found = normals(points[:100], points, ideal=whole)
    assert (found.norm(dim=2).sum(1) > 1.9).double().mean() > 0.9
    assert (torch.linalg.matrix_norm(found[:, :, 3:]).square() > 0.9).double().mean() > 0.9


@pytest.mark.parametrize("exact", [1e-5, 0.0])
def test_spectral_finds_the_algebra_of_the_cone_exactly(exact, generator):
    estimator = Spectral(exact=exact, progress=False, evaluation_steps=20).fit(cone(3000, generator))
    lorentz = catalogue.union(catalogue.lorentz(), catalogue.scaling(4))
    assert estimator.algebra_.n_generators == 7
    error = compare.subspace_error(estimator.algebra_, lorentz)
    assert error < 1e-6 if exact else 1e-4 < error < 0.1
    assert len(estimator.equations_) == (1 if exact else 0)


def test_one_rotation_of_a_ring(generator):
    angle = 6.3 * torch.rand(2000, dtype=torch.float64, generator=generator)
    ring = torch.stack([2 * angle.cos(), angle.sin()], dim=1)
    estimator = Spectral(progress=False, evaluation_steps=20).fit(ring)
    squeezed = torch.tensor([[[0.0, -2.0], [0.5, 0.0]]], dtype=torch.float64)
    assert cosine(estimator.algebra_.basis, squeezed) > 1 - 1e-9
