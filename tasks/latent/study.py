"""The study of a latent symmetry: simulate, discover, find the equation of motion, foretell, measure."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from hashlib import sha256
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
from tasks.latent.outcome import LatentOutcome, SeedResult
from tasks.latent.systems import SYSTEMS, System

__all__ = ["LatentStudy"]

METHODS = ("euler", "rk")


def _silent(line: str) -> None:
    """Tells nobody."""


def _flag(name: str, value: object) -> str:
    option = name.replace("_", "-")
    return f"--{'' if value else 'no-'}{option}" if isinstance(value, bool) else f"--{option} {value}"


@dataclass(kw_only=True)
class LatentStudy:
    """Discovery of a symmetry that is linear in a learned latent space, and what it is worth to an equation of motion.

    Args:
        out: folder of the run, runs/latent-SYSTEM by default; finished seeds found there are kept, and a seed that
            was stopped goes on from its checkpoint.
        seed: the first seed; of the learning, and of the data where they are drawn.
        seeds: how many.
        quick: small data and a short game, to see that everything runs; its figures mean nothing.
        steps: most steps of the game; LaLiGAN's own number when left out.
        starts: games that are tried before one is played on; LaLiGAN's own number when left out.
        discard: snapshots of the transient to leave out.
        baseline: train the autoencoder with an equation and without a symmetry beside, where the system has one.
        progress: show bars.
    """

    out: Path | None = None
    seed: int = 0
    seeds: int = 1
    quick: bool = False
    steps: int | None = None
    starts: int | None = None
    discard: int = 0
    baseline: bool = True
    progress: bool = True

    def run(self, name: str, tell: Callable[[str], None] = _silent) -> LatentOutcome:
        """Every seed of the system ``name``, in order; ``tell`` is given a sentence after each. Files go to ``out``.

        Raises ``ValueError`` for an unknown system, settings without meaning, or a folder of other settings.
        """
        self._check(name)
        folder = self.folder(name)
        folder.mkdir(parents=True, exist_ok=True)
        outcome = LatentOutcome(system=name, title=SYSTEMS[name].title, targets=SYSTEMS[name].targets)
        for seed in range(self.seed, self.seed + self.seeds):
            found = SeedResult.load(folder / f"seed-{seed}")
            if found is None:
                found = _Seed(study=self, name=name, seed=seed, folder=folder / f"seed-{seed}").run()
            elif found.run != self.fingerprint(name):
                raise ValueError(
                    f"{folder}/seed-{seed} belongs to a run with other settings; give another --out, or remove it"
                )
            tell(str(found))
        outcome.results = list(self._finished(folder, name))
        return outcome

    def folder(self, name: str) -> Path:
        """Where a system's files go."""
        return Path(f"runs/latent-{name}") if self.out is None else self.out

    def config(self, name: str) -> dict[str, Any]:
        """Every setting that decides a figure, as ``json`` can write it."""
        chosen = {
            f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("out", "seeds", "progress")
        }
        return {"system": name} | chosen | {"laligan": self.settings(name)}

    def settings(self, name: str) -> dict[str, Any]:
        """Of ``LaLiGAN``, for a system."""
        system = SYSTEMS[name]
        given = {"steps": self.steps, "starts": self.starts}
        settings = {**system.settings, **(system.quick if self.quick else {})}
        settings |= {key: value for key, value in given.items() if value is not None}
        if self.steps is not None:
            settings["cooldown"] = min(settings.get("cooldown", LaLiGAN.cooldown), self.steps // 2)
        return settings

    def fingerprint(self, name: str) -> str:
        """Digest of the settings; the same for every seed."""
        config = {key: value for key, value in self.config(name).items() if key != "seed"}
        return sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()

    def command(self, name: str) -> str:
        """What to type to do the same again."""
        changed = [f for f in fields(self) if f.name != "progress" and getattr(self, f.name) != f.default]
        return " ".join(["liesmith latent", name, *(_flag(f.name, getattr(self, f.name)) for f in changed)])

    def simulate(self, name: str, seed: int) -> Trajectories:
        """Data to learn from."""
        return SYSTEMS[name].simulate(seed, self.discard, self.quick)

    def _finished(self, folder: Path, name: str) -> Iterator[SeedResult]:
        """All finished seeds of these settings, other processes' too."""
        for path in sorted(folder.glob("seed-*"), key=lambda p: int(p.name.removeprefix("seed-"))):
            found = SeedResult.load(path)
            if found is not None and found.run == self.fingerprint(name):
                yield found

    def _check(self, name: str) -> None:
        if name not in SYSTEMS:
            raise ValueError(f"unknown system {name!r}; choose from {', '.join(SYSTEMS)}")
        for key in ("seeds", "steps", "starts"):
            value = getattr(self, key)
            if value is not None and value < 1:
                raise ValueError(f"{key} must be at least 1, got {value}")
        if min(self.discard, self.seed) < 0:
            raise ValueError(f"discard and seed must not be negative, got {self.discard} and {self.seed}")


@dataclass(kw_only=True, eq=False)
class _Seed:
    """One seed in the making."""

    study: LatentStudy
    name: str
    seed: int
    folder: Path
    seconds: dict[str, float] = field(default_factory=dict)
    measures: dict[str, float | None] = field(default_factory=dict)
    equations: dict[str, str] = field(default_factory=dict)
    curves: dict[str, Tensor] = field(default_factory=dict)

    @property
    def system(self) -> System:
        return SYSTEMS[self.name]

    def run(self) -> SeedResult:
        """All stages; the files of the seed are written at its end."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._timed("simulation"):
            data = self.study.simulate(self.name, self.seed)
        with self._timed("discovery"):
            laligan = self._discover(data)
        symmetry = laligan.symmetry_
        symmetry.save(self.folder / "symmetry.safetensors")
        self._measure(symmetry, data)
        self.measures["reconstruction_error"] = laligan.reconstruction_error_
        if self.system.degree:
            self._equations(symmetry, data)
        if self.system.baseline and self.study.baseline:
            with self._timed("baseline"):
                self._baseline(data)
        result = SeedResult(
            seed=self.seed,
            run=self.study.fingerprint(self.name),
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
        laligan = LaLiGAN(**self.study.settings(self.name), **self._common("discovery"))
        return laligan.fit(data.states.float(), coefficients=data.coefficients)

    def _baseline(self, data: Trajectories) -> None:
        """An autoencoder with an equation (Champion et al. 2019), no critic and no group."""
        settings = self.study.settings(self.name) | {"gan_weight": 0.0, "starts": 1, "judge_steps": 0}
        settings |= {"equation": JointEquation(degree=self.system.degree)}
        rates = None if data.rates is None else data.rates.float()
        found = LaLiGAN(**settings, **self._common("baseline")).fit(data.states.float(), rates=rates)
        found.symmetry_.save(self.folder / "baseline.safetensors")
        self.measures["baseline_reconstruction_error"] = found.reconstruction_error_
        if found.equation_ is not None:
            self._keep("baseline", found.symmetry_, found.equation_, data)

    def _common(self, label: str) -> dict[str, Any]:
        path = self.folder / "checkpoints" / f"{label}.pt"
        return {"seed": self.seed, "checkpoint": path, "progress": self.study.progress}

    def _measure(self, symmetry: LatentSymmetry, data: Trajectories) -> None:
        if data.coefficients is None:
            self.measures |= generator_measures(symmetry.algebra)
        held = self.system.held_out(self.seed, self.study.discard, self.study.quick)
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
                try:
                    found[name] = find_equation(z, rates, degree=self.system.degree, symmetry=known)
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
