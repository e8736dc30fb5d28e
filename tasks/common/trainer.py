"""One plain training loop for every model: resident data, Adam, cosine rate, resumable."""

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from discover.checkpoint import Checkpoint

__all__ = ["Back", "Trainer", "Transform", "mean_squared_error"]

Back = Callable[[Tensor], Tensor]
Transform = Callable[[Tensor, Tensor, torch.Generator], tuple[Tensor, Tensor, Back]]


@dataclass(kw_only=True)
class Trainer:
    """Fits a model to (x, y) by Adam.

    Args:
        steps: optimizer steps.
        batch_size: samples in one, drawn with replacement.
        learning_rate: highest rate; it warms up over the first twentieth and falls along a cosine to zero.
        constant: keep the rate as it is instead, as the papers do.
        huber_delta: error at which the loss changes from quadratic to linear (pseudo-Huber), so that outliers do not
            dominate the fit; ``None`` for the mean squared error.
        seed: of the batches and the transforms.
        checkpoint: file to resume from and to write to.
        checkpoint_every: steps between two checkpoints.
        progress: show a bar.

    Attributes:
        history_: rows of step, loss and rate.
        seconds_: of training, those before an interruption included.

    Example:
        >>> x = torch.linspace(-1, 1, 64)[:, None]
        >>> model = nn.Linear(1, 1)
        >>> _ = Trainer(steps=200, learning_rate=0.1, progress=False).fit(model, x, 2 * x)
        >>> mean_squared_error(model, x, 2 * x) < 1e-3
        True
    """

    steps: int = 3000
    batch_size: int = 512
    learning_rate: float = 3e-3
    constant: bool = False
    huber_delta: float | None = None
    seed: int = 0
    checkpoint: str | Path | None = None
    checkpoint_every: int = 1000
    progress: bool = True

    def fit(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        transform: Transform | None = None,
        label: str = "training",
    ) -> "Trainer":
        """Train a model in place.

        Ctrl-C leaves a checkpoint from which the same call goes on.

        Args:
            model: from x to y.
            x: inputs (n, d).
            y: targets (n, e).
            transform: from a batch and a random generator to a new batch, and to the map that takes a prediction back
                to where it is compared.
            label: of the progress bar and the checkpoint.

        Returns:
            The trainer itself.

        Raises:
            ValueError: for settings out of range, or x and y of different length.
            FloatingPointError: when the loss is no longer finite.
        """
        self._check(x, y)
        if not self.steps or not list(model.parameters()):
            self.history_, self.seconds_ = [], 0.0
            return self
        run = _Run(model, self.learning_rate, self.seed, x.device)
        checkpoint = Checkpoint(self.checkpoint, f"{self._settings()} {model} {label} {_digest(x, y)}")
        self.history_ = checkpoint.restore(run, run.clock)
        bar = tqdm(
            total=self.steps, initial=run.clock.step, disable=not self.progress, desc=label, leave=False
        )
        begun = time.perf_counter()
        model.train()
        try:
            while run.clock.step < self.steps:
                losses = self._step(run, x, y, transform)
                bar.update()
                if run.clock.step % _log_every(self.steps) == 0:
                    self._log(run, losses, bar)
                if run.clock.step % self.checkpoint_every == 0:
                    run.spend(begun)
                    begun = time.perf_counter()
                    checkpoint.write(run, run.clock, self.history_)
        finally:
            run.spend(begun)
            checkpoint.write(run, run.clock, self.history_)
            bar.close()
        self.seconds_ = run.clock.seconds
        model.eval()
        return self

    def _step(self, run: "_Run", x: Tensor, y: Tensor, transform: Transform | None) -> dict[str, Tensor]:
        """One batch: draw, transform, descend."""
        chosen = torch.randint(len(x), (self.batch_size,), generator=run.generator, device=x.device)
        inputs, targets = x[chosen], y[chosen]
        transform = _unchanged if transform is None else transform
        inputs, targets, back = transform(inputs, targets, run.generator)
        loss = self._loss(back(run.model(inputs)), targets)
        run.descend(loss, self.learning_rate * self._rate(run.clock.step))
        return {"loss": loss.detach()}

    def _loss(self, predicted: Tensor, target: Tensor) -> Tensor:
        squared = (predicted - target).square().mean(-1)
        if self.huber_delta is None:
            return squared.mean()
        return ((1 + squared / self.huber_delta**2).sqrt() - 1).mean()

    def _rate(self, step: int) -> float:
        if self.constant:
            return 1.0
        warm = max(1, self.steps // 20)
        if step < warm:
            return (step + 1) / warm
        return (1 + math.cos(math.pi * (step - warm) / max(1, self.steps - warm))) / 2

    def _log(self, run: "_Run", losses: dict[str, Tensor], bar: tqdm) -> None:
        row = {"step": float(run.clock.step), **{name: float(value) for name, value in losses.items()}}
        row["learning_rate"] = self.learning_rate * self._rate(run.clock.step - 1)
        if not math.isfinite(row["loss"]):
            raise FloatingPointError(
                f"the loss is {row['loss']} at step {run.clock.step}; lower learning_rate"
            )
        self.history_.append(row)
        bar.set_postfix_str(f"loss {row['loss']:.2e}")

    def _check(self, x: Tensor, y: Tensor) -> None:
        if len(x) != len(y) or len(x) == 0:
            raise ValueError(f"x and y must have as many samples, and some, got {len(x)} and {len(y)}")
        for name in ("batch_size", "learning_rate", "checkpoint_every"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        if self.steps < 0:
            raise ValueError(f"steps must not be negative, got {self.steps}")

    def _settings(self) -> dict[str, Any]:
        free = ("checkpoint", "checkpoint_every", "progress")
        return {name: value for name, value in asdict(self).items() if name not in free}


def mean_squared_error(model: nn.Module, x: Tensor, y: Tensor, batch_size: int = 4096) -> float:
    """Mean over samples and entries of (model(x) - y)^2, in evaluation mode.

    Args:
        model: from x to y.
        x: inputs (n, d).
        y: targets (n, e).
        batch_size: samples at a time.

    Returns:
        The error, in squared units of y.

    Example:
        >>> mean_squared_error(nn.Identity(), torch.zeros(3, 2), torch.full((3, 2), 2.0))
        4.0
    """
    model.eval()
    with torch.no_grad():
        parts = [
            (model(a) - b).double().square().sum()
            for a, b in zip(x.split(batch_size), y.split(batch_size), strict=True)
        ]
    return float(torch.stack(parts).sum() / y.numel())


class _Clock:
    """Steps taken and seconds spent."""

    def __init__(self) -> None:
        self.step, self.seconds = 0, 0.0

    def state_dict(self) -> dict:
        return {"step": self.step, "seconds": self.seconds}

    def load_state_dict(self, state: dict) -> None:
        self.step, self.seconds = state["step"], state["seconds"]


class _Run:
    """Everything that changes while a model is trained."""

    def __init__(self, model: nn.Module, rate: float, seed: int, device: torch.device):
        self.model, self.clock = model, _Clock()
        self.optimizer = torch.optim.Adam(model.parameters(), lr=rate, fused=True)
        self.generator = torch.Generator(device).manual_seed(seed)
        self.drawn = self.generator.get_state()

    def descend(self, loss: Tensor, rate: float) -> None:
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        self.clock.step += 1
        self.drawn = self.generator.get_state()  # of the last whole step: one cut in between is drawn again

    def spend(self, begun: float) -> None:
        self.clock.seconds += time.perf_counter() - begun

    def state_dict(self) -> dict:
        parts = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}
        return {**parts, "generator": self.drawn}

    def load_state_dict(self, state: dict) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.generator.set_state(state["generator"])
        self.drawn = state["generator"]


def _unchanged(x: Tensor, y: Tensor, _: torch.Generator) -> tuple[Tensor, Tensor, Back]:
    return x, y, lambda prediction: prediction


def _log_every(steps: int) -> int:
    return max(1, steps // 100)


def _digest(x: Tensor, y: Tensor) -> str:
    return f"{tuple(x.shape)} {float(x.double().sum())!r} {float(y.double().square().sum())!r}"
