"""From energy-flow objects to jets: anti-kT, the window in pT and eta, and a top with its three partons inside."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from tasks.top_tagging.simulation.detector import Objects
from tasks.top_tagging.simulation.propagation import azimuth, pseudorapidity, transverse
from tasks.top_tagging.simulation.pythia import Events, missing_extra

__all__ = ["Selection"]


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The leading jet of an event, where it is in the window (the reference set's, arXiv 1902.09914).

    Args:
        radius: of anti-kT clustering (Cacciari, Salam, Soyez 2008, arXiv 0802.1189).
        pt_min: least pT of the jet [GeV], excluded.
        pt_max: largest pT of the jet [GeV], excluded.
        eta_max: largest |eta| of the jet, excluded.
        matching: a top jet has the top, its b and both quarks of its W this close to its axis.
        most: constituents of a jet at most, the hardest.
    """

    radius: float = 0.8
    pt_min: float = 550.0
    pt_max: float = 650.0
    eta_max: float = 2.0
    matching: float = 0.8
    most: int = 200

    def jets(self, objects: Objects, events: Events, matched: bool) -> list[np.ndarray]:
        """Constituents (k, 3) [GeV], float32 and hardest first, of each accepted jet; ``matched``: of tops only.

        Raises ``ImportError`` without the extra.
        """
        accepted = []
        for event, members in self._leading(objects, events.n):
            p3 = objects.p3[members]
            axis = p3.sum(axis=0, dtype=np.float64)
            if self._inside(axis) and (not matched or self._holds_top(axis, events, event)):
                accepted.append(p3[np.argsort(-transverse(p3), kind="stable")][: self.most])
        return accepted

    def _leading(self, objects: Objects, n: int) -> Iterator[tuple[int, np.ndarray]]:
        """Events with a jet of at least ``pt_min``, and the rows of objects in their hardest one."""
        awkward, fastjet = _extra()
        p3 = objects.p3.astype(np.float64)
        counts = np.bincount(objects.event, minlength=n)
        columns = {"px": p3[:, 0], "py": p3[:, 1], "pz": p3[:, 2], "E": np.linalg.norm(p3, axis=1)}
        particles = awkward.unflatten(awkward.zip(columns, with_name="Momentum4D"), counts)
        definition = fastjet.JetDefinition(fastjet.antikt_algorithm, self.radius)
        jets = fastjet.ClusterSequence(particles, definition).constituent_index(min_pt=self.pt_min)
        for event, (begin, found) in enumerate(zip(np.cumsum(counts) - counts, jets, strict=True)):
            rows = [begin + awkward.to_numpy(jet) for jet in found]
            if rows:
                yield event, max(rows, key=lambda row: transverse(p3[row].sum(axis=0)))

    def _inside(self, axis: np.ndarray) -> bool:
        return bool(self.pt_min < transverse(axis) < self.pt_max and abs(pseudorapidity(axis)) < self.eta_max)

    def _holds_top(self, axis: np.ndarray, events: Events, event: int) -> bool:
        partons = events.partons[events.top_event == event][..., 1:]  # (tops, 4, 3)
        return bool((_distance(partons, axis) < self.matching).all(axis=1).any())


def _distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """sqrt(d eta^2 + d phi^2) of directions (..., 3)."""
    phi = azimuth(a) - azimuth(b)
    return np.hypot(pseudorapidity(a) - pseudorapidity(b), np.arctan2(np.sin(phi), np.cos(phi)))


def _extra() -> tuple[Any, Any]:
    try:
        import awkward
        import fastjet
        import vector
    except ImportError as error:
        raise missing_extra(error) from None
    vector.register_awkward()
    return awkward, fastjet
