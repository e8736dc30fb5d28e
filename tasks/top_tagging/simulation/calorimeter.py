"""Calorimeter towers: 0.1 in eta by 5 degrees, the energy deposited in each and how much of it has a track."""

from dataclasses import dataclass

import numpy as np

from tasks.top_tagging.simulation.propagation import Propagated, azimuth, pseudorapidity
from tasks.top_tagging.simulation.pythia import Events
from tasks.top_tagging.simulation.tracking import Tracks

__all__ = ["Towers"]

FINE = np.round(np.arange(-25, 26) * 0.1, 1)
COARSE = np.array([2.6, 2.8, 3.0, 3.2, 3.5, 3.7, 3.9, 4.1, 4.3, 4.5, 4.7, 4.9])
EDGES = np.concatenate([-COARSE[::-1], FINE, COARSE])
SECTORS = 72  # of 5 degrees; pairs of them, 10 degrees, beyond |eta| = 2.5
WIDTH = 2 * np.pi / SECTORS
ELECTROMAGNETIC = (11, 22, 111)  # electrons, photons and neutral pions: all in the electromagnetic part
MUON = 13  # deposits nothing
MIXED, MIXED_SHARE = (310, 3122), 0.3  # K0s and Lambda: the electromagnetic share, the rest is hadronic


@dataclass(frozen=True, kw_only=True, eq=False)
class Towers:
    """The t towers with energy in them, each event's own, in the order of their first particle.

    Args:
        event: number of the event (t,).
        row: of ``EDGES`` (t,).
        sector: first one in phi (t,).
        deposit: electromagnetic and hadronic energy of all particles [GeV], (2, t).
        tracked: the same of the tracks among them, as measured.
        energy_error: standard deviation of ``tracked`` [GeV], (2, t).
    """

    event: np.ndarray
    row: np.ndarray
    sector: np.ndarray
    deposit: np.ndarray
    tracked: np.ndarray
    energy_error: np.ndarray

    @classmethod
    def fill(cls, propagated: Propagated, events: Events, tracks: Tracks) -> "Towers":
        """Fill towers with the energy of all particles, and with that of the tracks among them."""
        row, sector = _cell(propagated.position)
        counted = propagated.inside & (row >= 0) & (row < len(EDGES) - 1)
        code = (events.event * len(EDGES) + row) * SECTORS + sector
        kept = np.flatnonzero(counted)
        tower, first = _number(code[kept])
        place = np.full(len(code), -1)
        place[kept] = tower
        share = _shares(events.pdg)
        inside = counted[tracks.row]
        seen, energy, sigma = (x[inside] for x in (tracks.row, tracks.p4[:, 0], tracks.sigma))
        first, track_share = kept[first], share[:, seen]
        return cls(
            event=events.event[first],
            row=row[first],
            sector=sector[first],
            deposit=_sum(place[kept], share[:, kept] * events.p4[kept, 0], len(first)),
            tracked=_sum(place[seen], track_share * energy, len(first)),
            energy_error=np.sqrt(_sum(place[seen], (track_share * sigma) ** 2, len(first))),
        )

    @property
    def eta(self) -> np.ndarray:
        """Middle of each tower (t,)."""
        return (EDGES[self.row] + EDGES[self.row + 1]) / 2

    def sample_position(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """A point (eta, phi), each (t,), drawn uniformly in every tower."""
        along, about = rng.random((2, len(self.row)))
        eta = EDGES[self.row] + along * (EDGES[self.row + 1] - EDGES[self.row])
        width = WIDTH * np.where(_is_coarse(self.row), 2, 1)
        return eta, self.sector * WIDTH + about * width - np.pi


def _cell(position: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Row in eta (-1 or the last one outside) and first sector in phi of points (m, 3)."""
    row = np.searchsorted(EDGES, pseudorapidity(position), side="right") - 1
    sector = np.floor((azimuth(position) + np.pi) / WIDTH).astype(int) % SECTORS
    return row, np.where(_is_coarse(row), sector - sector % 2, sector)


def _is_coarse(row: np.ndarray) -> np.ndarray:
    return (row < len(COARSE)) | (row >= len(COARSE) + len(FINE) - 1)


def _number(code: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Number codes in the order of first appearance: the number of each, and where each first is."""
    _, first, place = np.unique(code, return_index=True, return_inverse=True)
    order = np.argsort(first)
    return np.argsort(order)[place], first[order]


def _shares(pdg: np.ndarray) -> np.ndarray:
    """Electromagnetic and hadronic shares (2, m) of a particle's energy."""
    number = np.abs(pdg)
    share = np.where(
        np.isin(number, ELECTROMAGNETIC), 1.0, np.where(np.isin(number, MIXED), MIXED_SHARE, 0.0)
    )
    return np.stack([share, 1 - share]) * (number != MUON)


def _sum(place: np.ndarray, energy: np.ndarray, n: int) -> np.ndarray:
    return np.stack([np.bincount(place, part, n) for part in energy])
