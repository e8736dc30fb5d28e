"""One seed of a study: simulation, discovery, equations of motion, forecasts, measures, and their files."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from discover.equations.equation import Equation
from discover.equations.joint import JointEquation
from discover.equations.shooting import Candidate
from discover.latent.laligan import LaLiGAN
from discover.latent.symmetry import LatentSymmetry
from tasks.common.files import fingerprint, read_json, write_json
from tasks.latent import forecasting, metrics
from tasks.latent.data import Trajectories
from tasks.latent.results import SeedResult
from tasks.latent.systems.presets import System

__all__ = ["Learned", "SeedRun", "learn"]

FREE = ("checkpoint", "checkpoint_every", "progress", "device")  # settings that decide no figure
Motion = tuple[Tensor, Tensor]  # z and dz/dt


@dataclass(kw_only=True, eq=False)
class Learned:
    """What a training of ``LaLiGAN`` left in a folder.

    Args:
        symmetry: autoencoder and algebra.
        equation: trained together with them, if any.
        reconstruction_error: relative, on held-out data.
        words: of the diagnosis.
        seconds: of the training.
        history: of the losses.
    """

    symmetry: LatentSymmetry
    equation: Equation | None
    reconstruction_error: float
    words: str
    seconds: float
    history: list[dict[str, float]]


def learn(laligan: LaLiGAN, data: Trajectories, folder: Path, label: str) -> Learned:
    """Fit ``laligan`` to the data and write files, or read the files of an earlier fit.

    Args:
        laligan: its settings.
        data: to learn from; rates are used where an equation is trained too.
        folder: of the seed.
        label: of the files.

    Returns:
        What the files hold.

    Raises:
        ValueError: for files of other settings or other data.
    """
    symmetry, equation, record = (
        folder / f"{label}{end}" for end in (".safetensors", "-equation.safetensors", ".json")
    )
    settings = {name: value for name, value in laligan.config().items() if name not in FREE}
    run = fingerprint({"settings": settings, "data": data.digest})
    if not (symmetry.is_file() and record.is_file()):
        begin = time.perf_counter()
        wanted = laligan.equation is not None or laligan.motion_weight
        rates = data.rates.float() if data.rates is not None and wanted else None
        laligan.fit(data.states.float(), coefficients=data.coefficients, rates=rates)
        laligan.symmetry_.save(symmetry)
        if laligan.equation_ is not None:
            laligan.equation_.save(equation)
        about = {
            "reconstruction_error": laligan.reconstruction_error_,
            "words": str(laligan.diagnosis_),
            "seconds": time.perf_counter() - begin,
            "history": laligan.history_,
        }
        write_json(record, {"run": run, **about})
    about = read_json(record)
    if about.pop("run", None) != run:
        raise ValueError(
            f"{symmetry} belongs to a run with other settings, other data or version 0.1; give another --out, or "
            "--overwrite to replace it"
        )
    return Learned(
        symmetry=LatentSymmetry.load(symmetry),
        equation=Equation.load(equation) if equation.is_file() else None,
        **about,
    )


@dataclass(kw_only=True, eq=False)
class SeedRun:
    """All stages of one seed.

    Args:
        system: that is studied.
        result: to be filled; names the seed.
        folder: for the files.
        settings: of ``LaLiGAN``.
        discard: snapshots of the transient to leave out.
        quick: whether the data are small.
        baseline: whether to train without a symmetry, too.
        progress: whether to show progress bars.
    """

    system: System
    result: SeedResult
    folder: Path
    settings: dict[str, Any] = field(default_factory=dict)
    discard: int = 0
    quick: bool = False
    baseline: bool = True
    progress: bool = True
    data: Trajectories = field(init=False)

    def run(self) -> SeedResult:
        """Run all stages, except for trainings whose files are there, and write the result."""
        self.folder.mkdir(parents=True, exist_ok=True)
        result = self.result
        with self._timed("simulation"):
            self.data = data = self.system.simulate(result.seed, self.discard, self.quick)
        shape = list(data.states.shape)
        result.data = {"name": data.name, "shape": shape, "time_step": data.time_step, "digest": data.digest}
        learned = self._learn("symmetry", "discovery", self.settings)
        result.words.append(learned.words)
        result.history = learned.history
        values = torch.linalg.eigvals(learned.symmetry.algebra.basis[0]).tolist()
        result.eigenvalues = [[value.real, value.imag] for value in values]
        self._measure(learned.symmetry)
        result.measures["reconstruction_error"] = learned.reconstruction_error
        if self.system.degree:
            self._equations(learned.symmetry)
        if self.system.baseline and self.baseline:
            self._baseline()
        result.save(self.folder)
        return result

    def _learn(self, label: str, stage: str, settings: dict[str, Any]) -> Learned:
        path = self.folder / "checkpoints" / f"{stage}.pt"
        laligan = LaLiGAN(**settings, seed=self.result.seed, checkpoint=path, progress=self.progress)
        learned = learn(laligan, self.data, self.folder, label)
        self.result.seconds[stage] = learned.seconds
        return learned

    def _measure(self, symmetry: LatentSymmetry) -> None:
        measures = self.result.measures
        if self.data.coefficients is None:
            measures |= metrics.generator_measures(symmetry.algebra) | metrics.isometry_measures(symmetry)
        held_out = self.system.held_out(self.result.seed, self.discard, self.quick)
        if held_out is None:
            return
        states = held_out.states.float()
        measures["reconstruction_unseen"] = metrics.reconstruction_error(symmetry, states)
        if self.system.energy is not None:
            measures |= metrics.orbit_measures(symmetry, states, self.system.energy)
        if held_out.coefficients is not None:
            measures |= metrics.equivariance_measures(symmetry, states, held_out.coefficients)

    def _equations(self, symmetry: LatentSymmetry) -> None:
        """Sparse and equivariant equations by regression, and those refined on the trajectory."""
        seconds, degree = self.result.seconds, self.system.degree
        with self._timed("equation"):
            adapted = symmetry.adapted()
            motion = forecasting.latent_motion(adapted, self.data)
            self._find("symmetry", adapted, motion, None, degree=degree)
        adapted.save(self.folder / "adapted.safetensors")
        if "coefficient_mismatch" in self.result.measures:
            self._in_learned_coordinates(adapted, motion)
        self.result.measures["seconds_to_equation"] = sum(
            seconds[stage] for stage in ("simulation", "discovery", "equation")
        )
        exact = None
        with self._failing("constrained"):
            exact = symmetry.adapted(exact=True)
            settings = {"degree": degree} | dict(self.system.constrained)
            self._find("constrained", adapted, motion, exact, **settings)
        if self.system.forecast:
            if exact is not None:
                self._find_refined("constrained", self.system.refined, adapted, motion, exact)
            self._find_refined("free", self.system.refined_freely, adapted, motion, None)

    def _in_learned_coordinates(self, adapted: LatentSymmetry, motion: Motion) -> None:
        """The mismatch of the coefficients in the coordinates of the training, which are not adapted."""
        frame = torch.tensor(adapted.algebra.provenance["frame"], dtype=motion[0].dtype)
        learned = (part @ torch.linalg.inv(frame).mT for part in motion)
        equation = forecasting.find_equation(*learned, degree=self.system.degree).equation_
        mismatch = metrics.equation_measures(equation)["coefficient_mismatch"]
        if mismatch is not None:
            self.result.measures["coefficient_mismatch_learned"] = mismatch

    def _find(
        self, name: str, adapted: LatentSymmetry, motion: Motion,
        group: LatentSymmetry | None, **settings: Any,
    ) -> None:  # fmt: skip
        """An equation by regression on rates, equivariant where a group is given."""
        with self._failing(name):
            sindy = forecasting.find_equation(*motion, symmetry=group, **settings)
            self.result.measures[f"{name}_residual"] = sindy.residual_
            self._keep(name, adapted, sindy.equation_)

    def _find_refined(
        self, name: str, degrees: Sequence[int], adapted: LatentSymmetry, motion: Motion,
        group: LatentSymmetry | None,
    ) -> None:  # fmt: skip
        """The best of several degrees with all of their terms, refined."""
        z, rates = (part[: forecasting.boundary(len(part))] for part in motion)
        candidates: list[Candidate] = []
        for degree in degrees or (self.system.degree,):
            with self._failing(f"{name}_refined"):
                sindy = forecasting.find_equation(z, rates, symmetry=group, degree=degree, threshold=0.0)
                candidates.append((sindy.equation_, sindy.fields_))
        if candidates:
            self._refine(name, adapted, candidates)

    def _baseline(self) -> None:
        """An autoencoder with an equation and without a symmetry (SINDy autoencoder, Champion et al. 2019)."""
        settings = self.settings | {"gan_weight": 0.0, "starts": 1, "evaluation_steps": 0}
        settings |= {"equation": JointEquation(degree=self.system.degree)}
        learned = None
        with self._failing("baseline", (ArithmeticError, RuntimeError)):
            learned = self._learn("baseline", "baseline", settings)
            self.result.measures["baseline_reconstruction_error"] = learned.reconstruction_error
        if learned is not None and learned.equation is not None:
            self._keep("baseline", learned.symmetry, learned.equation)
            self._refine("baseline", learned.symmetry, [(learned.equation, None)])

    def _keep(self, name: str, autoencoder: LatentSymmetry, equation: Equation) -> None:
        """An equation, its measures and its forecast; those of the sparse equation have no prefix."""
        prefix = "" if name == "symmetry" else f"{name}_"
        self._save(name, prefix, equation)
        if self.system.forecast:
            with self._timed(f"forecast_{name}"):
                self._add(name, prefix, forecasting.forecast_first(autoencoder, equation, self.data))

    def _refine(self, name: str, autoencoder: LatentSymmetry, candidates: Sequence[Candidate]) -> None:
        """Refined on the first part, which tests its forecast, and on the whole, as in published forecasts."""
        ways = {"refined": forecasting.refine_on_first_part, "whole": forecasting.refine_on_all}
        for way, refine in ways.items():
            label = f"{name}_{way}"
            with self._timed(label), self._failing(label):
                refined = refine(autoencoder, candidates, self.data)
                if refined is None:
                    raise ValueError("there are no terms to refine")
                self.result.words.append(f"{label.replace('_', ' ')}: {refined}.")
                self._save(label, f"{label}_", refined.equation)
                found = forecasting.forecast_refined(autoencoder, refined, self.data, way)
                self._add(name, f"{label}_", found)

    def _save(self, name: str, prefix: str, equation: Equation) -> None:
        equation.save(self.folder / f"equation-{name.replace('_', '-')}.safetensors")
        self.result.equations[name] = str(equation)
        self._note(prefix, metrics.equation_measures(equation))

    def _add(self, name: str, prefix: str, forecast: forecasting.ForecastResult) -> None:
        self._note(prefix, forecast.measures)
        self.result.curves |= {f"{name}, {label}": curve for label, curve in forecast.curves.items()}
        self.result.curves["times"] = forecast.times

    def _note(self, prefix: str, measures: dict[str, float | None]) -> None:
        self.result.measures |= {f"{prefix}{name}": value for name, value in measures.items()}

    @contextmanager
    def _failing(self, name: str, errors: tuple[type[Exception], ...] = (ValueError,)) -> Iterator[None]:
        """A stage whose failure is part of the result: the reason stands in place of the equation."""
        try:
            yield
        except errors as error:
            self.result.equations[name] = f"none: {error}"

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        begin = time.perf_counter()
        yield
        self.result.seconds[stage] = time.perf_counter() - begin
