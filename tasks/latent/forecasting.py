"""Equations of motion in a latent space: regression on rates, refinement on part of a trajectory, and forecasts."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from discover.equations.equation import Equation
from discover.equations.forecast import EncoderDecoder, forecast
from discover.equations.jvp import jvp
from discover.equations.shooting import Candidate, RefinedEquation, refine_increasing_degree
from discover.equations.sindy import SINDy
from discover.latent.symmetry import LatentSymmetry
from tasks.latent.data import Trajectories

__all__ = [
    "FITTED", "ForecastResult", "boundary", "encode_all", "find_equation", "forecast_first",
    "forecast_refined", "latent_motion", "refine_on_all", "refine_on_first_part",
]  # fmt: skip

MAX_POINTS = 20_000  # that an equation is fitted to
CHUNK = 512
FITTED = 0.8  # fraction of the trajectory that equations are refined on
SELECTED = 0.6  # fraction on which candidates are refined to select one of them
MAX_STEPS = 2500  # of a trajectory, for a refinement
SHOWN = 1000  # snapshots that the forecast of a refined equation is compared with
METHODS = ("euler", "rk")
Measures = dict[str, float | None]


@torch.no_grad()
def latent_motion(
    symmetry: LatentSymmetry, data: Trajectories, most: int = MAX_POINTS
) -> tuple[Tensor, Tensor]:
    """Latent points and their rates of change, by the derivative of the encoder along the known rates.

    Args:
        symmetry: its encoder is used.
        data: with rates.
        most: number of snapshots, evenly chosen.

    Returns:
        z and dz/dt (n, k).

    Raises:
        ValueError: for data without rates.
    """
    if data.rates is None:
        raise ValueError(f"an equation of motion needs rates of change; the data of {data.name} have none")
    states, rates = data.states.float().flatten(0, 1), data.rates.float().flatten(0, 1)
    chosen = torch.arange(0, len(states), -(-len(states) // most))
    pairs = [jvp(symmetry.encode, states[i], rates[i]) for i in chosen.split(CHUNK)]
    return torch.cat([z for z, _ in pairs]), torch.cat([dz for _, dz in pairs])


@torch.no_grad()
def encode_all(autoencoder: EncoderDecoder, states: Tensor) -> Tensor:
    """z (n, k) of snapshots (n, *shape)."""
    return torch.cat([autoencoder.encode(part.float()) for part in states.split(CHUNK)])


def find_equation(
    z: Tensor, rates: Tensor, *, degree: int, symmetry: LatentSymmetry | None = None, **settings: Any
) -> SINDy:
    """SINDy on latent points and rates.

    Args:
        z: (n, k).
        rates: dz/dt (n, k).
        degree: of the library.
        symmetry: if given, the equation is equivariant under its group.
        **settings: further ones of ``SINDy``.

    Returns:
        The fitted estimator.

    Raises:
        ValueError: where the data do not move.
    """
    algebra = None if symmetry is None else symmetry.algebra
    sindy = SINDy(degree=degree, symmetry=algebra, pooled=True, **settings)
    return sindy.fit(z, rates=rates, time_unit="time")


@dataclass(frozen=True, kw_only=True, eq=False)
class ForecastResult:
    """Errors |x_hat - x| / |x| of a forecast.

    Args:
        measures: by name.
        times: (T,), of the curves.
        curves: errors (T,), by method.
    """

    measures: Measures
    times: Tensor
    curves: dict[str, Tensor]


def forecast_first(autoencoder: EncoderDecoder, equation: Equation, data: Trajectories) -> ForecastResult:
    """The first trajectory forecast from its first snapshot, by Runge-Kutta and by Euler's method.

    Euler's method, with one step a snapshot as in the paper, multiplies an oscillation of frequency w by
    sqrt(1 + (w dt)^2) in each step, by exp(w^2 dt T / 2) in all, whatever the equation.

    Args:
        autoencoder: encodes and decodes snapshots.
        equation: of motion of z.
        data: the first trajectory is forecast.

    Returns:
        ``forecast_end``, ``forecast_largest`` and ``forecast_left``, those of Euler's method with the suffix
        ``_euler``; ``radius_first`` and ``radius_last``: mean |z| over the first and the last tenth of the trajectory,
        which are equal on a closed orbit.
    """
    x, times = _snapshots(data, 1)
    shown = slice(None, None, _stride(data))
    measures: Measures = {}
    curves: dict[str, Tensor] = {}
    for method in METHODS:
        result = forecast(autoencoder, equation, x, times, method=method)
        suffix = "" if method == "rk" else f"_{method}"
        measures |= {
            f"forecast_end{suffix}": float(result.error[-1]),
            f"forecast_largest{suffix}": float(result.error.max()),
            f"forecast_left{suffix}": result.left,
        }
        curves[method] = result.error[shown].clone()
        curves["reconstruction"] = result.reconstruction_error[shown].clone()
    radius, tenth = encode_all(autoencoder, x).double().norm(dim=1), max(1, len(x) // 10)
    measures |= {
        "radius_first": float(radius[:tenth].mean()),
        "radius_last": float(radius[-tenth:].mean()),
    }
    return ForecastResult(measures=measures, times=times[shown].clone(), curves=curves)


def refine_on_first_part(
    autoencoder: EncoderDecoder, candidates: Sequence[Candidate], data: Trajectories
) -> RefinedEquation | None:
    """An equation refined on the first ``FITTED`` of the first trajectory; the rest is not used.

    Args:
        autoencoder: encodes the snapshots.
        candidates: of increasing degree. The one is taken that, refined on the first ``SELECTED``, has the best
            forecast from there to ``FITTED``.
        data: the first trajectory is used.

    Returns:
        The refined equation; None where there is no candidate with terms.
    """
    z, step = _encoded(autoencoder, data)
    z = z[: boundary(len(z))]
    selected = max(1, round(SELECTED / FITTED * len(z)))
    early = refine_increasing_degree(candidates, z[:selected], step)
    errors = [_error_after(refined, z, step, selected) for refined in early]
    if not errors:
        return None
    return refine_increasing_degree(candidates[: 1 + errors.index(min(errors))], z, step)[-1]


def refine_on_all(
    autoencoder: EncoderDecoder, candidates: Sequence[Candidate], data: Trajectories
) -> RefinedEquation | None:
    """The candidate with the smallest error once refined on the whole first trajectory, or None."""
    refined = refine_increasing_degree(candidates, *_encoded(autoencoder, data))
    found = [result for result in refined if result is not None]
    return min(found, key=lambda result: (not result.converged, result.error_integrated), default=None)


def forecast_refined(
    autoencoder: EncoderDecoder, refined: RefinedEquation, data: Trajectories, label: str = "refined"
) -> ForecastResult:
    """The first trajectory forecast by a refined equation, from its fitted initial point.

    Args:
        autoencoder: encodes and decodes snapshots.
        refined: on part of the trajectory, or all of it.
        data: the first trajectory is forecast.
        label: of the curve.

    Returns:
        ``forecast_end``; ``forecast_largest``; ``forecast_median``; ``forecast_late``: largest after the first tenth;
        ``forecast_seen``: median of the first ``FITTED``; ``forecast_unseen``: largest after it;
        ``forecast_end_snapshot``: at the end, when started from the first snapshot; ``trajectory_error`` of the fit in
        the latent space, None where accurate integration disagrees.
    """
    x, times = _snapshots(data, _stride(data))
    error = forecast(autoencoder, refined.equation, x, times, start=refined.starts[0]).error
    plain = forecast(autoencoder, refined.equation, x, times)
    seen, tenth = boundary(len(x)), max(1, len(x) // 10)
    measures: Measures = {
        "forecast_end": float(error[-1]),
        "forecast_largest": float(error.max()),
        "forecast_median": float(error.median()),
        "forecast_late": float(error[tenth:].max()),
        "forecast_seen": float(error[:seen].median()),
        "forecast_unseen": float(error[seen:].max()),
        "forecast_end_snapshot": float(plain.error[-1]),
        "trajectory_error": refined.error_after if refined.is_consistent else None,
    }
    return ForecastResult(measures=measures, times=times, curves={label: error})


def _stride(data: Trajectories) -> int:
    """Number of snapshots from one point of a curve to the next."""
    return max(1, data.states.shape[1] // SHOWN)


def boundary(length: int) -> int:
    """How many of ``length`` snapshots equations are refined on."""
    return max(1, round(FITTED * length))


def _encoded(autoencoder: EncoderDecoder, data: Trajectories) -> tuple[Tensor, float]:
    """z (T, k) of the first trajectory, thinned to about ``MAX_STEPS`` points, and the time between two."""
    states = data.states[0]
    thin = max(1, len(states) // MAX_STEPS)
    return encode_all(autoencoder, states[::thin]).double(), thin * data.time_step


def _error_after(refined: RefinedEquation | None, z: Tensor, step: float, selected: int) -> float:
    """Error of the forecast after the selection's part; infinite where it diverges or nothing was refined."""
    if refined is None or not refined.converged:
        return math.inf
    times = step * torch.arange(len(z), dtype=torch.float64)
    error = float((refined.equation.integrate(refined.starts[0], times) - z)[selected:].norm())
    return error if math.isfinite(error) else math.inf


def _snapshots(data: Trajectories, stride: int) -> tuple[Tensor, Tensor]:
    x = data.states[0, ::stride].float()
    return x, data.time_step * stride * torch.arange(len(x), dtype=torch.float64)
