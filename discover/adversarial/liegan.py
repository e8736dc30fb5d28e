"""LieGAN: generators L such that (x, y) and (g x, g y), g = exp(sum_i w_i L_i), cannot be told apart."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from discover.adversarial.generator import Generator
from discover.adversarial.schedule import Schedule
from discover.adversarial.trainer import Game, Rules
from discover.checkpoint import Checkpoint
from discover.data.samples import Samples
from discover.data.search_space import SearchSpace, Specification
from discover.estimator import Estimator, digest
from discover.networks.critic import Critic
from discover.validation.certify import split, weigh
from equivariant.algebra import CoefficientDistribution, LieAlgebra
from equivariant.rep import Rep

__all__ = ["LieGAN"]

LOG_EVERY = 50


@dataclass(kw_only=True)
class LieGAN(Rules, Estimator):
    """Discovers linear symmetries by adversarial training (Yang et al. 2023, arXiv 2302.00236).

    As published, with four changes that make it fast and steady: data are whitened on their own span, the
    size of the generators is fixed there (a free size is a penalty's to hold, ``generator_size=None``), the
    critic sees noise that fades, and the generators are averaged. ``LieGAN.published()`` undoes them.

    Args:
        n_generators: c, how many generators to look for.
        search_space: ``"free"``, ``"blocks:2"``, groups such as ``"0,1,4,5|2,3,6,7"``, or a mask (k, k).
        distribution: ``"normal"``, ``"uniform"`` or ``"integer"`` coefficients. distribution_scale: its
            standard deviation, half width or bound. learn_distribution: learn its mean and scale too.
        generator_size: root mean square of L x over whitened x: with 1, w is a turn in radians.
        whiten: look for the generators in whitened coordinates on the span of the data.
        critic_width: hidden width. steps: most steps. cooldown: steps in which the rates fall to zero at the end.
        tolerance: the search settles, and cools, once the averaged generators turn by less [rad] in
            ``Schedule.every`` steps, three times in a row. It needs no ground truth.
        held_out: fraction of the groups of samples kept for the verdict; judge_steps: of its critic and predictor.
        seed: of everything random. device, dtype: where and in what precision the game is played.
        checkpoint: file to resume from and to write to; checkpoint_every: in steps. progress: show a bar.

    After ``fit``: ``algebra_`` (the raw basis), ``verdict_`` (what held-out data say), ``span_`` (where the data
    live), ``undetermined_`` (directions no datum points in), ``relations_`` (the equations that say so),
    ``history_``, ``steps_``.
    """

    n_generators: int = 1
    search_space: Specification = "free"
    distribution: str = "normal"
    distribution_scale: float = 1.0
    learn_distribution: bool = False
    generator_size: float | None = 1.0
    whiten: bool = True
    critic_width: int = 64
    steps: int = 2500
    cooldown: int = 1000
    tolerance: float = 0.05
    held_out: float = 0.2
    judge_steps: int = 1000
    seed: int = 0
    device: str = "cpu"
    dtype: str = "float32"
    checkpoint: str | Path | None = None
    checkpoint_every: int = 500
    progress: bool = True

    @classmethod
    def published(cls, **changes: Any) -> "LieGAN":
        """The two-body settings of the paper's code: no whitening, free size, 512-wide critic, 22,900 steps."""
        settings: dict[str, Any] = {
            "batch_size": 64, "learning_rate": 1e-3, "critic_learning_rate": 2e-4, "critic_width": 512,
            "generator_size": None, "identity_penalty": 1.0, "whiten": False, "noise": 0.0,
            "steps": 22_900, "cooldown": 0, "tolerance": 0.0, "search_space": "blocks:2", "channel_penalty": 0.1,
        }  # fmt: skip
        return cls(**(settings | changes))

    def fit(
        self,
        x: Tensor,
        y: Tensor | None = None,
        *,
        x_rep: Rep | None = None,
        y_rep: Rep | None = None,
        coordinates: Sequence[str] | None = None,
        groups: Tensor | None = None,
    ) -> "LieGAN":
        """Play the game on samples x, y and weigh its outcome on held-out samples.

        Args:
            x: (n, d) or (n, T, k). y: vectors (n, d), scalars (n,) or class labels (n,) of whole-number dtype.
            x_rep, y_rep: sums of ``V`` and ``Scalar``; guessed from the shapes where left out.
            coordinates: k names with units. groups: (n,) whole numbers; samples of one group (a trajectory,
                say) are held out together.

        Raises ``ValueError`` for wrong shapes, NaN, too few samples or settings that contradict each other.
        """
        self._check()
        samples = Samples.read(x, y, x_rep, y_rep)
        names = self._name(coordinates, samples.dim)
        played, kept = split(samples, self.held_out, groups, self.seed)
        game, schedule = self._set_up(played), Schedule.of(self.steps, self.cooldown, self.tolerance)
        self.history_ = self._play(game, schedule, digest(samples))
        self._conclude(game, schedule, samples, names)
        self.verdict_ = weigh(
            self.algebra_, played, kept, steps=self.judge_steps, seed=self.seed, device=self.device
        )
        return self

    def _check(self) -> None:
        self._check_settings("n_generators", "distribution_scale", "critic_width", "steps", "batch_size",
                             "learning_rate", "critic_learning_rate", "checkpoint_every", "judge_steps")  # fmt: skip
        if self.dtype not in ("float32", "float64"):
            raise ValueError(f"dtype must be 'float32' or 'float64', got {self.dtype!r}")
        if not 0 < self.held_out < 1:
            raise ValueError(f"held_out must lie between 0 and 1, got {self.held_out}")
        if self.distribution == "integer" and (self.learn_distribution or self.generator_size is not None):
            raise ValueError(
                "integer coefficients find the size of one step, so generators must be free and the bound fixed: "
                "set generator_size=None, identity_penalty=1 and learn_distribution=False"
            )
        if self.learn_distribution and not self.identity_penalty > 0:
            raise ValueError(
                "a learned distribution shrinks to nothing without identity_penalty > 0, got 0; try 1"
            )

    def _set_up(self, samples: Samples) -> Game:
        dtype = getattr(torch, self.dtype)
        make = SearchSpace.of_data if self.whiten else SearchSpace.plain
        self.space_ = make(samples.all_vectors(), self.search_space)
        whitened = samples.map_vectors(self.space_.whitening.encode).to(device=self.device, dtype=dtype)
        distribution = getattr(CoefficientDistribution, self._distribution_kind())(
            self.n_generators, self.distribution_scale
        )
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(self.seed)
            generator = Generator(
                self.space_,
                distribution,
                size=self.generator_size,
                learn_distribution=self.learn_distribution,
            )
            critic = Critic(
                whitened.flat(), width=self.critic_width, classes=samples.classes, whiten=self.whiten
            )
        generator.to(device=self.device, dtype=dtype)
        random = torch.Generator(self.device).manual_seed(self.seed)
        return Game(generator, critic, whitened, self, random)

    def _distribution_kind(self) -> str:
        if self.distribution not in ("normal", "uniform", "integer"):
            raise ValueError(
                f"unknown distribution {self.distribution!r}; choose from ['integer', 'normal', 'uniform']"
            )
        return self.distribution

    def _play(self, game: Game, schedule: Schedule, data: str) -> list[dict[str, float]]:
        """The loop; returns the log. Ctrl-C leaves a checkpoint from which the same call goes on."""
        checkpoint = Checkpoint(self.checkpoint, f"{self._fingerprint()} {data}")
        history = checkpoint.restore(game, schedule)
        bar = tqdm(
            total=self.steps, initial=schedule.step, disable=not self.progress, desc="LieGAN", leave=False
        )
        try:
            while not schedule.done:
                losses = game.step(schedule.rate, self.noise * schedule.noise)
                schedule.advance(game.averaged_generator)
                bar.update()
                if schedule.step % LOG_EVERY == 0 or schedule.done:
                    history.append(_row(losses, schedule))
                    bar.set_postfix_str(_line(history[-1]))
                if schedule.step % self.checkpoint_every == 0:
                    checkpoint.write(game, schedule, history)
        finally:
            checkpoint.write(game, schedule, history)
            bar.close()
        return history

    def _conclude(self, game: Game, schedule: Schedule, samples: Samples, names: Sequence[str]) -> None:
        best = game.averaged_generator
        with torch.no_grad():
            basis, distribution = (
                best.basis.double().cpu(),
                best.distribution.to(device="cpu", dtype=torch.float64),
            )
        self.steps_ = schedule.step
        provenance = self._provenance(samples, steps=self.steps_)
        self.algebra_ = LieAlgebra(basis, distribution, coordinates=names, provenance=provenance)

    def _fingerprint(self) -> str:
        free = ("checkpoint", "checkpoint_every", "progress", "judge_steps")
        return str({name: value for name, value in self.config().items() if name not in free})


def _row(losses: dict[str, Tensor], schedule: Schedule) -> dict[str, float]:
    return {"step": float(schedule.step), **{k: float(v) for k, v in losses.items()}, "turn": schedule.turn}


def _line(row: dict[str, float]) -> str:
    return f"critic {row['critic_loss']:.3f} (blind 0.693), generators turn {row['turn']:.3f} rad"
