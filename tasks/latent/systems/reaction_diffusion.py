r"""Lambda-omega reaction-diffusion on a periodic square: exponential Runge-Kutta of order four in Fourier space.

.. math::
    u_t = (1 - s) u + \beta s v + d_1 \nabla^2 u, \quad v_t = -\beta s u + (1 - s) v + d_2 \nabla^2 v,
    \quad s = u^2 + v^2

The system of Champion et al. (PNAS 2019, arXiv 1904.02107) and Yang et al. (arXiv 2310.00105). The reaction commutes
with every rotation of (u, v); the whole right-hand side does where d_1 = d_2. Time stepping: Kassam and Trefethen
(SIAM J. Sci. Comput. 26, 2005).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import torch
from numpy.fft import irfft2, rfft2
from tqdm import tqdm

from tasks.latent.data import Trajectories

__all__ = ["ReactionDiffusion", "spiral_waves"]

FIELDS = ("u", "v")
CONTOUR = 32  # points of the circle over which the step's weights are averaged


@dataclass(frozen=True, kw_only=True)
class ReactionDiffusion:
    """Grid and right-hand side; states are float64 arrays (2, n, n) of (u, v), without unit.

    Args:
        points: n, along each side.
        length: of a side [length].
        diffusion: d_1 and d_2 [length^2 / time].
        beta: dependence of the rotation rate on the amplitude [1 / time].
    """

    points: int = 100
    length: float = 20.0
    diffusion: tuple[float, float] = (0.1, 0.1)
    beta: float = 1.0

    def __post_init__(self) -> None:
        if self.points < 4:
            raise ValueError(f"points must be at least 4, got {self.points}")
        if not self.length > 0 or min(self.diffusion) < 0:
            raise ValueError(
                f"length must be positive and diffusion not negative, got {self.length} and {self.diffusion}"
            )

    @property
    def axis(self) -> np.ndarray:
        """Positions [length] of the points along a side; the domain is periodic."""
        return self.length * (np.arange(self.points) / self.points - 0.5)

    def spiral(self) -> np.ndarray:
        """One-armed spiral: u = tanh(r) cos(theta - r), v = tanh(r) sin(theta - r)."""
        x, y = np.meshgrid(self.axis, self.axis)
        radius, angle = np.hypot(x, y), np.arctan2(y, x)
        return np.tanh(radius) * np.stack([np.cos(angle - radius), np.sin(angle - radius)])

    def reaction(self, state: np.ndarray) -> np.ndarray:
        """The local part of the right-hand side, for states (..., 2, n, n)."""
        u, v = state[..., 0, :, :], state[..., 1, :, :]
        size = u * u + v * v
        return np.stack(
            [(1 - size) * u + self.beta * size * v, (1 - size) * v - self.beta * size * u], axis=-3
        )

    def rates(self, state: np.ndarray) -> np.ndarray:
        """The right-hand side d state / dt [1 / time], for states (..., 2, n, n)."""
        smoothed = irfft2(self._decay * rfft2(state), s=(self.points, self.points))
        return self.reaction(state) + smoothed

    def run(self, state: np.ndarray, steps: int, time_step: float = 0.05) -> Iterator[np.ndarray]:
        """The ``steps`` states from ``state`` (2, n, n) on, itself the first, ``time_step`` [time] apart."""
        if state.shape != (2, self.points, self.points):
            raise ValueError(f"a state must have shape {(2, self.points, self.points)}, got {state.shape}")
        weights = _Weights.of(self._decay, time_step)
        spectrum = rfft2(state)
        for step in range(steps):
            if step:
                spectrum = self._step(spectrum, weights)
            yield irfft2(spectrum, s=state.shape[1:]) if step else state

    def _step(self, start: np.ndarray, w: "_Weights") -> np.ndarray:
        first = self._reaction(start)
        half = w.half * start
        a = half + w.advance * first
        second = self._reaction(a)
        third = self._reaction(half + w.advance * second)
        fourth = self._reaction(w.half * a + w.advance * (2 * third - first))
        return w.whole * start + w.begin * first + w.middle * (second + third) + w.end * fourth

    def _reaction(self, spectrum: np.ndarray) -> np.ndarray:
        return rfft2(self.reaction(irfft2(spectrum, s=(self.points, self.points))))

    @cached_property
    def _decay(self) -> np.ndarray:
        """The Laplacian times each diffusion constant, in Fourier space: (2, n, n // 2 + 1)."""
        unit = 2 * np.pi / self.length * self.points
        square = (unit * np.fft.fftfreq(self.points)[:, None]) ** 2 + (
            unit * np.fft.rfftfreq(self.points)
        ) ** 2
        return -np.array(self.diffusion)[:, None, None] * square


class _Weights(NamedTuple):
    """The factors of an exponential Runge-Kutta step, for every wave."""

    whole: np.ndarray
    half: np.ndarray
    advance: np.ndarray
    begin: np.ndarray
    middle: np.ndarray
    end: np.ndarray

    @classmethod
    def of(cls, decay: np.ndarray, time_step: float) -> "_Weights":
        """Averages over a circle round each rate; the formulas themselves cancel where the rate is small."""
        angle = np.pi * (np.arange(CONTOUR) + 0.5) / CONTOUR
        z = time_step * decay[..., None] + np.exp(1j * angle)
        e = np.exp(z)
        formulas = (
            (np.exp(z / 2) - 1) / z,
            (-4 - z + e * (4 - 3 * z + z * z)) / z**3,
            (2 * (2 + z + e * (z - 2))) / z**3,
            (-4 - 3 * z - z * z + e * (4 - z)) / z**3,
        )
        means = (time_step * values.mean(-1).real for values in formulas)
        return cls(np.exp(time_step * decay), np.exp(time_step * decay / 2), *means)


def spiral_waves(
    *,
    steps: int = 5000,
    time_step: float = 0.05,
    discard: int = 0,
    every: int = 1,
    fields: tuple[str, ...] = ("u",),
    system: ReactionDiffusion | None = None,
    rates: bool = True,
    progress: bool = False,
) -> Trajectories:
    """One trajectory of a rotating spiral wave: states (1, steps, n, n), or (1, steps, 2, n, n) with both fields.

    The published set has 5,000 steps of 0.05 from the start of the spiral, and u alone (the default). Numbers are
    stored as float32; rates come from the right-hand side, not from differences.

    Args:
        steps: number of snapshots.
        time_step: of the simulation [time].
        discard: simulated steps of the transient before the first snapshot.
        every: simulated steps between two snapshots.
        fields: which of u and v a snapshot holds.
        system: grid and constants; the published ones by default.
        rates: whether to include d states / dt.
        progress: whether to show a progress bar.

    Returns:
        The trajectory.

    Raises:
        ValueError: for settings out of range, or a simulation that diverges.
    """
    system = system or ReactionDiffusion()
    if not fields or not set(fields) <= set(FIELDS) or len(set(fields)) != len(fields):
        raise ValueError(f"fields must be some of {FIELDS}, got {fields}")
    if steps < 1 or discard < 0 or every < 1:
        raise ValueError(
            f"steps and every must be at least 1, discard at least 0, got {steps}, {every}, {discard}"
        )
    index = [FIELDS.index(name) for name in fields]
    kept = np.empty((2 if rates else 1, steps, len(fields), system.points, system.points), dtype=np.float32)
    run = system.run(system.spiral(), discard + (steps - 1) * every + 1, time_step)
    bar = tqdm(
        run, desc="reaction-diffusion", disable=not progress, total=discard + steps * every, leave=False
    )
    for number, state in enumerate(bar, start=-discard):
        if number >= 0 and number % every == 0:
            kept[0, number // every] = state[index]
            if rates:
                kept[1, number // every] = system.rates(state)[index]
    tensor = torch.from_numpy(kept)[:, None].squeeze(3 if len(fields) == 1 else ())
    return Trajectories(
        name="reaction-diffusion",
        states=tensor[0],
        time_step=every * time_step,
        coordinates=tuple(f"{name} [1]" for name in fields),
        rates=tensor[1] if rates else None,
    )
