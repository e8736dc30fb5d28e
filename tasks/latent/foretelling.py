"""Equations refined on the first part of a trajectory, and how well they foretell all of it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from discover.equations.equation import Equation
from discover.equations.equivariant_library import EquivariantLibrary
from discover.equations.forecast import forecast
from discover.equations.shooting import RefinedEquation, refine_equation
from discover.latent.symmetry import LatentSymmetry
from tasks.latent.data import Trajectories
from tasks.latent.equations import encode_all

__all__ = [
    "FITTED",
    "Candidate",
    "Foretold",
    "boundary",
    "foretell",
    "foretell_refined",
    "refine_on_first_part",
    "stride",
]

FITTED = 0.8  # part of the trajectory that a refined equation has seen
CHOSEN = 0.6  # part that candidates are refined on to be chosen from
FOLLOWED = 2500  # points of a trajectory that a fit integrates over
SHOWN = 1000  # snapshots that a forecast of order 8 is compared with
METHODS = ("euler", "rk")
Measures = dict[str, float | None]
Candidate = tuple[Equation, EquivariantLibrary | None]


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
            "reconstruction": told.floor[:: stride(data)].clone(),
        }
    return Foretold(measures=measures, curves=curves)


def refine_on_first_part(
    coder: LatentSymmetry, candidates: Sequence[Candidate], data: Trajectories
) -> RefinedEquation:
    """An equation refined on the first ``FITTED`` of the first trajectory, as the coder encodes it.

    Of several candidates (an equation and its fields, or None) that one is taken which, refined on the first
    ``CHOSEN``, foretells best what comes from there up to ``FITTED``; of the rest of the trajectory nothing is seen.
    Raises ``ValueError`` where there is nothing to refine.
    """
    states = data.states[0]
    thin = max(1, len(states) // FOLLOWED)
    z = encode_all(coder, states[::thin]).double()
    step, seen = thin * data.time_step, boundary(len(z))
    errors = (
        [_chosen_error(z[:seen], step, candidate) for candidate in candidates] if candidates[1:] else [0.0]
    )
    equation, fields = candidates[errors.index(min(errors))]
    return refine_equation(equation, z[:seen], step, fields=fields)


def _chosen_error(z: Tensor, step: float, candidate: Candidate) -> float:
    """Of the forecast behind ``CHOSEN``; infinite where it runs off, or the candidate cannot be refined."""
    equation, fields = candidate
    seen = max(1, round(CHOSEN / FITTED * len(z)))
    try:
        refined = refine_equation(equation, z[:seen], step, fields=fields)
    except ValueError:
        return math.inf
    told = refined.equation.integrate(refined.starts[0], step * torch.arange(len(z), dtype=torch.float64))
    error = float((told - z)[seen:].norm())
    return error if math.isfinite(error) and refined.converged else math.inf


def foretell_refined(coder: LatentSymmetry, refined: RefinedEquation, data: Trajectories) -> Foretold:
    """The whole first trajectory from the start that was fitted to its first part; all else there is as foretold.

    ``forecast_end``, ``forecast_largest`` of all, ``forecast_seen`` the median of the part fitted to,
    ``forecast_unseen`` the largest of the part behind it, ``forecast_end_snapshot`` at the end where the first
    snapshot is the start, ``trajectory_error`` of the fit in the latent space.
    """
    x, times = _snapshots(data, stride(data))
    told = forecast(coder, refined.equation, x, times, start=refined.starts[0])
    plain = forecast(coder, refined.equation, x, times)
    seen = boundary(len(x))
    measures: Measures = {
        "forecast_end": float(told.error[-1]),
        "forecast_largest": float(told.error.max()),
        "forecast_seen": float(told.error[:seen].median()),
        "forecast_unseen": float(told.error[seen:].max()),
        "forecast_end_snapshot": float(plain.error[-1]),
        "trajectory_error": refined.after,
    }
    return Foretold(measures=measures, curves={"refined": told.error})


def stride(data: Trajectories) -> int:
    """How many snapshots lie between two of a curve."""
    return max(1, data.states.shape[1] // SHOWN)


def _snapshots(data: Trajectories, stride: int) -> tuple[Tensor, Tensor]:
    x = data.states[0, ::stride].float()
    return x, data.time_step * stride * torch.arange(len(x), dtype=torch.float64)


def boundary(length: int) -> int:
    """How many of so many snapshots a refined equation has seen."""
    return max(1, round(FITTED * length))
