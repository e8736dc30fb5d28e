"""Equations refined on the first part of a trajectory, and how well they foretell all of it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from discover.equations.equation import Equation
from discover.equations.forecast import forecast
from discover.equations.jvp import jvp
from discover.equations.shooting import Candidate, RefinedEquation, refine_increasing_degree
from discover.equations.sindy import SINDy
from discover.latent.symmetry import LatentSymmetry
from tasks.latent.data import Trajectories

__all__ = [
    "FITTED",
    "Foretold",
    "boundary",
    "encode_all",
    "find_equation",
    "foretell",
    "foretell_refined",
    "latent_motion",
    "refine_on_all",
    "refine_on_first_part",
    "stride",
]

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
    pairs = [jvp(symmetry.encode, states[i], rates[i]) for i in chosen.split(CHUNK)]
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


FITTED = 0.8  # part of the trajectory that a refined equation has seen
CHOSEN = 0.6  # part that candidates are refined on to be chosen from
FOLLOWED = 2500  # points of a trajectory that a fit integrates over
SHOWN = 1000  # snapshots that a forecast of order 8 is compared with
METHODS = ("euler", "rk")
Measures = dict[str, float | None]


@dataclass(frozen=True, kw_only=True, eq=False)
class Foretold:
    """``measures`` by name without a prefix, and ``curves`` (T,) by what is drawn: errors |x_hat - x| / |x|."""

    measures: Measures
    curves: dict[str, Tensor]


def foretell(coder: LatentSymmetry, equation: Equation, data: Trajectories) -> Foretold:
    """The whole first trajectory from its first snapshot, by Runge-Kutta and by Euler with a step a snapshot.

    Euler's method multiplies an oscillation of frequency w by sqrt(1 + (w dt)^2) in each step, so by exp(w^2 dt T / 2)
    in all, whatever the equation; Runge-Kutta's errors are the equation's. ``radius_first`` and ``radius_last`` are
    |z|, mean over the first and the last tenth of the trajectory: no closed orbit follows one whose radius changes.
    """
    x, times = _snapshots(data, 1)
    measures: Measures = {}
    curves: dict[str, Tensor] = {}
    for method in METHODS:
        told = forecast(coder, equation, x, times, method=method)
        suffix = "" if method == "rk" else f"_{method}"
        measures |= {
            f"forecast_end{suffix}": float(told.error[-1]),
            f"forecast_largest{suffix}": float(told.error.max()),
            f"forecast_left{suffix}": told.left,
        }
        radius = told.encoded.double().norm(dim=1)
        tenth = max(1, len(radius) // 10)
        measures |= {
            "radius_first": float(radius[:tenth].mean()),
            "radius_last": float(radius[-tenth:].mean()),
        }
        curves |= {
            method: told.error[:: stride(data)].clone(),
            "reconstruction": told.reconstruction_error[:: stride(data)].clone(),
        }
    return Foretold(measures=measures, curves=curves)


def refine_on_first_part(
    coder: LatentSymmetry, candidates: Sequence[Candidate], data: Trajectories
) -> RefinedEquation | None:
    """An equation refined on the first ``FITTED`` of the first trajectory, as the coder encodes it.

    Of several candidates of rising degree that one is taken which, refined on the first ``CHOSEN``, foretells best
    what comes from there up to ``FITTED``; of the rest of the trajectory nothing is seen. None where no equation can
    be refined.
    """
    z, step = _encoded(coder, data)
    z = z[: boundary(len(z))]
    early = refine_increasing_degree(candidates, z[: max(1, round(CHOSEN / FITTED * len(z)))], step)
    errors = [_error_behind(refined, z, step) for refined in early]
    return (
        refine_increasing_degree(candidates[: 1 + errors.index(min(errors))], z, step)[-1] if errors else None
    )


def refine_on_all(
    coder: LatentSymmetry, candidates: Sequence[Candidate], data: Trajectories
) -> RefinedEquation | None:
    """The candidate that follows the whole first trajectory best once it is refined on all of it, or None."""
    found = [
        refined
        for refined in refine_increasing_degree(candidates, *_encoded(coder, data))
        if refined is not None
    ]
    return min(found, key=lambda refined: (not refined.converged, refined.error_integrated), default=None)


def _encoded(coder: LatentSymmetry, data: Trajectories) -> tuple[Tensor, float]:
    """z (T, k) of the first trajectory, thinned to at most about ``FOLLOWED`` points, and the time between two."""
    states = data.states[0]
    thin = max(1, len(states) // FOLLOWED)
    return encode_all(coder, states[::thin]).double(), thin * data.time_step


def _error_behind(refined: RefinedEquation | None, z: Tensor, step: float) -> float:
    """Of the forecast behind ``CHOSEN``; infinite where it runs off, or nothing could be refined."""
    if refined is None or not refined.converged:
        return math.inf
    seen = max(1, round(CHOSEN / FITTED * len(z)))
    told = refined.equation.integrate(refined.starts[0], step * torch.arange(len(z), dtype=torch.float64))
    error = float((told - z)[seen:].norm())
    return error if math.isfinite(error) else math.inf


def foretell_refined(
    coder: LatentSymmetry, refined: RefinedEquation, data: Trajectories, label: str = "refined"
) -> Foretold:
    """The whole first trajectory from the start that was fitted; all else there is as foretold.

    ``forecast_end``, ``forecast_largest`` of all, ``forecast_median``, ``forecast_late`` the largest behind the first
    tenth; ``forecast_seen`` the median of the first ``FITTED``, ``forecast_unseen`` the largest of the part behind
    it, ``forecast_end_snapshot`` at the end where the first snapshot is the start, ``trajectory_error`` of the fit in
    the latent space, None where an exact integration goes another way.
    """
    x, times = _snapshots(data, stride(data))
    told = forecast(coder, refined.equation, x, times, start=refined.starts[0])
    plain = forecast(coder, refined.equation, x, times)
    seen, tenth = boundary(len(x)), max(1, len(x) // 10)
    measures: Measures = {
        "forecast_end": float(told.error[-1]),
        "forecast_largest": float(told.error.max()),
        "forecast_median": float(told.error.median()),
        "forecast_late": float(told.error[tenth:].max()),
        "forecast_seen": float(told.error[:seen].median()),
        "forecast_unseen": float(told.error[seen:].max()),
        "forecast_end_snapshot": float(plain.error[-1]),
        "trajectory_error": refined.error_after if refined.is_consistent else None,
    }
    return Foretold(measures=measures, curves={label: told.error})


def stride(data: Trajectories) -> int:
    """How many snapshots lie between two of a curve."""
    return max(1, data.states.shape[1] // SHOWN)


def _snapshots(data: Trajectories, stride: int) -> tuple[Tensor, Tensor]:
    x = data.states[0, ::stride].float()
    return x, data.time_step * stride * torch.arange(len(x), dtype=torch.float64)


def boundary(length: int) -> int:
    """How many of so many snapshots a refined equation has seen."""
    return max(1, round(FITTED * length))
