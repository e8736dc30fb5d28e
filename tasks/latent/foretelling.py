"""Equations refined on the first part of a trajectory, and how well they foretell all of it."""

from dataclasses import dataclass

import torch
from torch import Tensor

from discover.equation import Equation
from discover.equivariant_library import EquivariantLibrary
from discover.forecast import forecast
from discover.latent_symmetry import LatentSymmetry
from discover.shooting import RefinedEquation, refine_equation
from tasks.latent.data import Trajectories
from tasks.latent.equations import encode_all

__all__ = ["FITTED", "Foretold", "foretell", "foretell_refined", "refine_on_first_part", "stride"]

FITTED = 0.8  # part of the trajectory that a refined equation has seen
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
    in all, whatever the equation; Runge-Kutta's errors are the equation's.
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
        curves |= {
            method: told.error[:: stride(data)].clone(),
            "reconstruction": told.floor[:: stride(data)].clone(),
        }
    return Foretold(measures=measures, curves=curves)


def refine_on_first_part(
    coder: LatentSymmetry, equation: Equation, data: Trajectories, fields: EquivariantLibrary | None = None
) -> RefinedEquation:
    """The equation refined on the first ``FITTED`` of the first trajectory, as the coder encodes it.

    Raises ``ValueError`` where there is nothing to refine.
    """
    z = encode_all(coder, data.states[0])
    return refine_equation(equation, z[: _boundary(len(z))].double(), data.time_step, fields=fields)


def foretell_refined(coder: LatentSymmetry, refined: RefinedEquation, data: Trajectories) -> Foretold:
    """The whole first trajectory from the start that was fitted to its first part; all else there is as foretold.

    ``forecast_end``, ``forecast_largest`` of all, ``forecast_seen`` the median of the part fitted to,
    ``forecast_unseen`` the largest of the part behind it, ``forecast_end_snapshot`` at the end where the first
    snapshot is the start, ``trajectory_error`` of the fit in the latent space.
    """
    x, times = _snapshots(data, stride(data))
    told = forecast(coder, refined.equation, x, times, start=refined.starts[0])
    plain = forecast(coder, refined.equation, x, times)
    seen = _boundary(len(x))
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


def _boundary(length: int) -> int:
    return max(1, round(FITTED * length))
