"""A fast detector: tracks bent in a field, a calorimeter of towers, and energy flow (tracks + excess of towers).

The numbers are facts of the ATLAS card of Delphes of about 2015 (de Favereau et al. 2014, arXiv 1307.6346),
with towers of 5 degrees; the code is a stand-in written for arrays of many events at once. A tower may give two
objects at one place, its electromagnetic and its hadronic excess, as that version of Delphes does.
"""

from dataclasses import dataclass

import numpy as np

from tasks.top_tagging.simulation.calorimeter import Towers
from tasks.top_tagging.simulation.propagation import Propagated, azimuth, pseudorapidity, transverse
from tasks.top_tagging.simulation.pythia import Events
from tasks.top_tagging.simulation.tracking import Tracks, log_normal

__all__ = ["Detector", "Objects"]

Table = tuple[tuple[float, ...], ...]

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
    """A detector in which events are simulated.

    Args:
        field: along the beam [T].
        radius: of the tracker [m].
        half_length: of the tracker [m].
        ecal_minimum: least electromagnetic energy [GeV] that a tower reports, and that its excess must have.
        hcal_minimum: least hadronic energy [GeV], in the same way.
        significance: the same in units of the tower's resolution.
    """

    field: float = 2.0
    radius: float = 1.15
    half_length: float = 3.51
    ecal_minimum: float = 0.5
    hcal_minimum: float = 1.0
    significance: float = 1.0

    def simulate(self, events: Events, rng: np.random.Generator) -> Objects:
        """Energy-flow objects of ``events``: tracks, and the excess of each tower over its tracks."""
        propagated = Propagated.of(events, self.field, self.radius, self.half_length)
        eta = np.abs(pseudorapidity(propagated.position))  # tracking depends on where a particle arrives
        tracks = Tracks.find(events, eta, propagated.inside, rng)
        towers = Towers.fill(propagated, events, tracks)
        ecal = self._excess(towers, 0, ECAL, self.ecal_minimum, rng)
        hcal = self._excess(towers, 1, HCAL, self.hcal_minimum, rng)
        return _energy_flow(events.event[tracks.row], tracks.p4, towers, ecal, hcal, rng)

    def _excess(
        self, towers: Towers, part: int, table: Table, least: float, rng: np.random.Generator
    ) -> np.ndarray:
        """Energy [GeV] of each tower, smeared, less that of its tracks; 0 where it is too small to report."""
        deposit = towers.deposit[part]
        smeared = log_normal(deposit, _sigma(table, towers.eta, deposit), rng)
        reported = self._reported(smeared, table, towers.eta, least)
        return self._reported(reported - towers.tracked[part], table, towers.eta, least)

    def _reported(self, energy: np.ndarray, table: Table, eta: np.ndarray, least: float) -> np.ndarray:
        floor = np.maximum(least, self.significance * _sigma(table, eta, np.maximum(energy, 0)))
        return np.where(energy >= floor, energy, 0.0)


def _sigma(table: Table, eta: np.ndarray, energy: np.ndarray) -> np.ndarray:
    limits, constant, stochastic, noise = np.array(table).T
    row = np.minimum(np.searchsorted(limits, np.abs(eta)), len(limits) - 1)
    return np.sqrt((constant[row] * energy) ** 2 + stochastic[row] ** 2 * energy + noise[row] ** 2)


def _energy_flow(
    event: np.ndarray,
    tracks: np.ndarray,
    towers: Towers,
    ecal: np.ndarray,
    hcal: np.ndarray,
    rng: np.random.Generator,
) -> Objects:
    """Tracks and, at one place drawn in each tower, its electromagnetic and its hadronic excess."""
    eta, phi = towers.sample_position(rng)
    rows = np.concatenate([np.flatnonzero(ecal), np.flatnonzero(hcal)])
    pt = np.concatenate([ecal[ecal > 0], hcal[hcal > 0]]) / np.cosh(eta[rows])
    return _massless(
        np.concatenate([event, towers.event[rows]]),
        np.concatenate([transverse(tracks), pt]),
        np.concatenate([pseudorapidity(tracks), eta[rows]]),
        np.concatenate([azimuth(tracks), phi[rows]]),
    )


def _massless(event: np.ndarray, pt: np.ndarray, eta: np.ndarray, phi: np.ndarray) -> Objects:
    """Objects sorted by event, from pT [GeV], eta and phi rounded to float32."""
    order = np.argsort(event, kind="stable")
    pt, eta, phi = (x.astype(np.float32).astype(np.float64)[order] for x in (pt, eta, phi))
    p3 = np.column_stack([pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)])
    return Objects(event=event[order], p3=p3.astype(np.float32))
