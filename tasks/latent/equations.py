"""Equations of motion of the latent vectors, found freely and within the fields that a symmetry allows."""

from typing import Any

import torch
from torch import Tensor

from discover.equations.forward_mode import push
from discover.equations.sindy import SINDy
from discover.latent.symmetry import LatentSymmetry
from tasks.latent.data import Trajectories

__all__ = ["encode_all", "find_equation", "latent_motion"]

MOST = 20_000  # points that an equation is fitted to
CHUNK = 512


@torch.no_grad()
def latent_motion(symmetry: LatentSymmetry, data: Trajectories, most: int = MOST) -> tuple[Tensor, Tensor]:
    """z and dz/dt (n, k) of at most ``most`` evenly chosen snapshots: the encoder's derivative along the known rates.

    Raises ``ValueError`` for data without rates.
    """
    if data.rates is None:
        raise ValueError(f"an equation of motion needs rates of change; the data of {data.name} have none")
    states, rates = data.states.float().flatten(0, 1), data.rates.float().flatten(0, 1)
    chosen = torch.arange(0, len(states), -(-len(states) // most))
    pairs = [push(symmetry.encode, states[i], rates[i]) for i in chosen.split(CHUNK)]
    return torch.cat([z for z, _ in pairs]), torch.cat([dz for _, dz in pairs])


@torch.no_grad()
def encode_all(symmetry: LatentSymmetry, states: Tensor) -> Tensor:
    """z (n, k) of snapshots (n, *shape)."""
    return torch.cat([symmetry.encode(part.float()) for part in states.split(CHUNK)])


def find_equation(
    z: Tensor, rates: Tensor, *, degree: int, symmetry: LatentSymmetry | None = None, **settings: Any
) -> SINDy:
    """SINDy on points and rates (n, k); with ``symmetry``, within the fields that commute with its group.

    Raises ``ValueError`` where the data do not move.
    """
    algebra = None if symmetry is None else symmetry.algebra
    sindy = SINDy(degree=degree, symmetry=algebra, pooled=True, **settings)
    return sindy.fit(z, rates=rates, time_unit="time")
