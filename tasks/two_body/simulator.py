"""Two attracting unit masses, G = 1, centre of mass at rest: dq/dt = p, dp_1/dt = -(q1 - q2) / |q1 - q2|^3."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

from tasks.two_body.data import TIME_STEP, TwoBodyData

__all__ = ["Kepler", "angular_momentum", "energy", "rotation_drift", "simulate", "simulated_orbits"]

TOTAL_MASS = 2.0


@dataclass(frozen=True, kw_only=True)
class Kepler:
    """A family of orbits to draw from; counter-clockwise.

    Args:
        separation: range [length] of the bodies' first distance, drawn uniformly.
        eccentricity: 0 is a circle, below 1 an ellipse; drawn half-normal with this scale when ``near`` is
            true, else uniformly from 0 to it. The default is the spread seen in the published orbits.
        near: see ``eccentricity``.

    Raises:
        ValueError: for a separation that is no range, or an eccentricity outside [0, 1).

    Example:
        >>> print(Kepler(separation=(3.0, 4.0), eccentricity=0.1, near=False))
        separation 3 to 4, eccentricity up to 0.1
    """

    separation: tuple[float, float] = (3.0, 6.0)
    eccentricity: float = 0.0019
    near: bool = True

    @classmethod
    def ellipses(cls, eccentricity: float = 0.5) -> "Kepler":
        """General ellipses, eccentricity uniform from 0 to ``eccentricity``."""
        return cls(eccentricity=eccentricity, near=False)

    def __str__(self) -> str:
        low, high = self.separation
        return f"separation {low:g} to {high:g}, eccentricity {'about' if self.near else 'up to'} {self.eccentricity:g}"

    def __post_init__(self) -> None:
        low, high = self.separation
        if not 0 < low <= high:
            raise ValueError(f"separation must be a range 0 < low <= high, got {self.separation}")
        if not 0 <= self.eccentricity < 1:
            raise ValueError(f"eccentricity must lie in [0, 1) for a bound orbit, got {self.eccentricity}")

    def draw(self, n: int, angles: tuple[float, float], generator: torch.Generator) -> Tensor:
        """Draw states.

        Args:
            n: how many.
            angles: range [rad] of the first body's angle, drawn uniformly.
            generator: of the random numbers.

        Returns:
            States (n, 8), float64.
        """
        uniform = torch.rand(4, n, generator=generator, dtype=torch.float64)
        low, high = self.separation
        size = uniform[1]
        if self.near:  # the half-normal quantile; the tail is cut so that the orbit stays bound
            size = (math.sqrt(2) * torch.erfinv(size)).clamp(max=0.95 / max(self.eccentricity, 1e-300))
        separation = low + (high - low) * uniform[0]
        angle = angles[0] + (angles[1] - angles[0]) * uniform[3]
        return kepler_states(separation, self.eccentricity * size, 2 * math.pi * uniform[2], angle)


def kepler_states(separation: Tensor, eccentricity: Tensor, anomaly: Tensor, angle: Tensor) -> Tensor:
    """States on ellipses.

    Args:
        separation: distance of the bodies (n,).
        eccentricity: (n,).
        anomaly: true anomaly [rad] (n,).
        angle: of body 1 [rad] (n,).

    Returns:
        States (n, 8).
    """
    parameter = separation * (1 + eccentricity * anomaly.cos())  # the semi-latus rectum
    speed = (TOTAL_MASS / parameter).sqrt()
    radial, tangential = speed * eccentricity * anomaly.sin(), speed * (1 + eccentricity * anomaly.cos())
    out = torch.stack([angle.cos(), angle.sin()], dim=-1)
    across = torch.stack([-angle.sin(), angle.cos()], dim=-1)
    position = separation[:, None] * out / 2
    momentum = (radial[:, None] * out + tangential[:, None] * across) / 2
    return torch.cat([position, momentum, -position, -momentum], dim=-1)


def simulate(states: Tensor, steps: int = 20, time_step: float = TIME_STEP, rtol: float = 1e-9) -> Tensor:
    """Integrate the equations of motion with DOP853.

    One step size serves all orbits: the root-mean-square tolerance is tightened by sqrt(n), so that each orbit alone
    meets ``rtol``.

    Args:
        states: at the start (n, 8).
        steps: of a trajectory, the start included.
        time_step: between two of them [time].
        rtol: relative tolerance.

    Returns:
        Trajectories (n, steps, 8), float64.

    Raises:
        ValueError: for a wrong shape or bodies that collide.

    Example:
        >>> circle = torch.tensor([[1.0, 0.0, 0.0, 0.5, -1.0, 0.0, 0.0, -0.5]])
        >>> orbit = simulate(circle, steps=10)[0]
        >>> bool((orbit[:, :2].norm(dim=1) - 1).abs().max() < 1e-6)
        True
    """
    if states.ndim != 2 or states.shape[1] != 8 or len(states) == 0:
        raise ValueError(f"states must have shape (n, 8) with n > 0, got {tuple(states.shape)}")
    times = time_step * np.arange(steps)
    start = states.double().numpy()
    tight = max(rtol / math.sqrt(len(states)), 1e-13)
    solution = solve_ivp(
        _rate(len(start)), (0, times[-1]), start.ravel(), "DOP853", times, rtol=tight, atol=tight
    )
    if not solution.success:
        raise ValueError(f"the orbits could not be followed ({solution.message}); keep the bodies apart")
    return torch.from_numpy(solution.y.T.reshape(steps, *start.shape).swapaxes(0, 1).copy())


def simulated_orbits(
    n_train: int = 800, n_test: int = 800, *, family: Kepler | None = None, seed: int = 0
) -> TwoBodyData:
    """Orbits of 20 steps as in the published set: training starts at angles in (-pi, 0), testing in (0, pi).

    Args:
        n_train: training orbits.
        n_test: test orbits.
        family: to draw them from; near-circular orbits by default.
        seed: of the random numbers.

    Returns:
        The orbits.

    Example:
        >>> simulated_orbits(4, 2).train.shape
        torch.Size([4, 20, 8])
    """
    family = family or Kepler()
    generator = torch.Generator().manual_seed(seed)
    train = simulate(family.draw(n_train, (-math.pi, 0.0), generator))
    test = simulate(family.draw(n_test, (0.0, math.pi), generator))
    return TwoBodyData(train=train, test=test, source=f"the simulator ({family}; seed {seed})")


def energy(states: Tensor) -> Tensor:
    """The energy |p1|^2/2 + |p2|^2/2 - 1/|q1 - q2|.

    Args:
        states: (..., 8).

    Returns:
        Shape (...).

    Example:
        >>> float(energy(torch.tensor([1.0, 0.0, 0.0, 0.5, -1.0, 0.0, 0.0, -0.5])))
        -0.25
    """
    q1, p1, q2, p2 = states.unflatten(-1, (4, 2)).unbind(-2)
    return (p1.square().sum(-1) + p2.square().sum(-1)) / 2 - 1 / (q1 - q2).norm(dim=-1)


def angular_momentum(states: Tensor) -> Tensor:
    """The angular momentum q1 x p1 + q2 x p2, counter-clockwise positive.

    Args:
        states: (..., 8).

    Returns:
        Shape (...).

    Example:
        >>> float(angular_momentum(torch.tensor([1.0, 0.0, 0.0, 0.5, -1.0, 0.0, 0.0, -0.5])))
        1.0
    """
    q1, p1, q2, p2 = states.unflatten(-1, (4, 2)).unbind(-2)
    return _cross(q1, p1) + _cross(q2, p2)


def rotation_drift(follow: Callable[[Tensor], Tensor], states: Tensor, g: Tensor) -> float:
    """|follow(g x) - g follow(x)| / |follow(x)|: 0 when g is a symmetry of the motion.

    Args:
        follow: from states (n, 8) to trajectories.
        states: (n, 8).
        g: (8, 8).

    Returns:
        The relative error.
    """
    actual, expected = follow(states @ g.mT), follow(states) @ g.mT
    return float((actual - expected).norm() / expected.norm())


def _rate(n: int) -> Callable[[float, np.ndarray], np.ndarray]:
    def rate(_: float, flat: np.ndarray) -> np.ndarray:
        q1, p1, q2, p2 = np.moveaxis(flat.reshape(n, 4, 2), 1, 0)
        apart = q1 - q2
        pull = apart / np.linalg.norm(apart, axis=-1, keepdims=True) ** 3
        return np.stack([p1, -pull, p2, pull], axis=1).ravel()

    return rate


def _cross(a: Tensor, b: Tensor) -> Tensor:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]
