import math

import pytest
import torch
from conftest import EXACT

from equivariant import LieAlgebra, catalogue
from tasks.two_body import COLUMNS, Kepler, angular_momentum, energy, load_orbits, simulate, simulated_orbits
from tasks.two_body.simulator import kepler_states, rotation_drift

FAMILIES = {"circles": Kepler(), "ellipses": Kepler.ellipses()}


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES.keys())
def test_energy_and_angular_momentum_stay(family, generator):
    orbits = simulate(family.draw(20, (-math.pi, math.pi), generator))
    for conserved in (energy, angular_momentum):
        values = conserved(orbits)
        assert (values / values[:, :1] - 1).abs().max() < 1e-7


def test_the_centre_of_mass_is_at_rest_at_the_origin(generator):
    orbits = simulate(Kepler.ellipses().draw(10, (0, 1), generator))
    assert orbits[..., :4].add(orbits[..., 4:]).abs().max() < EXACT


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES.keys())
def test_the_motion_is_equivariant_under_rotations_and_nothing_else_tried(family, generator):
    states = family.draw(10, (-math.pi, 0), generator)
    turn = catalogue.by_name("4*so(2)").element(torch.tensor([1.0]).double())
    assert rotation_drift(simulate, states, turn) < 1e-8
    assert rotation_drift(simulate, states, 1.1 * torch.eye(8).double()) > 1e-3
    only_positions = torch.block_diag(turn[:2, :2], torch.eye(2), turn[:2, :2], torch.eye(2)).double()
    assert rotation_drift(simulate, states, only_positions) > 1e-3


def test_a_circle_returns_after_keplers_period():
    one = torch.ones(1, dtype=torch.float64)
    state = kepler_states(4 * one, 0 * one, 0 * one, 0.3 * one)
    period = 2 * math.pi * math.sqrt(4**3 / 2)
    orbit = simulate(state, steps=9, time_step=period / 8)
    assert torch.allclose(orbit[:, -1], state, atol=1e-7)
    assert torch.allclose(orbit[:, 4], -state, atol=1e-7)
    assert (orbit[0, :, :2].norm(dim=-1) - 2).abs().max() < 1e-7


def test_an_ellipse_has_its_eccentricity():
    one = torch.ones(1, dtype=torch.float64)
    perihelion = kepler_states(3 * one, 0.4 * one, 0 * one, 0 * one)
    half = math.pi * math.sqrt((3 / 0.6) ** 3 / 2)
    far = simulate(perihelion, steps=2, time_step=half)[0, 1]
    assert 2 * far[:2].norm() == pytest.approx(3 * 1.4 / 0.6, rel=1e-7)


def test_starts_are_where_they_were_asked_for():
    data = simulated_orbits(200, 100)
    angle = torch.atan2(data.train[:, 0, 1], data.train[:, 0, 0])
    assert angle.min() > -math.pi
    assert angle.max() < 0
    assert torch.atan2(data.test[:, 0, 1], data.test[:, 0, 0]).min() > 0
    separation = 2 * data.train[:, 0, :2].norm(dim=-1)
    assert separation.min() >= 3
    assert separation.max() <= 6
    assert separation.max() - separation.min() > 2.8


def test_a_seed_means_the_same_orbits():
    assert simulated_orbits(5, 5, seed=3).digest == simulated_orbits(5, 5, seed=3).digest
    assert simulated_orbits(5, 5, seed=3).digest != simulated_orbits(5, 5, seed=4).digest


def test_the_simulator_retraces_the_published_orbits(published_orbits):
    train = load_orbits(published_orbits).train[:100]
    assert (simulate(train[:, 0]) - train).abs().max() < 1e-4


def test_the_truth_names_the_columns():
    turn = catalogue.by_name("4*so(2)")
    assert LieAlgebra(turn.basis, coordinates=COLUMNS).coordinates[2] == "p1x [momentum]"


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: simulate(torch.zeros(3, 7)), r"\(n, 8\)"),
        (lambda: Kepler(separation=(3.0, 1.0)), "separation"),
        (lambda: Kepler(eccentricity=1.0), "eccentricity"),
    ],
)
def test_what_is_no_orbit_is_refused(call, says):
    with pytest.raises(ValueError, match=says):
        call()
