"""Signals and pictures on which a known group acts: two bumps on a ring, and a solid that turns in space."""

from tasks.images.bumps import double_bumps
from tasks.images.solid import Solid, rotating_solids

__all__ = ["Solid", "double_bumps", "rotating_solids"]
