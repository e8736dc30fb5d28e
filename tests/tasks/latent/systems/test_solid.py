import math

import pytest
import torch

from equivariant import catalogue
from tasks.latent.systems.solid import Solid, random_rotations, rotating_solids

SMALL = Solid(size=16)


def about_line_of_sight(angle):
    """A rotation about z, counter-clockwise as seen."""
    c, s = math.cos(angle), math.sin(angle)
    return torch.tensor([[c, -s, 0], [s, c, 0], [0, 0, 1]], dtype=torch.float64)


def test_a_rotation_about_the_line_of_sight_rotates_the_picture(generator):
    rotations = random_rotations(5, generator)
    for quarters in (1, 2, 3):
        turned = SMALL.render(about_line_of_sight(quarters * math.pi / 2) @ rotations)
        assert (turned - SMALL.render(rotations).rot90(quarters, (-2, -1))).abs().max() < 1e-3
        assert (turned - SMALL.render(rotations)).abs().max() > 0.1


def test_a_turned_solid_is_the_solid_of_turned_centres(generator):
    first, second = random_rotations(2, generator)
    turned = Solid(size=16)
    turned.__dict__["centres"] = SMALL.centres @ first.float().mT
    assert (turned.render(second) - SMALL.render(second @ first)).abs().max() < 1e-3


def test_a_picture_changes_smoothly_with_the_rotation(generator):
    rotations = random_rotations(20, generator)
    moves = [
        (SMALL.render(about_line_of_sight(angle) @ rotations) - SMALL.render(rotations)).norm()
        for angle in (1e-3, 2e-3)
    ]
    assert moves[1] / moves[0] == pytest.approx(2, rel=0.05)


def test_a_picture_determines_the_orientation(generator):
    rotations = random_rotations(400, generator)
    pictures = SMALL.render(rotations).flatten(1)
    cosine = (torch.einsum("iab,jab->ij", rotations, rotations) - 1) / 2
    apart = torch.cdist(pictures, pictures)[cosine < math.cos(0.5)]
    assert apart.min() > 0.2 * apart.median()
    flat = Solid(size=16, depth=0.0).render(rotations).flatten(1)
    assert (flat - pictures).abs().max() > 0.1


def test_rotations_are_rotations_and_uniform(generator):
    rotations = random_rotations(4000, generator)
    assert (rotations @ rotations.mT - torch.eye(3)).abs().max() < 1e-12
    assert torch.linalg.det(rotations).min() > 0
    assert rotations.mean(0).abs().max() < 0.05
    assert (torch.diagonal(rotations, dim1=1, dim2=2).sum(1).square().mean() - 1).abs() < 0.1


def test_coefficients_give_the_element_between_two_pictures():
    data = rotating_solids(6, steps=3, seed=2, solid=SMALL)
    assert data.states.shape == (6, 3, 1, 16, 16)
    assert data.coefficients is not None
    assert data.coefficients.norm(dim=-1).max() <= math.pi / 2
    start = random_rotations(6, torch.Generator().manual_seed(2))
    elements = catalogue.rotation(3).element(data.coefficients[:, 0].to(catalogue.rotation(3).basis.dtype))
    assert (SMALL.render(start) - data.states[:, 0]).abs().max() < 1e-6
    assert (SMALL.render(elements.double() @ start) - data.states[:, 1]).abs().max() < 1e-3
    assert data.states.min() >= 0
    assert data.states.max() <= 1


def test_the_same_seed_gives_the_same_pictures():
    first, again, other = (rotating_solids(3, seed=seed, solid=SMALL).digest for seed in (0, 0, 1))
    assert first == again != other


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: Solid(size=1), "size"),
        (lambda: SMALL.render(torch.eye(2)), r"3, 3"),
        (lambda: rotating_solids(0), "at least 1"),
    ],
)
def test_settings_out_of_range_are_refused(call, says):
    with pytest.raises(ValueError, match=says):
        call()
