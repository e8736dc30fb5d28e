"""One seed of a study: data, discovery, equations, forecasts and measures, and the files they are kept in."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from discover.equation import Equation
from discover.forecast import forecast
from discover.joint import JointEquation
from discover.laligan import LaLiGAN
from discover.latent_symmetry import LatentSymmetry
from tasks.latent.data import Trajectories
from tasks.latent.equations import find_equation, latent_motion
from tasks.latent.measures import (
    equation_measures,
    equivariance_measures,
    generator_measures,
    orbit_measures,
    reconstruction_error,
)
from tasks.latent.outcome import SeedResult
from tasks.latent.systems import System

__all__ = ["SeedRun"]

METHODS = ("euler", "rk")


@dataclass(kw_only=True, eq=False)
class SeedRun:
    """One seed in the making.

    Args:
        system: what is studied. seed: of data and learning. run: digest of the settings. folder: for the files.
        settings: of ``LaLiGAN``. discard, quick, baseline, progress: as for ``LatentStudy``.
    """

    system: System
    seed: int
    run_digest: str
    folder: Path
    settings: dict[str, Any]
    discard: int = 0
    quick: bool = False
    baseline: bool = True
    progress: bool = True
    seconds: dict[str, float] = field(default_factory=dict)
    measures: dict[str, float | None] = field(default_factory=dict)
    equations: dict[str, str] = field(default_factory=dict)
    curves: dict[str, Tensor] = field(default_factory=dict)

    def run(self) -> SeedResult:
        """All stages; the files of the seed are written at its end."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._timed("simulation"):
            data = self.system.simulate(self.seed, self.discard, self.quick)
        with self._timed("discovery"):
            laligan = self._discover(data)
        symmetry = laligan.symmetry_
        symmetry.save(self.folder / "symmetry.safetensors")
        self._measure(symmetry, data)
        self.measures["reconstruction_error"] = laligan.reconstruction_error_
        if self.system.degree:
            self._equations(symmetry, data)
        if self.system.baseline and self.baseline:
            with self._timed("baseline"):
                self._learn_baseline(data)
        result = SeedResult(
            seed=self.seed,
            run=self.run_digest,
            measures=self.measures,
            equations=self.equations,
            seconds=self.seconds,
            words=[str(laligan.diagnosis_)],
            eigenvalues=[[v.real, v.imag] for v in torch.linalg.eigvals(symmetry.algebra.basis[0]).tolist()],
            history=laligan.history_,
            curves=self.curves,
        )
        result.save(self.folder)
        return result

    def _discover(self, data: Trajectories) -> LaLiGAN:
        laligan = LaLiGAN(**self.settings, **self._common("discovery"))
        return laligan.fit(data.states.float(), coefficients=data.coefficients)

    def _learn_baseline(self, data: Trajectories) -> None:
        """An autoencoder with an equation (Champion et al. 2019), no critic and no group."""
        settings = self.settings | {"gan_weight": 0.0, "starts": 1, "judge_steps": 0}
        settings |= {"equation": JointEquation(degree=self.system.degree)}
        rates = None if data.rates is None else data.rates.float()
        found = LaLiGAN(**settings, **self._common("baseline")).fit(data.states.float(), rates=rates)
        found.symmetry_.save(self.folder / "baseline.safetensors")
        self.measures["baseline_reconstruction_error"] = found.reconstruction_error_
        if found.equation_ is not None:
            self._keep("baseline", found.symmetry_, found.equation_, data)

    def _common(self, label: str) -> dict[str, Any]:
        path = self.folder / "checkpoints" / f"{label}.pt"
        return {"seed": self.seed, "checkpoint": path, "progress": self.progress}

    def _measure(self, symmetry: LatentSymmetry, data: Trajectories) -> None:
        if data.coefficients is None:
            self.measures |= generator_measures(symmetry.algebra)
        held = self.system.held_out(self.seed, self.discard, self.quick)
        if held is None:
            return
        self.measures["reconstruction_unseen"] = reconstruction_error(symmetry, held.states.float())
        if self.system.energy is not None:
            self.measures |= orbit_measures(symmetry, held.states.float(), self.system.energy)
        if held.coefficients is not None:
            self.measures |= equivariance_measures(symmetry, held.states.float(), held.coefficients)

    def _equations(self, symmetry: LatentSymmetry, data: Trajectories) -> None:
        with self._timed("equation"):
            z, rates = latent_motion(symmetry, data)
            found: dict[str, Equation] = {}
            for name, known in (("symmetry", None), ("constrained", symmetry)):
                settings: dict[str, Any] = {"degree": self.system.degree}
                settings |= {} if known is None else dict(self.system.constrained)
                try:
                    found[name] = find_equation(z, rates, symmetry=known, **settings)
                except ValueError as error:
                    self.equations[name] = f"none: {error}"
        self.measures["seconds_to_equation"] = sum(self.seconds.values())
        for name, equation in found.items():
            predicted = equation(z.double())
            self.measures[f"{name}_residual"] = float((predicted - rates).norm() / rates.double().norm())
            self._keep(name, symmetry, equation, data)

    def _keep(self, name: str, coder: LatentSymmetry, equation: Equation, data: Trajectories) -> None:
        """An equation, its measures, and what it foretells; those of the symmetry's free equation go unprefixed."""
        equation.save(self.folder / f"equation-{name}.safetensors")
        self.equations[name] = str(equation)
        prefix = "" if name == "symmetry" else f"{name}_"
        self.measures |= {f"{prefix}{key}": value for key, value in equation_measures(equation).items()}
        if self.system.forecast:
            with self._timed(f"forecast_{name}"):
                self.measures |= {
                    f"{prefix}{k}": v for k, v in self._foretell(name, coder, equation, data).items()
                }

    def _foretell(
        self, name: str, coder: LatentSymmetry, equation: Equation, data: Trajectories
    ) -> dict[str, float | None]:
        """Errors of the whole trajectory from its first snapshot, by both methods."""
        x = data.states[0].float()
        times = data.time_step * torch.arange(len(x), dtype=torch.float64)
        measures: dict[str, float | None] = {}
        for method in METHODS:
            told = forecast(coder, equation, x, times, method=method)
            self.curves |= {f"{name}, {method}": told.error, f"{name}, reconstruction": told.floor}
            suffix = "" if method == "rk" else f"_{method}"
            measures[f"forecast_end{suffix}"] = float(told.error[-1])
            measures[f"forecast_largest{suffix}"] = float(told.error.max())
            measures[f"forecast_left{suffix}"] = told.left
        self.curves["times"] = times
        return measures

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[stage] = time.perf_counter() - start
