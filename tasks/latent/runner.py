"""One seed of a study: data, discovery, equations, forecasts and measures, and the files they are kept in."""

import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from discover.equations.equation import Equation
from discover.equations.joint import JointEquation
from discover.equations.shooting import Candidate
from discover.latent.laligan import LaLiGAN
from discover.latent.symmetry import LatentSymmetry
from discover.latent.windows import prepare_windows
from tasks.latent.data import Trajectories
from tasks.latent.forecasting import (
    Foretold,
    boundary,
    find_equation,
    foretell,
    foretell_refined,
    latent_motion,
    refine_on_all,
    refine_on_first_part,
    stride,
)
from tasks.latent.metrics import (
    equation_measures,
    equivariance_measures,
    generator_measures,
    isometry_measures,
    orbit_measures,
    reconstruction_error,
)
from tasks.latent.results import SeedResult
from tasks.latent.systems.presets import System

__all__ = ["Learned", "SeedRun", "learn"]

RENAMED = {  # settings of LaLiGAN, from version 0.1
    "law": "distribution", "law_scale": "distribution_scale", "rate": "learning_rate", "trial": "trial_steps",
    "generator_rate": "generator_learning_rate", "critic_rate": "critic_learning_rate",
    "judge_steps": "evaluation_steps",
}  # fmt: skip
FREE = ("checkpoint", "checkpoint_every", "progress", "device")  # settings that decide no figure


@dataclass(kw_only=True, eq=False)
class Learned:
    """An autoencoder with its algebra, and what the learning said of itself.

    ``words``: of the diagnosis; ``seconds``: of the simulation and of the learning; ``equation``: learned beside.
    """

    symmetry: LatentSymmetry
    reconstruction_error: float
    words: str
    seconds: dict[str, float]
    history: list[dict[str, float]] = field(default_factory=list)
    equation: Equation | None = None


def learn(
    laligan: LaLiGAN, data: Trajectories, folder: Path, label: str, seconds: dict[str, float], stage: str
) -> Learned:
    """Read ``label``.safetensors and ``label``.json of the folder, or fit ``laligan`` to the data and write them.

    ``seconds`` are those of the stages before, and ``stage`` names this one. Rates of change are given where an
    equation is to be learned too. Raises ``ValueError`` for files that other settings or other data made.
    """
    settings = _settings(laligan)
    found = _read(folder, label, settings, data)
    if found is not None:
        return found
    start = time.perf_counter()
    rates = data.rates.float() if data.rates is not None and _wants_rates(laligan) else None
    laligan.fit(data.states.float(), coefficients=data.coefficients, rates=rates)
    learned = Learned(
        symmetry=laligan.symmetry_,
        reconstruction_error=laligan.reconstruction_error_,
        words=str(laligan.diagnosis_),
        seconds=seconds | {stage: time.perf_counter() - start},
        history=laligan.history_,
        equation=laligan.equation_,
    )
    _write(learned, folder, label, settings, data)
    return learned


def _wants_rates(laligan: LaLiGAN) -> bool:
    return laligan.equation is not None or bool(getattr(laligan, "motion_weight", 0.0))


def _settings(laligan: LaLiGAN) -> dict[str, Any]:
    """As ``json`` gives them back."""
    config = {name: value for name, value in laligan.config().items() if name not in FREE}
    return json.loads(json.dumps(config, default=str))


def _write(learned: Learned, folder: Path, label: str, settings: dict[str, Any], data: Trajectories) -> None:
    learned.symmetry.save(folder / f"{label}.safetensors")
    if learned.equation is not None:
        learned.equation.save(folder / f"{label}-equation.safetensors")
    record = {"settings": settings, "data": data.digest, "reconstruction_error": learned.reconstruction_error}
    record |= {"words": learned.words, "seconds": learned.seconds, "history": learned.history}
    fresh = folder / f"{label}.json.{os.getpid()}.part"
    fresh.write_text(json.dumps(record) + "\n", encoding="utf-8")
    os.replace(fresh, folder / f"{label}.json")


def _read(folder: Path, label: str, settings: dict[str, Any], data: Trajectories) -> Learned | None:
    path = folder / f"{label}.safetensors"
    record = _record(folder, label, path, data)
    if record is None:
        return None
    if record["data"] != data.digest or not _same(record["settings"], settings):
        raise ValueError(
            f"{path} belongs to a run with other settings or other data; give another --out, or remove it"
        )
    equation = folder / f"{label}-equation.safetensors"
    return Learned(
        symmetry=LatentSymmetry.load(path),
        equation=Equation.load(equation) if equation.is_file() else None,
        **{name: record[name] for name in ("reconstruction_error", "words", "seconds", "history")},
    )


def _record(folder: Path, label: str, path: Path, data: Trajectories) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    if (folder / f"{label}.json").is_file():
        return json.loads((folder / f"{label}.json").read_text(encoding="utf-8"))
    return _record_of_a_finished_seed(folder, path, data) if label == "symmetry" else None


def _record_of_a_finished_seed(folder: Path, path: Path, data: Trajectories) -> dict[str, Any] | None:
    """Of a symmetry that was saved before its record was: from its provenance, and from the seed's result."""
    if not (folder / "result.json").is_file():
        return None
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    about = LatentSymmetry.load(path).algebra.provenance
    same = bool(about) and about["data"] == _kept_digest(about["config"], data)
    return {
        "settings": about.get("config", {}),
        "data": data.digest if same else "of other data",
        "reconstruction_error": result["measures"]["reconstruction_error"],
        "words": " ".join(result["words"]),
        "seconds": {s: t for s, t in result["seconds"].items() if s in ("simulation", "discovery")},
        "history": result["history"],
    }


def _kept_digest(config: dict[str, Any], data: Trajectories) -> str:
    """Digest of the held-out windows that settings choose from data."""
    windows, _ = prepare_windows(
        data.states.float(), labels=None, coefficients=data.coefficients, rates=None, dt=None,
        window=config["window"], stride=config["stride"],
        tolerance=config["reduction"] if config["encoder"] == "mlp" else None,
    )  # fmt: skip
    dtype = getattr(torch, config["dtype"])
    return windows.to("cpu", dtype).split(config["held_out"], config["seed"])[1].digest


def _same(recorded: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Whether settings agree; one that was not yet known must stand at its default."""
    defaults = json.loads(json.dumps({f.name: f.default for f in fields(LaLiGAN)}, default=str))
    recorded = {RENAMED.get(name, name): value for name, value in recorded.items()}
    return all(recorded.get(name, defaults.get(name)) == value for name, value in wanted.items())


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
    words: list[str] = field(default_factory=list)
    curves: dict[str, Tensor] = field(default_factory=dict)

    def run(self) -> SeedResult:
        """All stages; what was learned before is read, all else is made anew. The result is written at the end."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._timed("simulation"):
            data = self.system.simulate(self.seed, self.discard, self.quick)
        learned = learn(self._laligan(), data, self.folder, "symmetry", dict(self.seconds), "discovery")
        self.seconds |= learned.seconds
        self.words.append(learned.words)
        self._measure(learned.symmetry, data)
        self.measures["reconstruction_error"] = learned.reconstruction_error
        if self.system.degree:
            self._equations(learned.symmetry, data)
        if self.system.baseline and self.baseline:
            self._baseline(data)
        return self._finish(learned)

    def _finish(self, learned: Learned) -> SeedResult:
        values = torch.linalg.eigvals(learned.symmetry.algebra.basis[0]).tolist()
        result = SeedResult(
            seed=self.seed,
            run=self.run_digest,
            measures=self.measures,
            equations=self.equations,
            seconds=self.seconds,
            words=self.words,
            eigenvalues=[[v.real, v.imag] for v in values],
            history=learned.history,
            curves=self.curves,
        )
        result.save(self.folder)
        return result

    def _laligan(self) -> LaLiGAN:
        return LaLiGAN(**self.settings, **self._common("discovery"))

    def _baseline(self, data: Trajectories) -> None:
        """An autoencoder with an equation (Champion et al. 2019), no critic and no group; a failure is an answer."""
        settings = self.settings | {"gan_weight": 0.0, "starts": 1, "evaluation_steps": 0}
        settings |= {"equation": JointEquation(degree=self.system.degree)}
        laligan = LaLiGAN(**settings, **self._common("baseline"))
        try:
            found = learn(laligan, data, self.folder, "baseline", {}, "baseline")
        except (ArithmeticError, RuntimeError) as error:
            self.equations["baseline"] = f"none: {error}"
            return
        self.seconds |= found.seconds
        self.measures["baseline_reconstruction_error"] = found.reconstruction_error
        if found.equation is not None:
            self._keep("baseline", found.symmetry, found.equation, data)
            self._refine("baseline", found.symmetry, [(found.equation, None)], data)

    def _common(self, label: str) -> dict[str, Any]:
        path = self.folder / "checkpoints" / f"{label}.pt"
        return {"seed": self.seed, "checkpoint": path, "progress": self.progress}

    def _measure(self, symmetry: LatentSymmetry, data: Trajectories) -> None:
        if data.coefficients is None:
            self.measures |= generator_measures(symmetry.algebra) | isometry_measures(symmetry)
        held = self.system.held_out(self.seed, self.discard, self.quick)
        if held is None:
            return
        self.measures["reconstruction_unseen"] = reconstruction_error(symmetry, held.states.float())
        if self.system.energy is not None:
            self.measures |= orbit_measures(symmetry, held.states.float(), self.system.energy)
        if held.coefficients is not None:
            self.measures |= equivariance_measures(symmetry, held.states.float(), held.coefficients)

    def _equations(self, symmetry: LatentSymmetry, data: Trajectories) -> None:
        """The free equation, that within the symmetry's fields, and the free one of the same library as the latter."""
        with self._timed("equation"):
            coder = symmetry.adapted()
            motion = latent_motion(coder, data)
            self._find("symmetry", coder, data, motion, None, {"degree": self.system.degree})
        coder.save(self.folder / "adapted.safetensors")
        if "coefficient_mismatch" in self.measures:
            self._in_learned_coordinates(coder, motion)
        self.measures["seconds_to_equation"] = sum(
            self.seconds[stage] for stage in ("simulation", "discovery", "equation")
        )
        known = self._exact(symmetry)
        if known is not None:
            larger = {"degree": self.system.degree} | dict(self.system.constrained)
            self._find("constrained", coder, data, motion, known, larger)
        if self.system.forecast:
            for name, group in (("constrained", known), ("free", None)):
                if name == "free" or group is not None:
                    self._follow(name, coder, data, motion, group)

    def _in_learned_coordinates(self, coder: LatentSymmetry, motion: tuple[Tensor, Tensor]) -> None:
        """How alike the two coefficients are where nobody has adapted the coordinates."""
        frame = torch.tensor(coder.algebra.provenance["frame"], dtype=motion[0].dtype)
        learned = (part @ torch.linalg.inv(frame).mT for part in motion)
        mismatch = equation_measures(find_equation(*learned, degree=self.system.degree).equation_)[
            "coefficient_mismatch"
        ]
        if mismatch is not None:
            self.measures["coefficient_mismatch_learned"] = mismatch

    def _exact(self, symmetry: LatentSymmetry) -> LatentSymmetry | None:
        """With generators that keep the inner product exactly, since a learned one keeps no cubic field."""
        try:
            return symmetry.adapted(exact=True)
        except ValueError as error:
            self.equations["constrained"] = f"none: {error}"
            return None

    def _find(
        self, name: str, symmetry: LatentSymmetry, data: Trajectories, motion: tuple[Tensor, Tensor],
        known: LatentSymmetry | None, settings: dict[str, Any],
    ) -> None:  # fmt: skip
        """An equation by regression on rates."""
        try:
            sindy = find_equation(*motion, symmetry=known, **settings)
        except ValueError as error:
            self.equations[name] = f"none: {error}"
            return
        self.measures[f"{name}_residual"] = sindy.residual_
        self._keep(name, symmetry, sindy.equation_, data)

    def _follow(
        self, name: str, symmetry: LatentSymmetry, data: Trajectories, motion: tuple[Tensor, Tensor],
        known: LatentSymmetry | None,
    ) -> None:  # fmt: skip
        """The best of several degrees with all of their terms, refined."""
        z, rates = (part[: boundary(len(part))] for part in motion)
        candidates: list[Candidate] = []
        degrees = self.system.refined if known is not None else self.system.refined_freely
        for degree in degrees or (self.system.degree,):
            try:
                sindy = find_equation(z, rates, symmetry=known, degree=degree, threshold=0.0)
            except ValueError as error:
                self.equations[f"{name}_refined"] = f"none: {error}"
            else:
                candidates.append((sindy.equation_, sindy.fields_))
        if candidates:
            self._refine(name, symmetry, candidates, data)

    def _keep(self, name: str, coder: LatentSymmetry, equation: Equation, data: Trajectories) -> None:
        """An equation, its measures, and what it foretells; those of the symmetry's free equation go unprefixed."""
        self._save(name, equation)
        prefix = "" if name == "symmetry" else f"{name}_"
        self._add(prefix, equation_measures(equation))
        if self.system.forecast:
            with self._timed(f"forecast_{name}"):
                self._foretold(name, prefix, foretell(coder, equation, data), data)

    def _refine(
        self, name: str, coder: LatentSymmetry, candidates: Sequence[Candidate], data: Trajectories
    ) -> None:
        """Fitted to the first part, which shows what it foretells, and to the whole, as published forecasts are."""
        for way, fit in (("refined", refine_on_first_part), ("whole", refine_on_all)):
            label = f"{name}_{way}"
            with self._timed(label):
                try:
                    refined = fit(coder, candidates, data)
                except ValueError as error:
                    self.equations[label] = f"none: {error}"
                    continue
                if refined is None:
                    self.equations[label] = "none: there is nothing to refine"
                    continue
                self.words.append(f"{label.replace('_', ' ')}: {refined}.")
                self._save(label, refined.equation)
                self._add(f"{label}_", equation_measures(refined.equation))
                self._foretold(name, f"{label}_", foretell_refined(coder, refined, data, way), data)

    def _save(self, name: str, equation: Equation) -> None:
        equation.save(self.folder / f"equation-{name.replace('_', '-')}.safetensors")
        self.equations[name] = str(equation)

    def _add(self, prefix: str, measures: dict[str, float | None]) -> None:
        self.measures |= {f"{prefix}{name}": value for name, value in measures.items()}

    def _foretold(self, name: str, prefix: str, told: Foretold, data: Trajectories) -> None:
        self._add(prefix, told.measures)
        self.curves |= {f"{name}, {label}": curve for label, curve in told.curves.items()}
        length = len(next(iter(told.curves.values())))
        self.curves["times"] = data.time_step * stride(data) * torch.arange(length, dtype=torch.float64)

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[stage] = time.perf_counter() - start
