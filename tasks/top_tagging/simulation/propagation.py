"""Propagation to the calorimeter: helices of charged particles in a magnetic field, straight lines of the others."""

from dataclasses import dataclass

import numpy as np

from tasks.top_tagging.simulation.pythia import Events

__all__ = ["Propagated", "azimuth", "pseudorapidity", "transverse"]

LIGHT = 0.299792458  # pT [GeV] = LIGHT * charge [e] * field [T] * radius [m]


def transverse(vector: np.ndarray) -> np.ndarray:
    """Length across the beam of (..., x, y, z)."""
    return np.hypot(vector[..., -3], vector[..., -2])


def pseudorapidity(vector: np.ndarray) -> np.ndarray:
    """arsinh(z / length across the beam) of (..., x, y, z); NaN for the zero vector."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.arcsinh(vector[..., -1] / transverse(vector))


def azimuth(vector: np.ndarray) -> np.ndarray:
    """Angle [rad] about the beam of (..., x, y, z), in (-pi, pi]."""
    return np.arctan2(vector[..., -2], vector[..., -3])


@dataclass(frozen=True, kw_only=True, eq=False)
class Propagated:
    """Where particles leave the cylinder of the tracker.

    Args:
        position: on the cylinder's surface [m], (m, 3).
        inside: whether a particle begins inside the cylinder and has transverse momentum, boolean (m,).
    """

    position: np.ndarray
    inside: np.ndarray

    @classmethod
    def of(cls, events: Events, field: float, radius: float, half_length: float) -> "Propagated":
        """Follow every particle from its vertex to the cylinder of ``radius`` and ``half_length`` [m]; field in T."""
        vertex, momentum = events.vertex, events.p4[:, 1:]
        pt = transverse(momentum)
        inside = (transverse(vertex) < radius) & (np.abs(vertex[:, 2]) < half_length) & (pt > 0)
        pt = np.where(inside, pt, 1.0)
        vertex = np.where(inside[:, None], vertex, 0.0)
        slope = momentum[:, 2] / pt
        to_end = _divide(half_length * np.sign(slope) - vertex[:, 2], slope)
        bending = -LIGHT * field * events.charge / pt  # signed curvature [1/m], counter-clockwise positive
        direction = azimuth(momentum)
        straight, bent = _straight(vertex, direction, radius), _bent(vertex, direction, bending, radius)
        to_side = np.where(bending == 0, straight, bent)
        path = np.minimum(to_side, to_end)  # [m], across the beam
        across = _advance(vertex[:, :2], direction, bending, path)
        return cls(position=np.column_stack([across, vertex[:, 2] + slope * path]), inside=inside)


def _straight(vertex: np.ndarray, direction: np.ndarray, radius: float) -> np.ndarray:
    """Path [m] across the beam to the side wall along a straight line."""
    along = vertex[:, 0] * np.cos(direction) + vertex[:, 1] * np.sin(direction)
    return np.sqrt(np.maximum(along**2 + radius**2 - transverse(vertex) ** 2, 0)) - along


def _bent(vertex: np.ndarray, direction: np.ndarray, bending: np.ndarray, radius: float) -> np.ndarray:
    """Path [m] across the beam to the side wall along a circle; infinite where the circle stays inside.

    The angle of the particle about the circle's centre, seen from the line beam - centre, has the cosine
    (radius^2 - d^2 - r^2) / (2 d r) at the wall, with r the circle's radius and d its centre's distance.
    """
    sense, r = np.sign(bending), 1 / np.maximum(np.abs(bending), 1e-12)
    outward = direction - sense * np.pi / 2  # from the centre to the particle
    centre = vertex[:, :2] - r[:, None] * np.column_stack([np.cos(outward), np.sin(outward)])
    d = np.maximum(np.hypot(*centre.T), 1e-12)
    cosine = (radius**2 - d**2 - r**2) / (2 * d * r)
    wall = np.arccos(np.clip(cosine, -1, 1))
    start = sense * (outward - np.arctan2(centre[:, 1], centre[:, 0]))
    return np.where(np.abs(cosine) < 1, r * np.mod(-wall - start, 2 * np.pi), np.inf)


def _advance(start: np.ndarray, direction: np.ndarray, bending: np.ndarray, path: np.ndarray) -> np.ndarray:
    """Points (m, 2) after ``path`` along circles: a chord of sin(a) / a times the path, rotated by half the angle."""
    half = bending * path / 2
    chord = path * np.sinc(half / np.pi)
    heading = direction + half
    return start + chord[:, None] * np.column_stack([np.cos(heading), np.sin(heading)])


def _divide(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.divide(a, b, out=np.full_like(a, np.inf), where=b != 0)
