"""Trajectories made ready for a latent game: checked, reduced to their modes, cut into windows."""

from math import prod

import torch
from torch import Tensor

from discover.latent.reduction import Reduction
from discover.latent.windows import Windows

__all__ = ["half_decorrelated", "prepare"]

LEAST_DECORRELATION = 0.5
VACUOUS = (
    "one snapshot at a time without labels or known elements says nothing about a latent symmetry: any data can be "
    "mapped to a Gaussian, whose law has every rotation. Give trajectories (m, T >= 2, ...) and window >= 2, labels "
    "that the symmetry keeps, or the coefficients of known elements"
)


def prepare(
    trajectories: Tensor,
    *,
    labels: Tensor | None = None,
    coefficients: Tensor | None = None,
    rates: Tensor | None = None,
    dt: float | None = None,
    window: int = 2,
    stride: int | None = None,
    tolerance: float | None = None,
) -> tuple[Windows, Reduction]:
    """Windows of coefficients, and the reduction that makes them; arguments as for ``LaLiGAN.fit``.

    Raises ``ValueError`` for wrong shapes, NaN, windows that do not fit, or data that say nothing.
    """
    m, length, shape = _read_trajectories(trajectories, rates)
    window = 1 if length == 1 else window
    if window == 1 and labels is None:
        raise ValueError(VACUOUS)
    if coefficients is not None:
        _check_elements(coefficients, m, length)
        stride = 1
    shown = None if labels is None else _read_labels(labels, m, length)
    reduction, points = Reduction.of_data(trajectories.detach().reshape(m * length, prod(shape)), tolerance)
    points = points.reshape(m, length, -1)
    stride = half_decorrelated(points, window) if stride is None else stride
    windows = Windows(
        points=points,
        starts=_starts(m, length, window, stride),
        window=window,
        stride=stride,
        labels=shown if shown is not None and shown.is_floating_point() else None,
        classes=None if shown is None or shown.is_floating_point() else shown,
        elements=coefficients,
        rates=_rates(points, reduction, rates, dt),
    )
    return windows, reduction


def _starts(m: int, length: int, window: int, stride: int) -> Tensor:
    """Trajectory and time (n, 2) of the first snapshot of every window that fits."""
    last = length - (window - 1) * stride
    if last < 1:
        raise ValueError(
            f"trajectories must hold {(window - 1) * stride + 1} snapshots for windows of {window}, {stride} apart, "
            f"got {length}; use a smaller stride or window"
        )
    return torch.cartesian_prod(torch.arange(m), torch.arange(last)).reshape(-1, 2)


def half_decorrelated(points: Tensor, window: int) -> int:
    """The shortest stride after which snapshots (m, T, r) are half decorrelated, or half of what fits.

    Snapshots too close to each other are all a critic would see of a window: one point and next to nothing.
    """
    longest = max(1, (points.shape[1] - 1) // (2 * (window - 1))) if window > 1 else 1
    centred = points - points.mean((0, 1))
    for stride in range(1, longest):
        product = (centred[:, stride:] * centred[:, :-stride]).sum()
        if product <= (1 - LEAST_DECORRELATION) * centred[:, :-stride].square().sum():
            return stride
    return longest


def _read_trajectories(trajectories: Tensor, like: Tensor | None = None) -> tuple[int, int, tuple[int, ...]]:
    """m, T and the shape of one snapshot, of trajectories (m, T, *shape).

    Raises ``ValueError`` for another kind of value, NaN, or rates (``like``) of another shape.
    """
    for name, value in {"trajectories": trajectories, "rates": like}.items():
        if value is None and name == "rates":
            continue
        if not isinstance(value, Tensor) or not value.is_floating_point():
            raise ValueError(f"{name} must be a tensor of a real floating dtype, got {_kind(value)}")
        if value.ndim < 3 or not prod(value.shape):
            raise ValueError(
                f"{name} must have shape (m, T, *shape) and not be empty, got {tuple(value.shape)}"
            )
        # one number a trajectory: a sum is NaN or infinite as soon as an entry is, and nothing is copied
        if not all(torch.isfinite(part.sum(dtype=torch.float64)) for part in value):
            raise ValueError(f"{name} must be finite, got NaN or infinite numbers")
    if like is not None and like.shape != trajectories.shape:
        raise ValueError(f"rates must have shape {tuple(trajectories.shape)}, got {tuple(like.shape)}")
    return trajectories.shape[0], trajectories.shape[1], tuple(trajectories.shape[2:])


def _kind(value: object) -> str:
    return str(value.dtype) if isinstance(value, Tensor) else type(value).__name__


def _check_elements(coefficients: Tensor, m: int, length: int) -> None:
    if coefficients.ndim != 3 or tuple(coefficients.shape[:2]) != (m, length - 1) or length < 2:
        raise ValueError(
            f"coefficients must have shape (m, T - 1, c) = ({m}, {length - 1}, c) with T >= 2, got "
            f"{tuple(coefficients.shape)}"
        )
    if not coefficients.is_floating_point() or not torch.isfinite(coefficients).all():
        raise ValueError("coefficients must be finite numbers of a real floating dtype")


def _read_labels(labels: Tensor, m: int, length: int) -> Tensor:
    """Numbers (m, T, s), centred and of size one, or classes (m, T)."""
    fitting = labels.shape[:1] == (m,) and (
        labels.ndim == 1 or (labels.ndim <= 3 and labels.shape[1] == length)
    )
    if not fitting:
        raise ValueError(
            f"labels must have shape ({m},), ({m}, {length}) or ({m}, {length}, s), got {tuple(labels.shape)}"
        )
    if not labels.is_floating_point():
        if labels.ndim == 3 or int(labels.min()) < 0 or int(labels.max()) >= m * length:
            raise ValueError("labels of whole-number dtype must be classes 0, 1, ... of shape (m,) or (m, T)")
        return labels.long().reshape(m, -1).expand(m, length)
    if not torch.isfinite(labels).all():
        raise ValueError("labels must be finite, got NaN or infinite numbers")
    numbers = labels.reshape(m, 1 if labels.ndim == 1 else length, -1).expand(m, length, -1)
    spread, mean = torch.std_mean(numbers, dim=(0, 1))
    return (numbers - mean) / spread.clamp_min(torch.finfo(spread.dtype).tiny)


def _rates(points: Tensor, reduction: Reduction, rates: Tensor | None, dt: float | None) -> Tensor | None:
    """Rates of change (m, T, r) of the coefficients: those given, or second-order differences."""
    if rates is not None:
        return reduction.rate(rates.detach().reshape(-1, prod(rates.shape[2:]))).reshape(points.shape)
    if dt is None:
        return None
    if not dt > 0 or points.shape[1] < 3:
        raise ValueError(
            f"rates by differences need dt > 0 and three snapshots, got dt={dt} and {points.shape[1]}"
        )
    return torch.gradient(points, spacing=dt, dim=1, edge_order=2)[0]
