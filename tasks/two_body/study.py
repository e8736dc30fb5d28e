"""The main job: discover a symmetry in orbits, refine it, and measure what it is worth to a forecaster."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch

from discover import LieGAN, refine
from tasks.common.results import Row
from tasks.common.trainer import Trainer, mean_squared_error
from tasks.two_body.data import COLUMNS, TwoBodyData, load_orbits, pairs
from tasks.two_body.models import OURS, PAPER, Recipe, build, full_turn, one_element_each
from tasks.two_body.results import Finding, Outcome
from tasks.two_body.simulator import simulated_orbits

__all__ = ["TwoBody"]

K = len(COLUMNS)
SYMMETRIES = ("discovered", "refined", "true")


def _silent(line: str) -> None:
    """Tells nobody."""


@dataclass(kw_only=True)
class TwoBody:
    """Discovery, refinement and the table of models on two-body orbits.

    Args:
        data: .npz of orbits (arrays train, test, columns); simulated when left out.
        out: folder of this run; an unfinished run found there goes on.
        seed: the first seed.
        seeds: how many runs of discovery and models.
        paper: the published architectures and schedules (long) instead of ours.
        search_space: of the generators, "blocks:2", "free", or groups such as "0,1,4,5|2,3,6,7".
        discovery_steps: at most so many steps of adversarial training.
        past: steps that go into a forecaster.
        future: steps that come out.
        steps: training steps of every model; the recipe's own number when left out.
        smoothing: ridge of the linear forecast over the time axis that our models correct.
        n_train: simulated training orbits.
        n_test: simulated test orbits.
        progress: show bars.
    """

    data: Path | None = None
    out: Path = Path("runs/two-body")
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

    def run(self, tell: Callable[[str], None] = _silent) -> Outcome:
        """Everything, in order; ``tell`` is given a sentence after each stage. Files go to ``out``."""
        self._check()
        outcome = Outcome(orbits=self._orbits(), past=self.past, future=self.future, smoothing=self.smoothing)
        self.out.mkdir(parents=True, exist_ok=True)
        tell(f"{len(outcome.orbits.train)} training orbits from {outcome.orbits.source}.")
        for seed in range(self.seed, self.seed + self.seeds):
            outcome.findings.append(self._discover(outcome, seed))
            tell(f"Seed {seed}. {outcome.findings[-1]}")
            for row in self._compare(outcome, outcome.findings[-1]):
                outcome.rows.append(row)
                outcome.write(self.out, self.config())
                tell(f"Seed {seed}. {row}")
        return outcome

    def config(self) -> dict[str, Any]:
        """Every setting that decides a figure, as ``json`` can write it."""
        values = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("out", "progress")}
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

    def _discover(self, outcome: Outcome, seed: int) -> Finding:
        x, y = pairs(outcome.orbits.train)
        n, steps = outcome.orbits.train.shape[:2]
        liegan = LieGAN(
            search_space=self.search_space,
            steps=self.discovery_steps,
            cooldown=min(LieGAN.cooldown, self.discovery_steps // 2),
            seed=seed,
            checkpoint=self._checkpoint(f"discovery-{seed}"),
            progress=self.progress,
        )
        trajectory = torch.arange(n).repeat_interleave(steps - 1)
        liegan.fit(x, y, coordinates=COLUMNS, groups=trajectory)
        found = Finding(seed=seed, liegan=liegan, refinement=refine(liegan.algebra_, data=x), data=x)
        suffix = "" if seed == self.seed else f"-{seed}"
        found.raw.save(self.out / f"raw{suffix}.safetensors")
        found.refined.save(self.out / f"algebra{suffix}.safetensors")
        return found

    def _compare(self, outcome: Outcome, found: Finding) -> Iterator[Row]:
        for name, recipe in (PAPER if self.paper else OURS).items():
            for symmetry in SYMMETRIES if recipe.needs_symmetry else ("none",):
                yield self._row(outcome, found, name, recipe, symmetry)

    def _row(self, outcome: Outcome, found: Finding, name: str, recipe: Recipe, symmetry: str) -> Row:
        """One model: built, trained, measured."""
        algebra = found.algebra(symmetry)
        model = build(recipe, outcome.frame, K, algebra, found.seed)
        trainer = self._trainer(
            recipe, float(outcome.frame.residual.mean()), found.seed, f"{name}-{symmetry}"
        )
        transform = None
        if recipe.augmented and algebra is not None:
            turn = full_turn(algebra, recipe.deviation)
            transform = one_element_each(turn, self.past, self.future, recipe.turned_back)
        x, y = outcome.train_windows
        trainer.fit(model, x, y, transform, label=f"{name}, {symmetry}")
        outcome.histories[name, symmetry, found.seed] = trainer.history_
        test_x, test_y = outcome.test_windows
        kept = outcome.unbroken_windows
        return Row(
            model=name,
            symmetry=symmetry,
            seed=found.seed,
            test_mse=mean_squared_error(model, test_x, test_y),
            unbroken_mse=mean_squared_error(model, test_x[kept], test_y[kept]),
            train_mse=mean_squared_error(model, x, y),
            parameters=sum(parameter.numel() for parameter in model.parameters()),
            steps=trainer.steps,
            seconds=round(trainer.seconds_, 2),
        )

    def _trainer(self, recipe: Recipe, residual: float, seed: int, label: str) -> Trainer:
        return Trainer(
            steps=self.steps if self.steps and recipe.steps else recipe.steps,
            batch_size=recipe.batch_size,
            learning_rate=recipe.learning_rate,
            constant=recipe.constant,
            turning=None if recipe.robust is None else recipe.robust * residual,
            seed=seed,
            checkpoint=self._checkpoint(f"{label}-{seed}"),
            progress=self.progress,
        )

    def _checkpoint(self, name: str) -> Path:
        safe = "".join(c if c.isalnum() else "-" for c in name.lower())
        return self.out / "checkpoints" / f"{safe}.pt"
