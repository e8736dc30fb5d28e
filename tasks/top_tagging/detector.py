"""A fast detector: tracks bent in a field, a calorimeter of towers, and energy flow (tracks + excess of towers).

The numbers are facts of the ATLAS card of Delphes of about 2015 (de Favereau et al. 2014, arXiv 1307.6346),
with towers of 5 degrees; the code is a stand-in written for arrays of many events at once.
"""

from dataclasses import dataclass

import numpy as np

from tasks.top_tagging.events import Events
from tasks.top_tagging.flight import Flight, azimuth, pseudorapidity, transverse
from tasks.top_tagging.towers import Towers

__all__ = ["Detector", "Objects"]

Table = tuple[tuple[float, ...], ...]

ELECTRON, MUON = 11, 13

# Tracking efficiency: (lowest pT [GeV], central |eta| < 1.5, forward |eta| < 2.5).
EFFICIENCY = {
    "hadron": ((0.1, 0.70, 0.60), (1.0, 0.95, 0.85)),
    "electron": ((0.1, 0.73, 0.50), (1.0, 0.95, 0.83), (100.0, 0.99, 0.90)),
    "muon": ((0.1, 0.75, 0.70), (1.0, 0.99, 0.98)),
}
# Relative resolution of pT, sqrt(a^2 + (b pT)^2): (|eta| up to, a, b [1/GeV]); electrons as hadrons.
RESOLUTION = {
    "hadron": ((0.5, 0.06, 1.3e-3), (1.5, 0.10, 1.7e-3), (2.5, 0.25, 3.1e-3)),
    "muon": ((0.5, 0.02, 2e-4), (1.5, 0.03, 3e-4), (2.5, 0.06, 6e-4)),
}
# Energy resolution, sigma^2 = (c E)^2 + s^2 E + n^2: (|eta| up to, c, s [GeV^1/2], n [GeV]).
ECAL: Table = ((3.2, 0.0017, 0.101, 0.0), (4.9, 0.0350, 0.285, 0.0))
HCAL: Table = ((1.7, 0.0302, 0.5205, 1.59), (3.2, 0.0500, 0.706, 0.0), (4.9, 0.0942, 1.00, 0.0))


@dataclass(frozen=True, kw_only=True, eq=False)
class Objects:
    """Energy-flow objects (m,): ``event``, rising, and massless momenta ``p3`` (m, 3) [GeV], float32."""

    event: np.ndarray
    p3: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Detector:
    """What is seen of an event.

    Args:
        field: along the beam [T]. radius, half_length: of the tracker [m].
        ecal_minimum, hcal_minimum: least energy [GeV] that a tower reports, and that its excess must have.
        significance: the same in units of the tower's resolution.
    """

    field: float = 2.0
    radius: float = 1.15
    half_length: float = 3.51
    ecal_minimum: float = 0.5
    hcal_minimum: float = 1.0
    significance: float = 1.0

    def see(self, events: Events, random: np.random.Generator) -> Objects:
        """Energy-flow objects of ``events``: tracks, and the excess of each tower over its tracks."""
        flight = Flight.of(events, self.field, self.radius, self.half_length)
        eta = np.abs(
            pseudorapidity(flight.position)
        )  # where a particle arrives decides how well it is tracked
        track = np.flatnonzero(_found(events, eta, random) & flight.inside)
        seen = _smeared(events, track, eta[track], random)
        towers = Towers.hit(flight, events, track, seen)
        ecal = self._excess(towers, 0, ECAL, self.ecal_minimum, random)
        hcal = self._excess(towers, 1, HCAL, self.hcal_minimum, random)
        return _flow(events.event[track], seen, towers, ecal, hcal, random)

    def _excess(
        self, towers: Towers, part: int, table: Table, least: float, random: np.random.Generator
    ) -> np.ndarray:
        """Energy [GeV] of each tower, smeared, less that of its tracks; 0 where it is too small to report."""
        deposit = towers.deposit[part]
        smeared = _log_normal(deposit, _sigma(table, towers.eta, deposit), random)
        reported = self._kept(smeared, table, towers.eta, least)
        return self._kept(reported - towers.tracked[part], table, towers.eta, least)

    def _kept(self, energy: np.ndarray, table: Table, eta: np.ndarray, least: float) -> np.ndarray:
        floor = np.maximum(least, self.significance * _sigma(table, eta, np.maximum(energy, 0)))
        return np.where(energy >= floor, energy, 0.0)


def _found(events: Events, eta: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Which particles leave a track; |eta| (m,) of where they arrive."""
    pt = transverse(events.p4)
    chance = np.zeros(len(pt))
    for name, mine in _species(events).items():
        for least, central, forward in EFFICIENCY[name]:
            chance = np.where(mine & (pt > least), np.where(eta <= 1.5, central, forward), chance)
    return (events.charge != 0) & (eta <= 2.5) & (random.random(len(pt)) < chance)


def _smeared(events: Events, track: np.ndarray, eta: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """(E, px, py, pz) [GeV] of the tracks: pT drawn log-normally about the true one, same direction and mass."""
    p4 = events.p4[track]
    pt = transverse(p4)
    muon = _species(events)["muon"][track]
    sigma = np.where(muon, _resolution("muon", pt, eta), _resolution("hadron", pt, eta)) * pt
    p3 = p4[:, 1:] * (_log_normal(pt, sigma, random) / pt)[:, None]
    mass2 = np.maximum(p4[:, 0] ** 2 - np.square(p4[:, 1:]).sum(axis=1), 0)
    return np.column_stack([np.sqrt(mass2 + np.square(p3).sum(axis=1)), p3])


def _species(events: Events) -> dict[str, np.ndarray]:
    number = np.abs(events.pdg)
    electron, muon = number == ELECTRON, number == MUON
    return {"hadron": ~electron & ~muon, "electron": electron, "muon": muon}


def _resolution(name: str, pt: np.ndarray, eta: np.ndarray) -> np.ndarray:
    limits, a, b = np.array(RESOLUTION[name]).T
    row = np.minimum(np.searchsorted(limits, eta), len(limits) - 1)
    return np.hypot(a[row], b[row] * pt)


def _sigma(table: Table, eta: np.ndarray, energy: np.ndarray) -> np.ndarray:
    limits, constant, stochastic, noise = np.array(table).T
    row = np.minimum(np.searchsorted(limits, np.abs(eta)), len(limits) - 1)
    return np.sqrt((constant[row] * energy) ** 2 + stochastic[row] ** 2 * energy + noise[row] ** 2)


def _log_normal(mean: np.ndarray, sigma: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """One draw for each positive mean, of that mean and deviation; 0 stays 0."""
    safe = np.where(mean > 0, mean, 1.0)
    width = np.sqrt(np.log1p((sigma / safe) ** 2))
    drawn = safe * np.exp(width * random.standard_normal(len(mean)) - width**2 / 2)
    return np.where(mean > 0, drawn, 0.0)


def _flow(
    event: np.ndarray,
    seen: np.ndarray,
    towers: Towers,
    ecal: np.ndarray,
    hcal: np.ndarray,
    random: np.random.Generator,
) -> Objects:
    """Tracks and, at one place drawn in each tower, its electromagnetic and its hadronic excess."""
    eta, phi = towers.somewhere(random)
    rows = np.concatenate([np.flatnonzero(ecal), np.flatnonzero(hcal)])
    pt = np.concatenate([ecal[ecal > 0], hcal[hcal > 0]]) / np.cosh(eta[rows])
    return _massless(
        np.concatenate([event, towers.event[rows]]),
        np.concatenate([transverse(seen), pt]),
        np.concatenate([pseudorapidity(seen), eta[rows]]),
        np.concatenate([azimuth(seen), phi[rows]]),
    )


def _massless(event: np.ndarray, pt: np.ndarray, eta: np.ndarray, phi: np.ndarray) -> Objects:
    """Objects sorted by event, from pT [GeV], eta and phi rounded to float32."""
    order = np.argsort(event, kind="stable")
    pt, eta, phi = (x.astype(np.float32).astype(np.float64)[order] for x in (pt, eta, phi))
    p3 = np.column_stack([pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)])
    return Objects(event=event[order], p3=p3.astype(np.float32))
