"""The systems whose latent symmetry is studied: their simulation, the settings of LaLiGAN, and the targets.

Settings of data follow Yang et al., *Latent Space Symmetry Discovery* (arXiv 2310.00105).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from tasks.common.results import Target
from tasks.latent.data import Trajectories
from tasks.latent.systems.bumps import double_bumps
from tasks.latent.systems.oscillators import LotkaVolterra, Oscillator, Pendulum
from tasks.latent.systems.reaction_diffusion import ReactionDiffusion, spiral_waves
from tasks.latent.systems.solid import Solid, rotating_solids

__all__ = ["SYSTEMS", "System"]

HELD_OUT = 10_000  # added to a seed, for data outside of the training
Simulate = Callable[[int, int, bool], Trajectories]


@dataclass(frozen=True, kw_only=True)
class System:
    """One system of the study.

    Args:
        title: for readers.
        simulate: (seed, discard, quick) to the data to learn from.
        sampled: whether another seed gives other data, so that held-out data can be drawn.
        settings: of ``LaLiGAN``.
        quick: settings that differ in a quick run.
        energy: conserved quantity of states (..., 2), if there is one.
        degree: of the library of equations; 0 where no equation is fitted.
        constrained: settings of ``SINDy`` for the equivariant equation, where they differ.
        refined: increasing degrees of the equivariant equations that are refined on the trajectory; the one with the
            best forecast is taken.
        refined_freely: the same for equations with all terms.
        forecast: whether the trajectory is forecast from its first snapshot.
        baseline: whether an autoencoder with an equation and without a symmetry is trained for comparison.
        targets: what the measures should reach.
    """

    title: str
    simulate: Simulate
    sampled: bool = True
    settings: Mapping[str, Any] = field(default_factory=dict)
    quick: Mapping[str, Any] = field(default_factory=dict)
    energy: Callable[[Tensor], Tensor] | None = None
    degree: int = 2
    constrained: Mapping[str, Any] = field(default_factory=dict)
    refined: tuple[int, ...] = ()
    refined_freely: tuple[int, ...] = ()
    forecast: bool = False
    baseline: bool = False
    targets: tuple[Target, ...] = ()

    def held_out(self, seed: int, discard: int, quick: bool) -> Trajectories | None:
        """Data of another seed than the training; None where there is only one trajectory."""
        return self.simulate(seed + HELD_OUT, discard, quick) if self.sampled else None


def _waves(seed: int, discard: int, quick: bool) -> Trajectories:
    if quick:
        return spiral_waves(steps=600, every=2, discard=discard, system=ReactionDiffusion(points=32))
    return spiral_waves(discard=discard)


def _orbits(oscillator: Oscillator, steps: int, time_step: float, every: int) -> Simulate:
    def simulate(seed: int, discard: int, quick: bool) -> Trajectories:
        n, stride = (40, 4 * every) if quick else (200, every)
        kept = 1 + (steps - 1) // stride + discard
        data = oscillator.trajectories(n, steps=kept, time_step=time_step, every=stride, seed=seed)
        return data.between(discard) if discard else data

    return simulate


def _bumps(seed: int, discard: int, quick: bool) -> Trajectories:
    return double_bumps(500 if quick else 10_000, seed=seed)


def _solids(seed: int, discard: int, quick: bool) -> Trajectories:
    return (
        rotating_solids(300, seed=seed, solid=Solid(size=16)) if quick else rotating_solids(20_000, seed=seed)
    )


QUICK = {
    "width": 32,
    "depth": 2,
    "steps": 300,
    "cooldown": 100,
    "starts": 1,
    "restarts": 0,
    "evaluation_steps": 100,
}
QUICK_IMAGES = QUICK | {"reduction": 0.1}
BUMPS = {"width": 128, "steps": 4000, "cooldown": 3000, "starts": 1}
SOLIDS = {
    "width": 256, "reduction": 0.2, "learning_rate": 3e-3, "batch_size": 256, "equivariance_weight": 3.0,
    "anchor_weight": 0.1, "tolerance": 0.0, "steps": 3500, "cooldown": 3000, "starts": 1,
}  # fmt: skip
ORBITS = {"latent_dim": 2, "motion_weight": 1.0}  # windows of two do not determine L; exact rates do
# the period of an orbit depends on its energy: z' = w(r^2) J z, w a polynomial
PERIODS = {"degree": 5, "threshold": 0.01}
# the spiral drifts slowly: r' = a r + b r^3 + ..., small compared with the rotation
TRANSIENT = {"degree": 3, "threshold": 0.01}
SKEW = Target(measure="cosine_inner", at_least=0.999)
EQUIVARIANT = (Target(measure="equivariance_error", at_most=0.05),)
ENERGY = (Target(measure="energy_drift", at_most=0.02),)

SYSTEMS: dict[str, System] = {
    "reaction-diffusion": System(
        title="Reaction-diffusion, two latent dimensions",
        simulate=_waves,
        sampled=False,
        settings={"latent_dim": 2},
        quick=QUICK,
        constrained=TRANSIENT,
        refined=(1, 3, 5),
        refined_freely=(1, 3, 5),
        forecast=True,
        baseline=True,
        targets=(
            SKEW,
            Target(measure="reconstruction_error", at_most=0.005),
            Target(measure="terms", at_least=2, at_most=2),
            Target(measure="coefficient_mismatch", at_most=0.01),
            Target(measure="seconds_to_equation", at_most=300),
        ),
    ),
    "reaction-diffusion-3d": System(
        title="Reaction-diffusion, three latent dimensions",
        simulate=_waves,
        sampled=False,
        settings={"latent_dim": 3, "motion_weight": 1.0, "restarts": 2},
        quick=QUICK,
        constrained=TRANSIENT,
        refined=(1, 2, 3, 4, 5),
        refined_freely=(1, 2, 3),
        forecast=True,
        baseline=True,
        targets=(
            SKEW,
            Target(measure="rank", at_least=2, at_most=2),
            Target(measure="largest_degree", at_most=1),
            Target(measure="equation_rank", at_least=2, at_most=2),
            Target(measure="isometry_rank", at_least=2, at_most=2),
            Target(measure="forecast_end", at_most=0.01),
            Target(measure="constrained_whole_forecast_end", at_most=0.01),
            Target(measure="constrained_whole_forecast_largest", at_most=0.01),
            Target(measure="constrained_whole_forecast_late", at_most=0.01),
            Target(measure="constrained_refined_forecast_end", at_most=0.01),
            Target(measure="constrained_refined_forecast_unseen", at_most=0.01),
        ),
    ),
    "pendulum": System(
        title="Pendulum",
        simulate=_orbits(Pendulum(), 1000, 0.02, 1),
        settings=ORBITS,
        quick=QUICK,
        energy=Pendulum().energy,
        constrained=PERIODS,
        targets=ENERGY,
    ),
    "lotka-volterra": System(
        title="Lotka-Volterra",
        simulate=_orbits(LotkaVolterra(), 6000, 0.002, 10),
        settings=ORBITS,
        quick=QUICK,
        energy=LotkaVolterra().energy,
        constrained=PERIODS,
        targets=ENERGY,
    ),
    "double-bump": System(
        title="Two bumps on a ring",
        simulate=_bumps,
        settings={"latent_dim": 4, "structure": "so(2)+so(2)"} | BUMPS,
        quick=QUICK_IMAGES,
        degree=0,
        targets=EQUIVARIANT,
    ),
    "rotating-object": System(
        title="Rotating object",
        simulate=_solids,
        settings={"latent_dim": 9, "structure": "3*so(3)"} | SOLIDS,
        quick=QUICK_IMAGES,
        degree=0,
        targets=EQUIVARIANT,
    ),
}
