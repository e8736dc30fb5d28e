"""Tracks of charged particles: which are found, and how well their momenta are measured."""

from dataclasses import dataclass

import numpy as np

from tasks.top_tagging.simulation.propagation import transverse
from tasks.top_tagging.simulation.pythia import Events

__all__ = ["Tracks", "log_normal"]

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


@dataclass(frozen=True, kw_only=True, eq=False)
class Tracks:
    """k tracks.

    Args:
        row: number of the particle (k,).
        p4: (E, px, py, pz) as measured [GeV], (k, 4).
        sigma: standard deviation of E [GeV], (k,).
    """

    row: np.ndarray
    p4: np.ndarray
    sigma: np.ndarray

    @classmethod
    def find(cls, events: Events, eta: np.ndarray, inside: np.ndarray, rng: np.random.Generator) -> "Tracks":
        """Tracks of particles that reach the calorimeter at |eta| (m,) and begin ``inside`` (m,) the tracker.

        pT is drawn log-normally about the true one; direction and mass are kept.
        """
        row = np.flatnonzero(_found(events, eta, rng) & inside)
        true, pt = events.p4[row], transverse(events.p4[row])
        resolution = _resolution(np.abs(events.pdg[row]) == MUON, pt, eta[row])
        p3 = true[:, 1:] * (log_normal(pt, resolution * pt, rng) / pt)[:, None]
        mass2 = np.maximum(true[:, 0] ** 2 - np.square(true[:, 1:]).sum(axis=1), 0)
        energy = np.sqrt(mass2 + np.square(p3).sum(axis=1))
        return cls(row=row, p4=np.column_stack([energy, p3]), sigma=resolution * energy)


def log_normal(mean: np.ndarray, sigma: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """One draw for each positive mean, of that mean and deviation; 0 stays 0."""
    safe = np.where(mean > 0, mean, 1.0)
    width = np.sqrt(np.log1p((sigma / safe) ** 2))
    drawn = safe * np.exp(width * rng.standard_normal(len(mean)) - width**2 / 2)
    return np.where(mean > 0, drawn, 0.0)


def _found(events: Events, eta: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    number, pt = np.abs(events.pdg), transverse(events.p4)
    electron, muon = number == ELECTRON, number == MUON
    efficiency = np.zeros(len(pt))
    for name, mine in (("hadron", ~electron & ~muon), ("electron", electron), ("muon", muon)):
        for least, central, forward in EFFICIENCY[name]:
            efficiency = np.where(mine & (pt > least), np.where(eta <= 1.5, central, forward), efficiency)
    return (events.charge != 0) & (eta <= 2.5) & (rng.random(len(pt)) < efficiency)


def _resolution(muon: np.ndarray, pt: np.ndarray, eta: np.ndarray) -> np.ndarray:
    """Relative error of pT."""
    relative = []
    for name in ("hadron", "muon"):
        limits, a, b = np.array(RESOLUTION[name]).T
        row = np.minimum(np.searchsorted(limits, eta), len(limits) - 1)
        relative.append(np.hypot(a[row], b[row] * pt))
    return np.where(muon, relative[1], relative[0])
