"""Nonlinear oscillators with an energy H(q, p): q' = dH/dp, p' = -dH/dq, integrated to rounding by DOP853.

A pendulum, H = p^2 / 2 - cos q, and Lotka-Volterra populations in logarithms. Settings follow Yang et al., *Latent
Space Symmetry Discovery* (arXiv 2310.00105).
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from scipy.integrate import solve_ivp
from torch import Tensor

from tasks.latent.data import Trajectories

__all__ = ["LotkaVolterra", "Oscillator", "Pendulum"]

TOLERANCE = 1e-12  # of the integrator, relative and absolute
MOST_DRAWS = 1000


@dataclass(frozen=True, kw_only=True)
class Oscillator(ABC):
    """A system with two coordinates and a conserved energy; states are (..., 2), float64.

    ``coordinates`` have names with units; initial states are drawn from the ``box`` (lower and upper ends of both
    coordinates), where their energy lies between the two ``energies``.
    """

    name: ClassVar[str]
    coordinates: ClassVar[tuple[str, str]]
    box: ClassVar[tuple[tuple[float, float], tuple[float, float]]]

    @property
    @abstractmethod
    def energies(self) -> tuple[float, float]:
        """Lowest and highest energy of initial states."""

    @abstractmethod
    def energy(self, states: Tensor) -> Tensor:
        """H, one number a state (...)."""

    @abstractmethod
    def rates(self, states: Tensor) -> Tensor:
        """d states / dt."""

    def draw(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """``n`` initial states (n, 2), uniform over the part of the box whose energy is allowed."""
        lower, upper = torch.tensor(self.box, dtype=torch.float64).T
        found = torch.empty(0, 2, dtype=torch.float64)
        for _ in range(MOST_DRAWS):
            if len(found) >= n:
                return found[:n]
            draws = lower + (upper - lower) * torch.rand(4 * n, 2, generator=generator, dtype=torch.float64)
            energy = self.energy(draws)
            allowed = (energy > self.energies[0]) & (energy < self.energies[1])
            found = torch.cat([found, draws[allowed]])
        raise ValueError(f"no initial states with an energy in {self.energies} were found in {self.box}")

    def simulate(self, starts: Tensor, *, steps: int, time_step: float) -> Tensor:
        """Trajectories of the equations of motion.

        Args:
            starts: initial states (m, 2).
            steps: snapshots, the initial one included.
            time_step: between snapshots [time]; negative for backwards.

        Returns:
            States (m, steps, 2).

        Raises:
            ValueError: for a wrong shape or step.
        """
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
        """Trajectories from random initial states.

        Args:
            n: how many.
            steps: snapshots of each.
            time_step: of the simulation [time].
            every: time steps between two snapshots.
            seed: of the initial states.

        Returns:
            The trajectories, with their rates.
        """
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
    """H = p^2 / 2 - cos q: oscillations that do not turn over; length, mass and gravity are one.

    Published: 500 steps of 0.02. The period is 2 pi at small amplitudes and 18 [time] at H = 0.99.

    Args:
        largest_energy: |H| of initial states is below it; less than 1.
    """

    name = "pendulum"
    coordinates = "q [rad]", "p [rad/time]"
    box = (-torch.pi, torch.pi), (-2.0, 2.0)
    largest_energy: float = 0.99

    def __post_init__(self) -> None:
        if not -1 < self.largest_energy < 1:
            raise ValueError(f"largest_energy must lie between -1 and 1, got {self.largest_energy}")

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

    H = c exp(p) - d p + b exp(q) - a q is conserved. Published: a = 2/3, b = 4/3, c = d = 1 [1/time], steps of 0.002,
    H in [3, 4.5].

    Args:
        a: growth of the prey [1/time].
        b: loss of prey to predators [1/time].
        c: growth of the predators by prey [1/time].
        d: loss of predators [1/time].
        lowest_energy: of initial states.
        largest_energy: of initial states.
    """

    name = "lotka-volterra"
    coordinates = "p [log prey]", "q [log predators]"
    box = (-4.5, 2.0), (-6.0, 1.5)
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
