"""Training a tagger through Lightning Fabric, on a CPU, a GPU or many, and the scores of what was trained.

``TaggerTrainer`` holds the settings and checks them, ``TrainingLoop`` is its loop over epochs, and ``tagger_scores``
turns a trained tagger and jets into probabilities.
"""

import math
import re
import statistics
import time
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from discover.checkpoint import Checkpoint, Interrupts
from tasks.top_tagging.data.batches import JetBatch, Pad, by_length, epoch_order, prefetched
from tasks.top_tagging.data.jets import Jets
from tasks.top_tagging.tagging.engine import (
    Progress,
    TaggerState,
    memory_advice,
    own_random,
    save_batch,
)
from tasks.top_tagging.tagging.metrics import accuracy, auc
from tasks.top_tagging.tagging.models import Tagger

__all__ = ["TaggerTrainer", "TrainingLoop", "class_logits", "tagger_scores"]

PRECISIONS = ("32-true", "bf16-mixed", "64-true")
FREE = ("folder", "progress", "checkpoint_every", "accelerator")  # what a resumed run may change
SHOWN = ("loss", "validation_loss", "validation_auc")


@dataclass(kw_only=True)
class TaggerTrainer:
    """Trains a tagger by AdamW with a linear warm-up, a cosine rate and averaged weights.

    Several processes share every batch (DDP; start them by torchrun). Each then has batch-norm statistics of its own
    part while training; the running statistics are those of the first.

    Of bfloat16, measured on 64 jets: momenta rounded to it change psi of a Minkowski product by 0.4 on average and by
    16 at most, and logits by 18 %; kept in float32, as here, by 3e-5 and 0.08, and logits by 0.5 % (16 x 2) and 1.6 %
    (72 x 6). LorentzNet trained so on 6,000 jets has validation AUC 0.9682, in float32 0.9680.

    Args:
        epochs: passes over the training jets.
        batch_size: jets in one step, of all processes together.
        learning_rate: highest rate.
        weight_decay: of AdamW.
        warmup: epochs in which the rate rises.
        clip: largest norm of the gradient, or None.
        ema: decay of the averaged weights, which are evaluated and kept, or None for the weights themselves.
        patience: epochs without a better validation AUC (loss, where validation has one class) after which
            training ends, or None. The best epoch's weights are kept in any case.
        cap: constituents at most.
        beams: whether two beam nodes come first; transformers leave them out.
        precision: "32-true", "64-true" or "bf16-mixed": autocast, in which momenta and metric products stay in
            float32.
        accelerator: as for ``lightning_fabric.Fabric``.
        devices: as for ``lightning_fabric.Fabric``.
        num_nodes: as for ``lightning_fabric.Fabric``.
        seed: of the order of jets and of dropout.
        folder: of checkpoints, TensorBoard curves and batches whose loss is not finite.
        checkpoint_every: batches between two checkpoints within an epoch.
        progress: show a bar.

    After ``fit``: ``history_`` (rows of epoch, loss, validation_loss, validation_accuracy, validation_auc,
    learning_rate, jets_per_second), ``seconds_``, ``best_epoch_`` (counted from 1), ``jets_per_second_`` of
    training, ``skipped_`` (``Tally`` of the training jets: the empty ones are left out, those over the cap cut).
    """

    epochs: int = 10
    batch_size: int = 128
    learning_rate: float = 1e-2
    weight_decay: float = 0.01
    warmup: float = 1.0
    clip: float | None = 1.0
    ema: float | None = 0.99
    patience: int | None = None
    cap: int = 32
    beams: bool = True
    precision: Literal["32-true", "bf16-mixed", "64-true"] = "32-true"
    accelerator: Literal["cpu", "cuda", "auto"] = "cpu"
    devices: int = 1
    num_nodes: int = 1
    seed: int = 0
    folder: str | Path | None = None
    checkpoint_every: int = 500
    progress: bool = True

    def fit(
        self, model: Tagger, train: Jets, validation: Jets | None = None, label: str = "training"
    ) -> "TaggerTrainer":
        """Train ``model`` in place; it ends with the best epoch's weights, or the last's without validation.

        After Ctrl-C or a kill the same call goes on to the same result, bit for bit on a CPU.

        Args:
            model: what ``build_tagger`` gives.
            train: jets to learn from.
            validation: jets that choose the best epoch.
            label: names the run in ``folder``.

        Returns:
            The trainer itself.

        Raises:
            ValueError: for settings or jets that cannot be trained with.
            FloatingPointError: for a loss that is not finite; the batch is saved, and the error says where.
            torch.OutOfMemoryError: with the settings to lower.
        """
        train, validation = self._checked(train, validation)
        fabric = self._fabric()
        fabric.launch()
        if len(train) < fabric.world_size:
            raise ValueError(f"each of {fabric.world_size} processes needs a training jet, got {len(train)}")
        folder = None if self.folder is None else Path(self.folder) / _slug(label)
        with own_random(fabric.device), Interrupts() as interrupts, memory_advice(self.batch_size, self.cap):
            settings = {n: getattr(self, n) for n in ("learning_rate", "weight_decay", "clip", "ema", "seed")}
            state = TaggerState(fabric, model.to(fabric.device, self.dtype), **settings)
            config = self._config(model, train, validation, label)
            checkpoint = Checkpoint(None if folder is None else folder / "checkpoint.pt", config)
            loop = TrainingLoop(self, state, train, validation, checkpoint, interrupts, folder)
            loop.run(label)
        self.history_, self.best_epoch_ = loop.history, loop.progress.best_epoch
        self.seconds_ = loop.progress.seconds
        self.jets_per_second_ = statistics.harmonic_mean(row["jets_per_second"] for row in self.history_)
        model.eval()
        return self

    @property
    def dtype(self) -> torch.dtype:
        """Of momenta and weights."""
        return torch.float64 if self.precision == "64-true" else torch.float32

    def rate(self, step: float) -> float:
        """Learning rate at ``step``, counted in epochs: a linear rise, then a cosine to zero."""
        if step < self.warmup:
            return self.learning_rate * step / self.warmup
        share = (step - self.warmup) / max(self.epochs - self.warmup, 1e-9)
        return self.learning_rate * (1 + math.cos(math.pi * min(share, 1.0))) / 2

    def _fabric(self) -> Any:
        try:
            from lightning_fabric import Fabric
        except ImportError:
            raise ImportError(
                "taggers are trained by Lightning Fabric: pip install 'liesmith[train]'"
            ) from None
        strategy = "ddp" if self.devices * self.num_nodes > 1 else "auto"
        return Fabric(accelerator=self.accelerator, devices=self.devices, num_nodes=self.num_nodes,
                      strategy=strategy, precision=self.precision)  # fmt: skip

    def _checked(self, train: Jets, validation: Jets | None) -> tuple[Jets, Jets]:
        """Training jets that are not empty, cut to ``cap``, and those for validation, cut too."""
        positive = (
            "epochs",
            "batch_size",
            "learning_rate",
            "cap",
            "devices",
            "num_nodes",
            "checkpoint_every",
        )
        for name in positive:
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        for name in ("weight_decay", "warmup"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        for name in ("clip", "patience"):
            if getattr(self, name) is not None and not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive or None, got {getattr(self, name)}")
        if self.ema is not None and not 0 <= self.ema < 1:
            raise ValueError(f"ema must be at least 0 and below 1, or None, got {self.ema}")
        if self.precision not in PRECISIONS:
            raise ValueError(f"unknown precision {self.precision!r}; choose from {list(PRECISIONS)}")
        self.skipped_ = train.tally(self.cap)
        full = train if not self.skipped_.empty else train[train.counts > 0]
        if len(full.label.unique()) < 2:
            raise ValueError(f"training jets of both classes, with constituents, are needed; got {train!r}")
        return full.leading(self.cap), (validation or Jets.empty()).leading(self.cap)

    def _config(self, model: Tagger, train: Jets, validation: Jets, label: str) -> str:
        """All that decides the result."""
        settings = {name: value for name, value in asdict(self).items() if name not in FREE}
        forms = [form.cpu().tolist() for name, form in model.named_buffers() if name.endswith("metrics")]
        return f"{settings} {model} {forms} {label} {train.digest} {validation.digest}"


@dataclass(eq=False)
class TrainingLoop:
    """The epochs of one ``fit``, with their log."""

    trainer: TaggerTrainer
    state: TaggerState
    jets: Jets
    validation: Jets
    checkpoint: Checkpoint
    interrupts: Interrupts
    folder: Path | None

    def __post_init__(self) -> None:
        self.fabric, self.progress = self.state.fabric, Progress()
        self.history = self.checkpoint.restore(self.state, self.progress)
        self.pad = Pad(beams=self.trainer.beams, cap=self.trainer.cap, dtype=self.trainer.dtype)
        self.fabric.barrier()  # nobody writes before all have read
        if self.progress.step == 0:
            self._save()  # a model cut off in its first steps starts again from the same weights

    def run(self, label: str) -> None:
        """All epochs that are left; then the best weights."""
        first = self.fabric.global_rank == 0
        total, hidden = self.trainer.epochs * len(self.jets), not (self.trainer.progress and first)
        with (
            tqdm(total=total, initial=self.progress.jets, unit="jet", unit_scale=True, desc=label, leave=False,
                 disable=hidden) as self.bar,
            _tensorboard(self.folder if first else None, self.progress.epoch) as curves,
        ):  # fmt: skip
            while not self.progress.finished:
                self._epoch()
                row = self._end_epoch()
                for name in row.keys() - {"epoch"} if curves else ():
                    curves.add_scalar(name, row[name], int(row["epoch"]))
                self._save()
                self._stop_if_asked()
        self.state.restore_best()

    def _epoch(self) -> None:
        """The batches of this epoch that are left."""
        progress, trainer = self.progress, self.trainer
        orders = epoch_order(self.jets.counts, trainer.batch_size, trainer.seed, progress.epoch)
        rest = orders[progress.batch :]
        own = [chosen[self.fabric.global_rank :: self.fabric.world_size] for chosen in rest]
        self.state.wrapped.train()
        begun = time.perf_counter()
        for chosen, batch in zip(rest, prefetched(self.jets, own, self.pad, self.fabric.device), strict=True):
            self._step(batch, len(chosen), trainer.rate(progress.epoch + (progress.batch + 1) / len(orders)))
            now = time.perf_counter()
            progress.epoch_seconds, begun = progress.epoch_seconds + now - begun, now
            if progress.batch < len(orders):
                if progress.step % trainer.checkpoint_every == 0:
                    self.state.gather_total()
                    self._save()
                self._stop_if_asked()

    def _step(self, batch: JetBatch, jets: int, rate: float) -> None:
        try:
            self.state.step(batch, jets, self.progress.step, rate)
        except FloatingPointError as error:
            path = save_batch(batch, self.folder, f"broken-batch-{self.progress.step}")
            raise FloatingPointError(
                f"{error} at step {self.progress.step}, rate {rate:.1e}; its batch is in {path}; "
                "lower learning_rate if its numbers are finite and in GeV"
            ) from None
        self.progress.step += 1
        self.progress.batch += 1
        self.progress.jets += jets
        self.bar.update(jets)

    def _end_epoch(self) -> dict[str, float]:
        """Evaluate, log, and decide whether that was all; the row of the log."""
        progress, trainer = self.progress, self.trainer
        begun = time.perf_counter()
        progress.epoch, progress.batch = progress.epoch + 1, 0
        row = {"epoch": progress.epoch, "loss": self.state.epoch_loss(len(self.jets))}
        row |= self._evaluated() if len(self.validation) else {}
        row["learning_rate"] = trainer.rate(progress.epoch)
        row["jets_per_second"] = len(self.jets) / max(progress.epoch_seconds, 1e-9)
        self.history.append(row)
        self.bar.set_postfix_str(", ".join(f"{name} {row[name]:.4f}" for name in SHOWN if name in row))
        self._keep_if_best(row)
        waited = progress.epoch - progress.best_epoch
        progress.finished = progress.epoch >= trainer.epochs
        if trainer.patience is not None and len(self.validation):
            progress.finished |= waited >= trainer.patience
        progress.seconds += progress.epoch_seconds + time.perf_counter() - begun
        progress.epoch_seconds = 0.0
        return row

    def _evaluated(self) -> dict[str, float]:
        """Loss, accuracy and AUC on the validation jets, of which every process takes a share."""
        state, fabric = self.state, self.fabric
        state.share_buffers()
        share = (fabric.global_rank, fabric.world_size)
        with fabric.autocast():
            logits = class_logits(
                state.evaluated, self.validation, self.pad, self.trainer.batch_size, fabric.device, share
            )
        if fabric.world_size > 1:
            logits = fabric.all_reduce(logits.to(fabric.device), reduce_op="sum").cpu()
        label, scores = self.validation.label.long(), logits.softmax(1)[:, 1]
        return {
            "validation_loss": float(cross_entropy(logits, label)),
            "validation_accuracy": accuracy(scores, label),
            "validation_auc": auc(scores, label),
        }

    def _keep_if_best(self, row: dict[str, float]) -> None:
        """By AUC; by the loss where there is one class; the last where there is nothing to choose by."""
        value = row.get("validation_auc", float(self.progress.epoch))
        value = -row["validation_loss"] if math.isnan(value) else value
        if value > self.progress.best_score:
            self.progress.best_score, self.progress.best_epoch = value, self.progress.epoch
            self.state.keep()

    def _save(self) -> None:
        if self.fabric.global_rank == 0:
            self.checkpoint.write(self.state, self.progress, self.history)

    def _stop_if_asked(self) -> None:
        if not self.interrupts.asked:
            return
        if self.fabric.world_size == 1:  # of several, the sums of an epoch are not gathered here
            self._save()
        raise KeyboardInterrupt


def tagger_scores(
    model: Tagger,
    jets: Jets,
    *,
    cap: int = 32,
    batch_size: int = 256,
    beams: bool = True,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Probability of top of every jet, in evaluation mode; jets without constituents are scored too.

    Args:
        model: is moved to ``device``.
        jets: what to score.
        cap: constituents at most; that of the training.
        batch_size: jets scored at once.
        beams: whether two beam nodes come first; as in the training.
        device: where to compute.

    Returns:
        Shape (n,), float64, in the order of ``jets``.
    """
    if cap < 1 or batch_size < 1:
        raise ValueError(f"cap and batch_size must be at least 1, got {cap} and {batch_size}")
    device = torch.device(device)
    pad = Pad(beams=beams, cap=cap, dtype=next(model.parameters()).dtype)
    with memory_advice(batch_size, cap):
        logits = class_logits(model.to(device), jets.leading(cap), pad, batch_size, device)
    return logits.softmax(dim=1)[:, 1]


@torch.no_grad()
def class_logits(
    model: Tagger,
    jets: Jets,
    pad: Pad,
    batch_size: int,
    device: torch.device,
    share: tuple[int, int] = (0, 1),
) -> Tensor:
    """Logits (n, 2), float64, in evaluation mode; of share (i, n) only every n-th batch, the rest zero."""
    training = model.training
    model.eval()
    logits = torch.zeros(len(jets), 2, dtype=torch.float64)
    chosen = by_length(jets.counts, batch_size)[share[0] :: share[1]]
    for numbers, batch in zip(chosen, prefetched(jets, chosen, pad, device), strict=True):
        logits[numbers] = model(batch).double().cpu()
    model.train(training)
    return logits


def _tensorboard(folder: Path | None, epoch: int) -> Any:
    """A TensorBoard writer; rows after ``epoch`` of a run that was cut off are dropped."""
    if folder is None:
        return nullcontext()
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise ImportError("curves are drawn by TensorBoard: pip install 'liesmith[train]'") from None
    return SummaryWriter(str(folder), purge_step=epoch + 1)


def _slug(label: str) -> str:
    """A label as the name of a folder."""
    return re.sub(r"[^\w.-]+", "-", label)
