"""The study of orbits: discover a symmetry, refine it, and measure what forecasters gain from it."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch

from discover import LieGAN, refine
from equivariant import V
from tasks.common.files import RunFolder
from tasks.common.trainer import Trainer, mean_squared_error
from tasks.two_body.data import COLUMNS, TwoBodyData, load_orbits, pairs
from tasks.two_body.models import OURS, PAPER, Recipe, augment_windows, build, full_period
from tasks.two_body.results import TwoBodyDiscovery, TwoBodyResults
from tasks.two_body.simulator import simulated_orbits

__all__ = ["TwoBody"]

K = len(COLUMNS)
SYMMETRIES = ("discovered", "refined", "true")
PRODUCTS = ("*.safetensors", "overview.png")  # beside those of every run
log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class TwoBody:
    """Discovery, refinement and the table of models on two-body orbits.

    Args:
        data: .npz of orbits (arrays train, test, columns); simulated when left out.
        out: folder of this run; an unfinished one with the same settings is resumed.
        overwrite: replace another run in this folder instead of refusing.
        seed: the first seed.
        seeds: how many runs of discovery and models.
        paper: the published architectures and schedules (long) instead of ours.
        search_space: of the generators: "blocks:2", "free", or groups of coordinates that mix such as
            "0,1,4,5|2,3,6,7".
        discovery_steps: most steps of adversarial training.
        past: steps of the input of a forecaster.
        future: steps of its output.
        steps: training steps of every model; the recipe's own number when left out.
        smoothing: ridge penalty of the linear forecast over the time axis that our models correct.
        n_train: simulated training orbits.
        n_test: simulated test orbits.
        progress: show progress bars.
    """

    data: Path | None = None
    out: Path = Path("runs/two-body")
    overwrite: bool = False
    seed: int = 0
    seeds: int = 1
    paper: bool = False
    search_space: str = "blocks:2"
    discovery_steps: int = 2500
    past: int = 5
    future: int = 5
    steps: int | None = None
    smoothing: float = 1e-6
    n_train: int = 800
    n_test: int = 800
    progress: bool = True

    def run(self) -> TwoBodyResults:
        """Everything, in order; files go to ``out``, and a sentence after each stage to the log.

        Returns:
            What was found and measured.

        Raises:
            ValueError: for settings without meaning, bad data, or a folder of another run.
            BlockingIOError: when another process works in the folder.
        """
        self._check()
        results = TwoBodyResults(
            orbits=self._orbits(), past=self.past, future=self.future, smoothing=self.smoothing
        )
        _ = results.test_windows  # trajectories too short for a window are refused before any work
        settings = {"task": "two-body", **self.config(), "data_digest": results.orbits.digest}
        with RunFolder(self.out, settings, overwrite=self.overwrite, products=PRODUCTS):
            log.info("%d training orbits from %s.", len(results.orbits.train), results.orbits.source)
            for seed in range(self.seed, self.seed + self.seeds):
                found = self._discover(results, seed)
                results.discoveries.append(found)
                log.info("Seed %d. %s %s", seed, found.verdict, found.against_truth)
                for row in self._compare(results, found):
                    results.table.rows.append(row)
                    results.write(self.out, self.config())
                    log.info("Seed %d. %s", seed, _sentence(row))
        return results

    @property
    def warning(self) -> str:
        """That figures mean little, where the run was smaller than its defaults; else empty."""
        small = self.steps is not None or self.discovery_steps < type(self).discovery_steps
        if self.data is None and min(self.n_train, self.n_test) < type(self).n_train:
            small = True
        return "A small run: its figures show that everything works, not how well." if small else ""

    def quick(self) -> "TwoBody":
        """The same study with fewer orbits and steps where they are left at their defaults."""
        small = {"n_train": 300, "n_test": 100, "discovery_steps": 1200, "steps": 300}
        return replace(
            self, **{name: n for name, n in small.items() if getattr(self, name) == getattr(type(self), name)}
        )

    def config(self) -> dict[str, Any]:
        """Every setting that decides a figure, as ``json`` can write it."""
        values = {
            f.name: getattr(self, f.name)
            for f in fields(self)
            if f.name not in ("out", "overwrite", "progress")
        }
        return values | {"data": None if self.data is None else self.data.name}

    def _check(self) -> None:
        for name in ("seeds", "discovery_steps", "past", "future", "n_train", "n_test"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.steps is not None and self.steps < 1:
            raise ValueError(f"steps must be at least 1, got {self.steps}")
        if self.smoothing < 0:
            raise ValueError(f"smoothing must not be negative, got {self.smoothing}")

    def _orbits(self) -> TwoBodyData:
        if self.data is not None:
            return load_orbits(self.data)
        return simulated_orbits(self.n_train, self.n_test, seed=self.seed)

    def _discover(self, results: TwoBodyResults, seed: int) -> TwoBodyDiscovery:
        x, y = pairs(results.orbits.train)
        n, steps = results.orbits.train.shape[:2]
        liegan = LieGAN(
            search_space=self.search_space,
            steps=self.discovery_steps,
            cooldown=min(LieGAN.cooldown, self.discovery_steps // 2),
            seed=seed,
            checkpoint=self._checkpoint(f"discovery-{seed}"),
            progress=self.progress,
        )
        trajectory = torch.arange(n).repeat_interleave(steps - 1)
        liegan.fit(x, y, y_rep=V, coordinates=COLUMNS, groups=trajectory)
        found = TwoBodyDiscovery(seed=seed, liegan=liegan, refinement=refine(liegan.algebra_, data=x), data=x)
        suffix = "" if seed == self.seed else f"-{seed}"
        found.raw.save(self.out / f"raw{suffix}.safetensors")
        found.refined.save(self.out / f"algebra{suffix}.safetensors")
        return found

    def _compare(self, results: TwoBodyResults, found: TwoBodyDiscovery) -> Iterator[dict[str, Any]]:
        for name, recipe in (PAPER if self.paper else OURS).items():
            for symmetry in SYMMETRIES if recipe.needs_symmetry else ("none",):
                yield self._row(results, found, name, recipe, symmetry)

    def _row(
        self, results: TwoBodyResults, found: TwoBodyDiscovery, name: str, recipe: Recipe, symmetry: str
    ) -> dict[str, Any]:
        """One model: built, trained, measured."""
        algebra = found.algebra(symmetry)
        model = build(recipe, results.frame, K, algebra, found.seed)
        trainer = self._trainer(
            recipe, float(results.frame.residual.mean()), found.seed, f"{name}-{symmetry}"
        )
        transform = None
        if recipe.augmented and algebra is not None:
            full = full_period(algebra, recipe.deviation)
            transform = augment_windows(full, self.past, self.future, recipe.pull_back)
        x, y = results.train_windows
        trainer.fit(model, x, y, transform, label=f"{name}, {symmetry}")
        results.histories[name, symmetry, found.seed] = trainer.history_
        test_x, test_y = results.test_windows
        kept = results.without_outliers
        return {
            "model": name,
            "symmetry": symmetry,
            "seed": found.seed,
            "test_mse": mean_squared_error(model, test_x, test_y),
            "mse_without_outliers": mean_squared_error(model, test_x[kept], test_y[kept]),
            "train_mse": mean_squared_error(model, x, y),
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "steps": trainer.steps,
            "seconds": round(trainer.seconds_, 2),
        }

    def _trainer(self, recipe: Recipe, residual: float, seed: int, label: str) -> Trainer:
        return Trainer(
            steps=self.steps if self.steps and recipe.steps else recipe.steps,
            batch_size=recipe.batch_size,
            learning_rate=recipe.learning_rate,
            constant=recipe.constant,
            huber_delta=None if recipe.huber is None else recipe.huber * residual,
            seed=seed,
            checkpoint=self._checkpoint(f"{label}-{seed}"),
            progress=self.progress,
        )

    def _checkpoint(self, name: str) -> Path:
        safe = "".join(c if c.isalnum() else "-" for c in name.lower())
        return self.out / "checkpoints" / f"{safe}.pt"


def _sentence(row: dict[str, Any]) -> str:
    return f"{row['model']}, symmetry {row['symmetry']}: test error {row['test_mse']:.2e} ({row['seconds']:.0f} s)"
