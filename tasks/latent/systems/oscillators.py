"""Nonlinear oscillators with an energy H(q, p): q' = dH/dp, p' = -dH/dq, integrated to rounding by DOP853.

A pendulum, H = p^2 / 2 - cos q, and Lotka-Volterra populations in logarithms. Settings follow Yang et al., *Latent
Space Symmetry Discovery* (arXiv 2310.00105).
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from scipy.integrate import solve_ivp
from torch import Tensor

from tasks.latent.data import Trajectories

__all__ = ["LotkaVolterra", "Oscillator", "Pendulum"]

TOLERANCE = 1e-12  # of the integrator, relative and absolute
MOST_DRAWS = 1000


@dataclass(frozen=True, kw_only=True)
class Oscillator(ABC):
    """A system with two coordinates and an energy that it keeps; states are (..., 2), float64."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Of the system."""

    @property
    @abstractmethod
    def coordinates(self) -> tuple[str, str]:
        """Names with units."""

    @property
    @abstractmethod
    def box(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Lower and upper ends of both coordinates, between which starts are looked for."""

    @property
    @abstractmethod
    def energies(self) -> tuple[float, float]:
        """Between which starts lie."""

    @abstractmethod
    def energy(self, states: Tensor) -> Tensor:
        """H, one number a state (...)."""

    @abstractmethod
    def rates(self, states: Tensor) -> Tensor:
        """d states / dt."""

    def draw(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """``n`` starts (n, 2), uniform over the part of the box whose energy is allowed."""
        lower, upper = torch.tensor(self.box, dtype=torch.float64).T
        found = torch.empty(0, 2, dtype=torch.float64)
        for _ in range(MOST_DRAWS):
            if len(found) >= n:
                return found[:n]
            draws = lower + (upper - lower) * torch.rand(4 * n, 2, generator=generator, dtype=torch.float64)
            energy = self.energy(draws)
            allowed = (energy > self.energies[0]) & (energy < self.energies[1])
            found = torch.cat([found, draws[allowed]])
        raise ValueError(f"no starts with an energy in {self.energies} were found between {self.box}")

    def simulate(self, starts: Tensor, *, steps: int, time_step: float) -> Tensor:
        """States (m, steps, 2) from starts (m, 2), which come first, ``time_step`` [time] apart."""
        if starts.ndim != 2 or starts.shape[1] != 2 or not len(starts):
            raise ValueError(f"starts must have shape (m, 2), got {tuple(starts.shape)}")
        if steps < 1 or not time_step:
            raise ValueError(f"steps and time_step must be positive, got {steps} and {time_step}")
        times = time_step * torch.arange(steps, dtype=torch.float64).numpy()
        if steps == 1:
            return starts.double()[:, None]

        def flow(_: float, flat):
            return self.rates(torch.from_numpy(flat).reshape(-1, 2)).flatten().numpy()

        end = (0.0, float(times[-1]))
        flat = starts.double().flatten().numpy()
        solution = solve_ivp(flow, end, flat, "DOP853", times, rtol=TOLERANCE, atol=TOLERANCE)
        if not solution.success:
            raise ValueError(f"{self.name} could not be integrated: {solution.message}")
        return torch.from_numpy(solution.y).reshape(len(starts), 2, steps).mT.contiguous()

    def trajectories(
        self, n: int = 200, *, steps: int, time_step: float, every: int = 1, seed: int = 0
    ) -> Trajectories:
        """``n`` seeded orbits of ``steps`` snapshots, one kept of every ``every`` time steps [time]."""
        starts = self.draw(n, torch.Generator().manual_seed(seed))
        states = self.simulate(starts, steps=steps, time_step=every * time_step)
        return Trajectories(
            name=self.name,
            states=states,
            time_step=every * time_step,
            coordinates=self.coordinates,
            rates=self.rates(states),
        )


@dataclass(frozen=True, kw_only=True)
class Pendulum(Oscillator):
    """H = p^2 / 2 - cos q: swings that do not turn over; length, mass and gravity are one.

    Published: 500 steps of 0.02. A swing near the top (H = 0.99) takes 18 [time], near the bottom 2 pi.
    """

    largest_energy: float = 0.99

    def __post_init__(self) -> None:
        if not -1 < self.largest_energy < 1:
            raise ValueError(f"largest_energy must lie between -1 and 1, got {self.largest_energy}")

    @property
    def name(self) -> str:
        """Of the system."""
        return "pendulum"

    @property
    def coordinates(self) -> tuple[str, str]:
        """Angle from rest, and its rate."""
        return "q [rad]", "p [rad/time]"

    @property
    def box(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """All angles; speeds up to two."""
        return (-torch.pi, torch.pi), (-2.0, 2.0)

    @property
    def energies(self) -> tuple[float, float]:
        """Both ends less than one, as published: |H| < 0.99."""
        return -abs(self.largest_energy), abs(self.largest_energy)

    def energy(self, states: Tensor) -> Tensor:
        """p^2 / 2 - cos q."""
        return states[..., 1].square() / 2 - states[..., 0].cos()

    def rates(self, states: Tensor) -> Tensor:
        """(p, -sin q)."""
        return torch.stack([states[..., 1], -states[..., 0].sin()], dim=-1)


@dataclass(frozen=True, kw_only=True)
class LotkaVolterra(Oscillator):
    """Prey and predators in logarithms: p' = a - b exp(q), q' = c exp(p) - d.

    H = c exp(p) - d p + b exp(q) - a q stays. Published: a = 2/3, b = 4/3, c = d = 1 [1/time], steps of 0.002, H in
    [3, 4.5].
    """

    a: float = 2 / 3
    b: float = 4 / 3
    c: float = 1.0
    d: float = 1.0
    lowest_energy: float = 3.0
    largest_energy: float = 4.5

    def __post_init__(self) -> None:
        if not min(self.a, self.b, self.c, self.d) > 0:
            raise ValueError(f"all rates must be positive, got {self.a}, {self.b}, {self.c}, {self.d}")

    @property
    def name(self) -> str:
        """Of the system."""
        return "lotka-volterra"

    @property
    def coordinates(self) -> tuple[str, str]:
        """Logarithms of prey and of predators."""
        return "p [log prey]", "q [log predators]"

    @property
    def box(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Holds all orbits of the published energies."""
        return (-4.5, 2.0), (-6.0, 1.5)

    @property
    def energies(self) -> tuple[float, float]:
        """As the fields say."""
        return self.lowest_energy, self.largest_energy

    def energy(self, states: Tensor) -> Tensor:
        """c exp(p) - d p + b exp(q) - a q."""
        p, q = states.unbind(-1)
        return self.c * p.exp() - self.d * p + self.b * q.exp() - self.a * q

    def rates(self, states: Tensor) -> Tensor:
        """(a - b exp(q), c exp(p) - d)."""
        p, q = states.unbind(-1)
        return torch.stack([self.a - self.b * q.exp(), self.c * p.exp() - self.d], dim=-1)
