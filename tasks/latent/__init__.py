"""Symmetry in a learned latent space: trajectories of many shapes, and the study made of them."""

from tasks.latent.data import Trajectories

__all__ = ["Trajectories"]
