"""Trajectories cut into windows of snapshots ``stride`` apart, the samples of LaLiGAN: checks, reduction, split."""

from dataclasses import dataclass, replace
from hashlib import sha256
from math import prod

import torch
from torch import Tensor

from discover.latent.reduction import Reduction
from equivariant.arrays import ArrayLike, as_floating, as_tensor

__all__ = ["Windows", "decorrelation_stride", "prepare_windows"]

FEW = 5  # fewer trajectories than this are each cut in time, rather than held out whole
BLOCKS = 3  # and so many stretches of each are held out, so that slow changes are seen from both sides
LEAST_DECORRELATION = 0.5
NO_INFORMATION = (
    "single snapshots without labels or known elements say nothing about a latent symmetry: any data can be mapped to "
    "a Gaussian, whose distribution is invariant under every rotation. Give trajectories (m, T >= 2, ...) and "
    "window >= 2, labels that are invariant, or the coefficients of known elements"
)


@dataclass(frozen=True, kw_only=True, eq=False)
class Windows:
    """Windows of snapshots that are reduced to coefficients. Methods take indices (n,) of windows.

    Args:
        points: coefficients of the snapshots of m trajectories, (m, T, r).
        starts: trajectory and time of the first snapshot of each window, (n, 2).
        window: w, snapshots in a window.
        stride: time steps between them.
        labels: invariant numbers, (m, T, s).
        classes: invariant class labels, (m, T).
        elements: coefficients of the known group elements between consecutive snapshots, (m, T - 1, c).
        rates: rates of change of ``points``, (m, T, r).
    """

    points: Tensor
    starts: Tensor
    window: int
    stride: int
    labels: Tensor | None = None
    classes: Tensor | None = None
    elements: Tensor | None = None
    rates: Tensor | None = None

    def __len__(self) -> int:
        return len(self.starts)

    def snapshots(self, index: Tensor) -> Tensor:
        """Windows (n, w, r)."""
        return self.points[self._times(index)]

    def labels_at(self, index: Tensor) -> Tensor | None:
        """Numbers (n, s) of the first snapshot of each window."""
        return self._first(self.labels, index)

    def classes_at(self, index: Tensor) -> Tensor | None:
        """Classes (n,) of the first snapshot of each window."""
        return self._first(self.classes, index)

    def rates_at(self, index: Tensor) -> Tensor | None:
        """Rates of change (n, r) of the first snapshot of each window."""
        return self._first(self.rates, index)

    def elements_at(self, index: Tensor) -> Tensor | None:
        """Coefficients (n, w - 1, c) of the known elements from one snapshot of a window to the next."""
        if self.elements is None:
            return None
        trajectory, times = self._times(index)
        return self.elements[trajectory, times[:, :-1]]

    @property
    def digest(self) -> str:
        """SHA-256 of the content."""
        hashed = sha256(f"{self.window} {self.stride}".encode())
        for tensor in (self.points, self.starts, self.labels, self.classes, self.elements, self.rates):
            if tensor is not None:
                hashed.update(tensor.cpu().contiguous().numpy().tobytes())
        return hashed.hexdigest()

    @property
    def n_classes(self) -> int:
        """The number of classes, 0 without."""
        return 0 if self.classes is None else int(self.classes.max()) + 1

    def split(self, held_out: float, seed: int) -> tuple["Windows", "Windows"]:
        """Windows to train on and windows held out: whole trajectories where there are many, else stretches of time.

        Windows that reach from one part into the other are left out, so no held-out snapshot is trained on.

        Args:
            held_out: fraction to hold out.
            seed: of the choice of trajectories.

        Raises:
            ValueError: if a part is left without windows.
        """
        m = len(self.points)
        if m >= FEW:
            order = torch.randperm(m, generator=torch.Generator().manual_seed(seed))
            chosen = torch.isin(self.starts[:, 0].cpu(), order[: max(1, round(held_out * m))])
            chosen = chosen.to(self.starts.device)
            return self._only(~chosen), self._only(chosen)
        kept = self._held_out_times(held_out)
        times = self.starts[:, 1:] + torch.arange(self.window, device=self.starts.device) * self.stride
        return self._only(~kept[times].any(1)), self._only(kept[times].all(1))

    def to(self, device: str | torch.device, dtype: torch.dtype) -> "Windows":
        """A copy on another device and in another dtype; whole numbers keep theirs.

        Args:
            device: of all tensors.
            dtype: of real numbers.
        """
        tensors = {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}
        moved = {n: t.to(device, dtype if t.is_floating_point() else t.dtype) for n, t in tensors.items()}
        return replace(self, **moved)

    def _times(self, index: Tensor) -> tuple[Tensor, Tensor]:
        trajectory, start = self.starts[index].unbind(1)
        steps = torch.arange(self.window, device=start.device) * self.stride
        return trajectory[:, None], start[:, None] + steps

    def _first(self, values: Tensor | None, index: Tensor) -> Tensor | None:
        return None if values is None else values[tuple(self.starts[index].unbind(1))]

    def _held_out_times(self, held_out: float) -> Tensor:
        """Which times (T,) are held out: the ends of a few blocks."""
        length, reach = self.points.shape[1], (self.window - 1) * self.stride
        fitting = [n for n in range(1, BLOCKS + 1) if length * held_out / n >= 2 * reach]
        block = length / max(fitting, default=1)
        return torch.arange(length, device=self.starts.device) % block >= block * (1 - held_out)

    def _only(self, chosen: Tensor) -> "Windows":
        starts = self.starts[chosen]
        if not len(starts):
            raise ValueError(
                f"{self.window} snapshots {self.stride} apart do not fit into both parts of trajectories of "
                f"{self.points.shape[1]} snapshots; use a smaller stride, longer trajectories, or more of them"
            )
        return replace(self, starts=starts)


def prepare_windows(
    trajectories: ArrayLike,
    *,
    labels: ArrayLike | None = None,
    coefficients: ArrayLike | None = None,
    rates: ArrayLike | None = None,
    dt: float | None = None,
    window: int = 2,
    stride: int | None = None,
    tolerance: float | None = None,
) -> tuple[Windows, Reduction]:
    """Windows of trajectories, and the reduction of snapshots to coefficients.

    Args:
        trajectories: (m, T, *shape).
        labels: invariants (m,), (m, T) or (m, T, s); whole numbers are classes.
        coefficients: of known elements, (m, T - 1, c).
        rates: dx/dt, shape of ``trajectories``.
        dt: time between snapshots, for rates by differences where none are given.
        window: snapshots in a window.
        stride: time steps between them; ``None`` takes ``decorrelation_stride``.
        tolerance: relative error of the reduction; ``None`` keeps every entry.

    Raises:
        ValueError: for wrong shapes, NaN, windows that do not fit, or data that hold no information.
    """
    trajectories = as_floating(trajectories, "trajectories")
    rates = None if rates is None else as_floating(rates, "rates")
    m, length, shape = _check_trajectories(trajectories, rates)
    window = 1 if length == 1 else window
    if window == 1 and labels is None:
        raise ValueError(NO_INFORMATION)
    if coefficients is not None:
        coefficients, stride = _read_elements(as_floating(coefficients, "coefficients"), m, length), 1
    marks = None if labels is None else _read_labels(as_tensor(labels, "labels"), m, length)
    reduction, points = Reduction.of_data(trajectories.detach().reshape(m * length, prod(shape)), tolerance)
    points = points.reshape(m, length, -1)
    stride = decorrelation_stride(points, window) if stride is None else stride
    windows = Windows(
        points=points,
        starts=_starts(m, length, window, stride),
        window=window,
        stride=stride,
        labels=marks if marks is not None and marks.is_floating_point() else None,
        classes=None if marks is None or marks.is_floating_point() else marks,
        elements=coefficients,
        rates=_rates(points, reduction, rates, dt),
    )
    return windows, reduction


def decorrelation_stride(points: Tensor, window: int) -> int:
    """The shortest stride after which snapshots are half decorrelated, or half of what fits.

    The critic would see two snapshots that are too close to each other as one.

    Args:
        points: (m, T, r).
        window: snapshots in a window.
    """
    longest = max(1, (points.shape[1] - 1) // (2 * (window - 1))) if window > 1 else 1
    centred = points - points.mean((0, 1))
    for stride in range(1, longest):
        product = (centred[:, stride:] * centred[:, :-stride]).sum()
        if product <= (1 - LEAST_DECORRELATION) * centred[:, :-stride].square().sum():
            return stride
    return longest


def _starts(m: int, length: int, window: int, stride: int) -> Tensor:
    """Trajectory and time (n, 2) of the first snapshot of every window that fits."""
    last = length - (window - 1) * stride
    if last < 1:
        raise ValueError(
            f"trajectories must hold {(window - 1) * stride + 1} snapshots for windows of {window}, {stride} apart, "
            f"got {length}; use a smaller stride or window"
        )
    return torch.cartesian_prod(torch.arange(m), torch.arange(last)).reshape(-1, 2)


def _check_trajectories(trajectories: Tensor, rates: Tensor | None) -> tuple[int, int, tuple[int, ...]]:
    """m, T and the shape of one snapshot, of trajectories (m, T, *shape) and rates of the same shape."""
    given = {"trajectories": trajectories} | ({} if rates is None else {"rates": rates})
    for name, value in given.items():
        if value.ndim < 3 or not prod(value.shape):
            raise ValueError(
                f"{name} must have shape (m, T, *shape) and not be empty, got {tuple(value.shape)}"
            )
        # one number a trajectory: a sum is NaN or infinite as soon as an entry is, and nothing is copied
        if not all(torch.isfinite(part.sum(dtype=torch.float64)) for part in value):
            raise ValueError(f"{name} must be finite, got NaN or infinite numbers")
    if rates is not None and rates.shape != trajectories.shape:
        raise ValueError(f"rates must have shape {tuple(trajectories.shape)}, got {tuple(rates.shape)}")
    return trajectories.shape[0], trajectories.shape[1], tuple(trajectories.shape[2:])


def _read_elements(coefficients: Tensor, m: int, length: int) -> Tensor:
    if coefficients.ndim != 3 or tuple(coefficients.shape[:2]) != (m, length - 1) or length < 2:
        raise ValueError(
            f"coefficients must have shape (m, T - 1, c) = ({m}, {length - 1}, c) with T >= 2, got "
            f"{tuple(coefficients.shape)}"
        )
    if not torch.isfinite(coefficients).all():
        raise ValueError("coefficients must be finite, got NaN or infinite numbers")
    return coefficients


def _read_labels(labels: Tensor, m: int, length: int) -> Tensor:
    """Numbers (m, T, s), centred and of unit variance, or classes (m, T)."""
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
