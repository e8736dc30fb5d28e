"""Two attracting bodies: orbits with a rotation symmetry to discover, and to forecast with."""

from tasks.two_body.data import COLUMNS, TwoBodyData, load_orbits, pairs, save_orbits, windows
from tasks.two_body.simulator import Kepler, angular_momentum, energy, simulate, simulated_orbits

__all__ = [
    "COLUMNS",
    "Kepler",
    "TwoBodyData",
    "angular_momentum",
    "energy",
    "load_orbits",
    "pairs",
    "save_orbits",
    "simulate",
    "simulated_orbits",
    "windows",
]
