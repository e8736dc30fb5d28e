"""The detector on particles made by hand: no generator is needed."""

import dataclasses
import math

import numpy as np
import pytest
from conftest import EXACT

from tasks.top_tagging.simulation.calorimeter import EDGES, WIDTH, Towers
from tasks.top_tagging.simulation.detector import ECAL, HCAL, Detector, _sigma
from tasks.top_tagging.simulation.propagation import LIGHT, Propagated, azimuth, pseudorapidity, transverse
from tasks.top_tagging.simulation.pythia import Events, _decays
from tasks.top_tagging.simulation.tracking import Tracks, log_normal

SHARP = Detector(significance=0.0, ecal_minimum=0.0, hcal_minimum=0.0)


def made(pt, eta, phi, pdg, charge, vertex=None, event=None) -> Events:
    """Massless particles as events; one event unless told otherwise."""
    pt, eta, phi, pdg, charge = np.broadcast_arrays(*map(np.atleast_1d, (pt, eta, phi, pdg, charge)))
    p3 = np.column_stack([pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)])
    event = np.zeros(len(pt), dtype=int) if event is None else event
    return Events(
        n=int(event.max()) + 1,
        event=event,
        pdg=pdg,
        charge=charge.astype(float),
        p4=np.column_stack([np.linalg.norm(p3, axis=1), p3]),
        vertex=np.zeros((len(pt), 3)) if vertex is None else np.asarray(vertex, dtype=float),
        top_event=np.zeros(0, dtype=int),
        partons=np.zeros((0, 4, 4)),
    )


def crowd(n=400, seed=0) -> Events:
    """Random particles of three events, of all kinds, some of them made off the beam."""
    random = np.random.default_rng(seed)
    kind = random.integers(0, 5, n)
    pdg = np.array([211, -211, 22, 130, 13])[kind]
    vertex = random.normal(0, 0.1, (n, 3)) * (random.random((n, 1)) < 0.3)
    return made(
        random.exponential(5, n) + 0.2,
        random.normal(0, 1, n),
        random.uniform(-math.pi, math.pi, n),
        pdg,
        np.array([1, -1, 0, 0, -1])[kind],
        vertex,
        np.sort(random.integers(0, 3, n)),
    )


def flown(events) -> Propagated:
    return Propagated.of(events, 2.0, 1.15, 3.51)


def test_neutral_particles_fly_straight():
    events = made(5.0, [0.0, 0.7, 3.0], [0.3, -2.0, 3.0], 22, 0)
    position = flown(events).position
    assert pseudorapidity(position) == pytest.approx([0, 0.7, 3.0])
    assert azimuth(position) == pytest.approx([0.3, -2.0, 3.0])
    assert transverse(position[:2]) == pytest.approx(1.15)
    assert position[2, 2] == pytest.approx(3.51)


def test_charged_particles_turn_by_the_angle_of_the_chord():
    """From the beam to radius r, a track turns by asin(r / 2 R), R = pT / (0.3 B): positive ones clockwise."""
    pt, charge = np.array([1.0, 1.0, 20.0, 300.0]), np.array([1, -1, 1, -1])
    position = flown(made(pt, 0.2, 0.5, 211, charge)).position
    turned = np.arcsin(1.15 * LIGHT * 2.0 / (2 * pt))
    assert transverse(position) == pytest.approx(1.15)
    assert azimuth(position) == pytest.approx(0.5 - charge * turned)
    radius = pt / (LIGHT * 2.0)
    assert position[:, 2] == pytest.approx(np.sinh(0.2) * radius * 2 * turned)


def test_soft_tracks_curl_to_the_end():
    position = flown(made(0.2, 0.1, 0.0, 211, 1)).position
    assert position[0, 2] == pytest.approx(3.51)
    assert transverse(position)[0] <= 2 * 0.2 / (LIGHT * 2.0)


@pytest.mark.parametrize("charge", [-1, 0, 1])
def test_the_path_from_any_vertex_is_that_of_small_steps(charge):
    random = np.random.default_rng(1)
    vertex = random.uniform(-0.6, 0.6, (20, 3))
    events = made(
        random.uniform(0.4, 3, 20), random.normal(0, 1.5, 20), random.uniform(-3, 3, 20), 211, charge, vertex
    )
    position, momentum, dt = vertex.copy(), events.p4[:, 1:].copy(), 2e-4
    pt, arrived = transverse(momentum), np.zeros((20, 3))
    moving = np.ones(20, dtype=bool)
    for _ in range(120_000):
        angle = -LIGHT * 2.0 * charge / pt * dt
        half = azimuth(momentum) + angle / 2
        position = position + dt * np.column_stack([np.cos(half), np.sin(half), momentum[:, 2] / pt])
        momentum[:, :2] = pt[:, None] * np.column_stack([np.cos(half + angle / 2), np.sin(half + angle / 2)])
        out = moving & ((transverse(position) >= 1.15) | (np.abs(position[:, 2]) >= 3.51))
        arrived[out], moving = position[out], moving & ~out
        if not moving.any():
            break
    assert not moving.any()
    one_step = dt * np.cosh(pseudorapidity(events.p4))
    assert (np.linalg.norm(flown(events).position - arrived, axis=1) < 2 * one_step + 1e-3).all()


def test_particles_made_outside_are_not_seen():
    events = made(50.0, 0.0, 0.0, 130, 0, [[1.2, 0, 0]])
    assert not flown(events).inside.any()
    assert len(SHARP.simulate(events, np.random.default_rng(0)).p3) == 0


def towers_of(events, tracked=()):
    tracks = Tracks(
        row=np.array(tracked, dtype=int), p4=events.p4[list(tracked)], sigma=np.ones(len(tracked))
    )
    return Towers.fill(flown(events), events, tracks)


def test_towers_hold_the_energy_by_kind():
    events = made([10, 20, 30, 40, 50], 0.05, 0.01, [22, 211, 310, 13, -11], 0)
    towers = towers_of(events, [1, 4])
    energy = events.p4[:, 0]
    assert len(towers.event) == 1
    assert towers.deposit[0] == pytest.approx(energy[0] + 0.3 * energy[2] + energy[4])
    assert towers.deposit[1] == pytest.approx(energy[1] + 0.7 * energy[2])
    assert towers.tracked[:, 0] == pytest.approx([energy[4], energy[1]])


def test_events_do_not_share_towers():
    events = made([10.0, 20.0], 0.05, 0.01, 22, 0, event=np.array([0, 1]))
    assert towers_of(events).event.tolist() == [0, 1]


def test_a_particle_lies_in_its_tower():
    random = np.random.default_rng(3)
    events = made(5.0, random.uniform(-4.8, 4.8, 300), random.uniform(-3.14, 3.14, 300), 22, 0,
                  event=np.arange(300))  # fmt: skip
    towers = towers_of(events)
    eta, phi = pseudorapidity(events.p4), azimuth(events.p4)
    assert (EDGES[towers.row] <= eta).all()
    assert (eta <= EDGES[towers.row + 1]).all()
    width = WIDTH * np.where(np.abs(towers.eta) > 2.5, 2, 1)
    assert (towers.sector * WIDTH - math.pi <= phi + EXACT).all()
    assert (phi <= towers.sector * WIDTH - math.pi + width + EXACT).all()
    spot = towers.sample_position(random)
    assert (np.abs(spot[0] - eta) <= np.diff(EDGES)[towers.row]).all()
    assert (np.abs(spot[1] - phi) <= width).all()


def test_forward_towers_are_twice_as_wide():
    for eta, towers in ((1.0, 2), (-3.0, 1)):
        assert len(towers_of(made(5.0, eta, [0.01, 0.01 + WIDTH], 22, 0)).event) == towers


def test_far_forward_is_not_seen():
    assert len(towers_of(made(5.0, [5.0, -5.0], 0.1, 22, 0)).event) == 0


def test_smearing_keeps_the_mean_and_has_its_width():
    drawn = log_normal(np.full(200_000, 20.0), np.full(200_000, 5.0), np.random.default_rng(0))
    assert drawn.mean() == pytest.approx(20, rel=0.005)
    assert drawn.std() == pytest.approx(5, rel=0.02)
    assert (log_normal(np.zeros(3), np.ones(3), np.random.default_rng(0)) == 0).all()


def test_resolutions_by_hand():
    at = np.array([0.0, 2.0, 4.0])
    assert _sigma(ECAL, at, np.full(3, 100.0)) == pytest.approx([1.0243, 1.0243, 4.5139], abs=1e-3)
    assert _sigma(HCAL, -at, np.full(3, 100.0)) == pytest.approx([6.2242, 8.6512, 13.7381], abs=1e-3)


@pytest.mark.parametrize(
    ("pdg", "pt", "eta", "chance"),
    [(211, 0.5, 0, 0.70), (211, 5, 1, 0.95), (-321, 5, 2, 0.85), (11, 0.5, 2, 0.50), (11, 200, 0, 0.99),
     (13, 5, 1, 0.99), (13, 0.5, 2, 0.70), (211, 0.05, 0, 0.0), (211, 5, 2.6, 0.0)],
)  # fmt: skip
def test_tracking_efficiency(pdg, pt, eta, chance):
    n = 20_000
    events = made(np.full(n, float(pt)), 0.0, 0.0, pdg, 1)
    found = Tracks.find(events, np.full(n, float(eta)), np.ones(n, dtype=bool), np.random.default_rng(0))
    assert len(found.row) / n == pytest.approx(chance, abs=4 * math.sqrt(0.25 / n))


def test_tracks_are_smeared_by_their_resolution():
    events = made(np.full(20_000, 100.0), 0.3, 0.0, 211, 1)
    eta, inside = np.full(20_000, 0.3), np.ones(20_000, dtype=bool)
    tracks = Tracks.find(events, eta, inside, np.random.default_rng(0))
    pt = transverse(tracks.p4)
    assert pt.std() / 100 == pytest.approx(math.hypot(0.06, 0.13), rel=0.05)
    assert pt.mean() == pytest.approx(100, rel=0.01)
    assert pseudorapidity(tracks.p4) == pytest.approx(0.3)


def test_a_photon_is_seen_once_and_massless_about_where_it_is():
    seen = Detector().simulate(made(50.0, 0.55, 1.0, 22, 0), np.random.default_rng(0))
    assert seen.p3.dtype == np.float32
    assert len(seen.p3) == 1
    assert transverse(seen.p3)[0] == pytest.approx(50, rel=0.1)
    assert abs(pseudorapidity(seen.p3)[0] - 0.55) <= 0.1
    assert abs(azimuth(seen.p3)[0] - 1.0) <= WIDTH


def test_a_charged_pion_is_mostly_one_track_with_its_direction():
    events = made(np.full(400, 10.0), 0.55, 1.0, 211, 1, event=np.arange(400))
    seen = Detector().simulate(events, np.random.default_rng(0))
    tracks = np.isclose(azimuth(seen.p3), 1.0, atol=1e-6)
    assert 0.9 < tracks.sum() / 400 < 0.98
    assert len(seen.p3) < 1.6 * 400


def test_towers_report_only_what_stands_out():
    photons = made(np.full(500, 0.4), 0.5, 0.0, 22, 0, event=np.arange(500))
    assert len(Detector().simulate(photons, np.random.default_rng(0)).p3) < 0.2 * 500
    hadrons = made(np.full(500, 1.2), 0.5, 0.0, 130, 0, event=np.arange(500))
    energy = np.linalg.norm(Detector().simulate(hadrons, np.random.default_rng(0)).p3, axis=1)
    assert (energy > 1.59).all()


def test_energy_is_kept_on_the_average():
    events = crowd(4000)
    calm = made(events.p4[:, 0] * 0 + 30.0, 0.3, azimuth(events.p4), 22, 0, event=events.event)
    seen = Detector().simulate(calm, np.random.default_rng(0))
    total = np.linalg.norm(seen.p3.astype(float), axis=1).sum()
    assert total == pytest.approx(calm.p4[:, 0].sum(), rel=0.01)


@pytest.mark.parametrize("sectors", [2, 26])
def test_a_turn_by_whole_towers_turns_what_is_seen(sectors):
    """10 degrees are one tower forward and two in the middle; the same draws must then fall on the same towers."""
    events, angle = crowd(), sectors * WIDTH
    turn = np.array(
        [[math.cos(angle), -math.sin(angle), 0], [math.sin(angle), math.cos(angle), 0], [0, 0, 1]]
    )
    turned = dataclasses.replace(
        events,
        p4=np.column_stack([events.p4[:, 0], events.p4[:, 1:] @ turn.T]),
        vertex=events.vertex @ turn.T,
    )
    one, two = (Detector().simulate(e, np.random.default_rng(5)) for e in (events, turned))
    assert np.array_equal(one.event, two.event)
    assert np.abs(one.p3 @ turn.T - two.p3).max() < 1e-5 * np.abs(one.p3).max()


def test_events_come_out_in_order():
    seen = Detector().simulate(crowd(), np.random.default_rng(0))
    assert (np.diff(seen.event) >= 0).all()


def test_decays_are_followed_through_copies():
    """t -> t g -> (b W) with a W that radiates a photon before it decays; a second top is leptonic."""
    #                     0  1  2   3  4   5   6  7   8  9 10  11 12  13   14
    pdg = np.array([6, 6, 21, 24, 5, 24, 22, 2, -1, 6, 5, 24, -11, 12, 11])
    daughters = np.zeros((15, 2), dtype=int) + 14
    daughters[[0, 1, 3, 5, 9, 11]] = [[1, 2], [3, 4], [5, 6], [7, 8], [10, 11], [12, 13]]
    tops, partons = _decays(pdg, daughters)
    assert tops.tolist() == [1]
    assert partons.tolist() == [[1, 4, 7, 8]]
