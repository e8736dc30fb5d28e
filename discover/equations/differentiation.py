"""Rates of change of sampled trajectories: dz/dt from z(t) at equal steps."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["METHODS", "differentiate", "pysindy"]

METHODS = ("smooth", "spline", "central")


def differentiate(z: Tensor, dt: float, how: str = "spline", window: int = 11) -> tuple[Tensor, Tensor]:
    """Trajectories (m, T, k) at steps of ``dt`` to points and rates (m, T, k), float64.

    Args:
        z: samples. dt: time between two of them.
        how: ``"spline"``, of the cubic spline through all points (clean data); ``"central"``, differences of second
            order; ``"smooth"``, pysindy's, on points that a Savitzky-Golay filter of order 3 has smoothed (noise).
        window: points of that filter, odd.

    Raises ``ValueError`` for a wrong shape, NaN, too few samples, a step not above 0 or an unknown name, and
    ``ImportError`` for ``"smooth"`` without pysindy.
    """
    fewest = window if how == "smooth" else 4
    if how not in METHODS:
        raise ValueError(f"unknown derivative {how!r}; choose from {list(METHODS)}")
    if z.ndim != 3 or z.shape[1] < fewest:
        raise ValueError(
            f"derivative {how!r} wants trajectories (m, T, k) of T >= {fewest} samples, got {tuple(z.shape)}"
        )
    if not dt > 0 or not z.isfinite().all():
        raise ValueError(f"wanted finite samples and dt > 0, got dt={dt} and {_bad(z)} samples not finite")
    points = z.detach().double().cpu()
    if how == "smooth":
        return _smooth(points, dt, window)
    rates = _spline(points, dt) if how == "spline" else np.gradient(points.numpy(), dt, axis=1, edge_order=2)
    return points, torch.from_numpy(np.ascontiguousarray(rates))


def pysindy() -> Any:
    """The package, or a sentence that says how to get it."""
    try:
        import pysindy as package
    except ImportError:
        raise ImportError("this needs pysindy: pip install 'liesmith[sindy]'") from None
    return package


def _bad(z: Tensor) -> int:
    return int((~z.isfinite()).sum())


def _spline(points: Tensor, dt: float) -> np.ndarray:
    from scipy.interpolate import CubicSpline

    times = dt * np.arange(points.shape[1])
    return CubicSpline(times, points.numpy(), axis=1)(times, 1)


def _smooth(points: Tensor, dt: float, window: int) -> tuple[Tensor, Tensor]:
    package = pysindy()
    settings = {"window_length": window, "polyorder": 3, "axis": 0}
    smoothed, rates = [], []
    for trajectory in points.numpy():
        method = package.SmoothedFiniteDifference(smoother_kws=settings)
        rates.append(method(trajectory, t=dt))
        smoothed.append(method.smoothed_x_)
    return torch.from_numpy(np.stack(smoothed)), torch.from_numpy(np.stack(rates))
