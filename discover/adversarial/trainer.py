"""Adversarial training, shared by LieGAN and LaLiGAN: settings, one step of critic and generators, and the loop."""

from abc import ABC, abstractmethod
from collections.abc import Sequence, Sized
from dataclasses import dataclass
from math import log
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from discover.adversarial.schedule import Schedule
from discover.checkpoint import Checkpoint, Interrupts
from discover.estimator import Settings
from discover.networks.critic import Critic

__all__ = ["CHANCE_LOSS", "AdversarialConfig", "AdversarialTrainer", "adam", "descend", "discrimination_loss"]

CHANCE_LOSS = log(2)  # of a critic that cannot tell transformed data from data
BETAS = (0.5, 0.999)  # Adam's, as usual in adversarial training
LOG_EVERY = 50

Model = TypeVar("Model", bound=nn.Module)


@dataclass(kw_only=True)
class AdversarialConfig(Settings):
    """Settings that LieGAN and LaLiGAN share.

    Args:
        n_generators: c, the number of generators to look for.
        distribution: of the coefficients w in g = exp(sum_i w_i L_i): ``"normal"`` or ``"uniform"``, and
            ``"integer"`` for LieGAN.
        distribution_scale: standard deviation of a normal, half width of a uniform, bound of an integer distribution.
        critic_width: hidden width of the critic.
        batch_size: samples in one step.
        averaging: decay of the running average of the weights, which is the result.
        noise: standard deviation of the noise on the critic's inputs at the start; it falls to zero in the cooldown.
        channel_penalty: weight of the overlaps of different generators.
        steps: most steps.
        cooldown: steps at the end in which the learning rates fall to zero; all of them where ``steps`` is smaller.
        tolerance: the run has converged, and cools down, once the generators change by less, in radians, between
            checks three times in a row (``Schedule``). With 0 all steps are taken.
        held_out: fraction of the data held out for the evaluation.
        evaluation_steps: training steps of the critic and the predictor of the evaluation.
        seed: of all random numbers.
        device: ``"cpu"`` or ``"cuda"``.
        dtype: ``"float32"`` or ``"float64"``.
        checkpoint: file to resume from and to write to.
        checkpoint_every: steps between two checkpoints.
        progress: show a progress bar.
    """

    n_generators: int = 1
    distribution: str = "normal"
    distribution_scale: float = 1.0
    critic_width: int = 64
    batch_size: int = 256
    averaging: float = 0.99
    noise: float = 0.2
    channel_penalty: float = 1.0
    steps: int = 2500
    cooldown: int = 1000
    tolerance: float = 0.05
    held_out: float = 0.2
    evaluation_steps: int = 1000
    seed: int = 0
    device: str = "cpu"
    dtype: str = "float32"
    checkpoint: str | Path | None = None
    checkpoint_every: int = 500
    progress: bool = True

    def _check_config(self, *positive: str, **choices: Sequence[str]) -> None:
        """Refuse settings out of their range: those of a subclass that must be positive, or one of some choices."""
        self._check_settings(
            "n_generators", "distribution_scale", "critic_width", "batch_size", "steps", "checkpoint_every", *positive
        )  # fmt: skip
        for name, known in (choices | {"dtype": ("float32", "float64")}).items():
            if getattr(self, name) not in known:
                raise ValueError(f"{name} must be one of {list(known)}, got {getattr(self, name)!r}")
        if self.cooldown < 0:
            raise ValueError(f"cooldown must not be negative, got {self.cooldown}")
        if not 0 < self.held_out < 1:
            raise ValueError(f"held_out must lie between 0 and 1, got {self.held_out}")

    def _open_checkpoint(self, path: str | Path | None, data: str) -> Checkpoint:
        """The checkpoint of a run of these settings on data of this digest; some settings may change on resuming."""
        free = ("checkpoint", "checkpoint_every", "progress", "evaluation_steps", "resolution")
        settings = {name: value for name, value in self.config().items() if name not in free}
        return Checkpoint(path, f"{settings} {data}")


class AdversarialTrainer(ABC, Generic[Model]):
    """A model and a critic in training, with their optimisers, the running average of the model, and the loop.

    Each optimiser gets the gradients of its own loss alone. Subclasses say what a step computes.

    Args:
        model: what is learned; its running average is the result. On one device and in one dtype with the critic.
        critic: tells data from transformed data.
        data: the samples that batches are drawn from.
        config: settings.
        optimizers: by name; each parameter group holds ``base_rate``, its learning rate before the cooldown.
        rng: source of all random numbers.
    """

    cooled: tuple[str, ...]  # the optimisers whose learning rates fall in the cooldown
    label: str  # of the progress bar

    def __init__(
        self,
        model: Model,
        critic: Critic,
        data: Sized,
        config: AdversarialConfig,
        optimizers: dict[str, torch.optim.Adam],
        rng: torch.Generator,
    ):
        self.model, self.critic, self.optimizers, self.rng = model, critic, optimizers, rng
        self.config, self.count = config, 0
        self._data = data
        self._average = AveragedModel(
            model, multi_avg_fn=get_ema_multi_avg_fn(config.averaging), use_buffers=False
        )

    @abstractmethod
    def _update(self, noise: float) -> dict[str, Tensor]:
        """Draw a batch, update critic and model; returns the losses."""

    @property
    @abstractmethod
    def tracked_basis(self) -> Tensor:
        """The generators (c, k, k) whose convergence ends the training."""

    def step(self, rate: float = 1.0, noise: float = 0.0) -> dict[str, Tensor]:
        """One update of critic and model.

        Args:
            rate: factor of the learning rates.
            noise: standard deviation of the noise on the critic's inputs.

        Returns:
            The losses, by name.
        """
        for name, optimizer in self.optimizers.items():
            for group in optimizer.param_groups:
                group["lr"] = group["base_rate"] * (rate if name in self.cooled else 1)
        losses = self._update(noise)
        self._average.update_parameters(self.model)
        self.count += 1
        return {name: loss.detach() for name, loss in losses.items()}

    def train(
        self, schedule: Schedule, checkpoint: Checkpoint, history: list[dict[str, float]]
    ) -> list[dict[str, float]]:
        """Take all steps of the schedule. Ctrl-C ends after the present step and leaves a checkpoint to continue from.

        Args:
            schedule: counts the steps and says when to stop.
            checkpoint: written every ``checkpoint_every`` steps and at the end.
            history: log of the steps so far; gets a row every 50 steps.

        Returns:
            The history: rows of step, losses and generator change.
        """
        config = self.config
        bar = tqdm(
            total=schedule.steps, initial=schedule.step, disable=not config.progress, desc=self.label, leave=False
        )  # fmt: skip
        with bar, Interrupts() as interrupts:
            while not (schedule.done or interrupts.asked):
                losses = self.step(schedule.rate, config.noise * schedule.noise)
                schedule.advance(self.tracked_basis, losses.get("loss"))
                bar.update()
                if schedule.step % LOG_EVERY == 0 or schedule.done:
                    history.append(_row(losses, schedule))
                    bar.set_postfix_str(_summary(history[-1]))
                if schedule.step % config.checkpoint_every == 0:
                    checkpoint.write(self, schedule, history)
            checkpoint.write(self, schedule, history)
        if interrupts.asked:
            raise KeyboardInterrupt
        return history

    @property
    def averaged(self) -> Model:
        """The model with the running average of the weights, and the buffers (masks, statistics) of now."""
        averaged = cast(Model, self._average.module)
        for buffer, now in zip(averaged.buffers(), self.model.buffers(), strict=True):
            buffer.copy_(now)
        return averaged

    def state_dict(self) -> dict:
        """Everything the next step reads: weights, averages, optimisers, random state."""
        states = {name: part.state_dict() for name, part in self._parts().items()}
        return states | {"rng": self.rng.get_state(), "count": self.count}

    def load_state_dict(self, state: dict) -> None:
        """Continue from ``state_dict()``."""
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
        self.rng.set_state(state["rng"].cpu())
        self.count = state["count"]

    def _parts(self) -> dict[str, Any]:
        modules = {"model": self.model, "critic": self.critic, "average": self._average}
        return modules | {f"{name}_optimizer": optimizer for name, optimizer in self.optimizers.items()}

    def _draw(self) -> Tensor:
        """Indices (batch_size,) of samples, drawn with replacement."""
        size, device = (self.config.batch_size,), self.rng.device
        return torch.randint(len(self._data), size, generator=self.rng, device=device)

    def _add_noise(self, features: Tensor, noise: float) -> Tensor:
        if not noise:
            return features
        drawn = torch.randn(features.shape, generator=self.rng, device=features.device, dtype=features.dtype)
        return features + noise * drawn

    def _update_critic(self, features: Tensor, labels: Tensor | None) -> Tensor:
        """One step of the critic on features (2 n, d), first those of data, then those of transformed data."""
        loss = discrimination_loss(self.critic(features.detach(), labels))
        descend(self.optimizers["critic"], loss)
        return loss


def discrimination_loss(logits: Tensor, exchanged: bool = False) -> Tensor:
    """Binary cross-entropy of a critic.

    Args:
        logits: (2 n,), first of data, then of transformed data.
        exchanged: whether the two are to be mistaken for each other.
    """
    target = torch.zeros_like(logits)
    target[: len(logits) // 2] = 1
    return F.binary_cross_entropy_with_logits(logits, 1 - target if exchanged else target)


def adam(*groups: tuple[list[nn.Parameter], float, tuple[float, float]]) -> torch.optim.Adam:
    """Adam for groups of parameters, each with its learning rate before the cooldown, and its betas."""
    return torch.optim.Adam(
        [{"params": own, "base_rate": rate, "betas": betas} for own, rate, betas in groups], fused=True
    )


def descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    """One step down the gradients of the loss for this optimiser's parameters; no other gradient is computed."""
    own = [p for group in optimizer.param_groups for p in group["params"]]
    for parameter, gradient in zip(own, torch.autograd.grad(loss, own, allow_unused=True), strict=True):
        parameter.grad = gradient
    optimizer.step()


def _row(losses: dict[str, Tensor], schedule: Schedule) -> dict[str, float]:
    row = {"step": float(schedule.step)} | {name: float(loss) for name, loss in losses.items()}
    return row | {"generator_change": schedule.change}


def _summary(row: dict[str, float]) -> str:
    words = [f"reconstruction error {row['reconstruction'] ** 0.5:.2%}"] if "reconstruction" in row else []
    if "critic_loss" in row:
        words.append(f"critic {row['critic_loss']:.3f} (chance {CHANCE_LOSS:.3f})")
    return ", ".join([*words, f"generator change {row['generator_change']:.3f} rad"])
