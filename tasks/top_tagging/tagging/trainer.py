"""Training a tagger through Lightning Fabric, on a CPU, a GPU or many, and the scores of what was trained."""

import math
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from discover.checkpoint import Checkpoint
from tasks.top_tagging.data.batches import JetBatch, Pad, by_length, epoch_order, prefetched
from tasks.top_tagging.data.jets import Jets
from tasks.top_tagging.simulation.validate import auc
from tasks.top_tagging.tagging.engine import Interrupts, Progress, Run, memory_advice, own_random, save_batch
from tasks.top_tagging.tagging.models import Tagger

__all__ = ["Loop", "Settings", "TaggerTrainer", "class_logits", "curves", "tagger_scores"]


def tagger_scores(
    model: Tagger,
    jets: Jets,
    *,
    cap: int = 32,
    batch_size: int = 256,
    beams: bool = True,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Probability of top (n,), float64, in the order of ``jets``; the model, moved to ``device``, is as in evaluation.

    ``cap`` and ``beams`` should be those of its training. Jets without constituents are scored too.
    """
    if cap < 1 or batch_size < 1:
        raise ValueError(f"wanted cap and batch_size of at least 1, got {cap} and {batch_size}")
    device = torch.device(device)
    dtype = next(model.parameters()).dtype
    pad = Pad(beams=beams, cap=cap, dtype=dtype)
    with memory_advice(batch_size, cap):
        logits = class_logits(model.to(device), jets.leading(cap), pad, batch_size, device)
    return logits.softmax(dim=1)[:, 1]


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
    with torch.no_grad():
        for numbers, batch in zip(chosen, prefetched(jets, list(chosen), pad, device), strict=True):
            logits[numbers] = model(batch).double().cpu()
    model.train(training)
    return logits


SHOWN = ("loss", "validation_loss", "validation_auc")


class Settings(Protocol):
    """What the loop reads of a ``TaggerTrainer``."""

    epochs: int
    batch_size: int
    patience: int | None
    cap: int
    beams: bool
    seed: int
    checkpoint_every: int
    progress: bool

    @property
    def dtype(self) -> torch.dtype: ...

    def rate(self, step: float) -> float: ...


class Loop:
    """The epochs of one ``fit``, with their log."""

    def __init__(
        self,
        settings: Settings,
        run: Run,
        train: Jets,
        validation: Jets,
        checkpoint: Checkpoint,
        interrupts: Interrupts,
        place: Path | None,
    ):
        self.settings, self.run, self.fabric = settings, run, run.fabric
        self.jets, self.validation = train, validation
        self.checkpoint, self.interrupts, self.place = checkpoint, interrupts, place
        self.progress = Progress()
        self.history = checkpoint.restore(run, self.progress)
        self.pad = Pad(beams=settings.beams, cap=settings.cap, dtype=settings.dtype)
        self.fabric.barrier()  # nobody writes before all have read
        if self.progress.step == 0:
            self._save()  # a model cut off in its first steps begins anew from where it began

    def train(self, label: str) -> None:
        """All epochs that are left; then the best weights."""
        total, hidden = self.settings.epochs * len(self.jets), not self.settings.progress
        with (
            tqdm(total=total, initial=self.progress.jets, unit="jet", unit_scale=True, desc=label, leave=False,
                 disable=hidden or self.fabric.global_rank > 0) as self.bar,
            curves(self.place if self.fabric.global_rank == 0 else None, self.progress.epoch) as write,
        ):  # fmt: skip
            while not self.progress.finished:
                self._epoch()
                self._end_epoch()
                write(self.history[-1])
                self._save()
                self._stop_if_asked()
        self.run.restore_best()

    def _epoch(self) -> None:
        """The batches of this epoch that are left."""
        progress, settings = self.progress, self.settings
        orders = epoch_order(self.jets.counts, settings.batch_size, settings.seed, progress.epoch)
        rest = orders[progress.batch :]
        own = [chosen[self.fabric.global_rank :: self.fabric.world_size] for chosen in rest]
        self.run.wrapped.train()
        begun = time.perf_counter()
        for chosen, batch in zip(rest, prefetched(self.jets, own, self.pad, self.fabric.device), strict=True):
            self._step(batch, len(chosen), settings.rate(progress.epoch + (progress.batch + 1) / len(orders)))
            now = time.perf_counter()
            progress.epoch_seconds, begun = progress.epoch_seconds + now - begun, now
            if progress.batch < len(orders):
                if progress.step % settings.checkpoint_every == 0:
                    self.run.gather_total()
                    self._save()
                self._stop_if_asked()

    def _step(self, batch: JetBatch, jets: int, rate: float) -> None:
        try:
            self.run.step(batch, jets, self.progress.step, rate)
        except FloatingPointError as error:
            path = save_batch(batch, self.place, f"broken-batch-{self.progress.step}")
            raise FloatingPointError(
                f"{error} at step {self.progress.step}, rate {rate:.1e}; its batch is in {path}; "
                "lower learning_rate if its numbers are sane"
            ) from None
        self.progress.step += 1
        self.progress.batch += 1
        self.progress.jets += jets
        self.bar.update(jets)

    def _end_epoch(self) -> None:
        """Judge, log, and say whether that was all."""
        progress, settings = self.progress, self.settings
        begun = time.perf_counter()
        progress.epoch, progress.batch = progress.epoch + 1, 0
        row = {"epoch": progress.epoch, "loss": self.run.epoch_loss(len(self.jets))}
        row |= self._judged() if len(self.validation) else {}
        row["learning_rate"] = settings.rate(progress.epoch)
        row["jets_per_second"] = len(self.jets) / max(progress.epoch_seconds, 1e-9)
        self.history.append(row)
        self.bar.set_postfix_str(", ".join(f"{name} {row[name]:.4f}" for name in SHOWN if name in row))
        self._keep_if_best(row)
        waited = progress.epoch - progress.best_epoch
        progress.finished = progress.epoch >= settings.epochs
        if settings.patience is not None and len(self.validation):
            progress.finished |= waited >= settings.patience
        progress.training_seconds += progress.epoch_seconds
        progress.seconds += progress.epoch_seconds + time.perf_counter() - begun
        progress.epoch_seconds = 0.0

    def _judged(self) -> dict[str, float]:
        """Loss, accuracy and AUC on the validation jets, of which every process takes a share."""
        run, fabric = self.run, self.fabric
        run.share_buffers()
        share = (fabric.global_rank, fabric.world_size)
        with fabric.autocast():
            logits = class_logits(
                run.evaluated, self.validation, self.pad, self.settings.batch_size, fabric.device, share
            )
        if fabric.world_size > 1:
            logits = fabric.all_reduce(logits.to(fabric.device), reduce_op="sum").cpu()
        label = self.validation.label.long()
        return {
            "validation_loss": float(cross_entropy(logits, label)),
            "validation_accuracy": float((logits.argmax(1) == label).double().mean()),
            "validation_auc": auc(logits.softmax(1)[:, 1], label),
        }

    def _keep_if_best(self, row: dict[str, float]) -> None:
        """By AUC; by the loss where there is one class; the last where there is nothing to judge by."""
        value = row.get("validation_auc", float(self.progress.epoch))
        value = -row["validation_loss"] if math.isnan(value) else value
        if value > self.progress.best_score:
            self.progress.best_score, self.progress.best_epoch = value, self.progress.epoch
            self.run.keep()

    def _save(self) -> None:
        if self.fabric.global_rank == 0:
            self.checkpoint.write(self.run, self.progress, self.history)

    def _stop_if_asked(self) -> None:
        if not self.interrupts.asked:
            return
        if self.fabric.world_size == 1:  # of several, the sums of an epoch are not gathered here
            self._save()
        raise KeyboardInterrupt


@contextmanager
def curves(folder: Path | None, epoch: int) -> Iterator[Callable[[dict[str, float]], None]]:
    """What writes a row of the log to TensorBoard; rows after ``epoch`` of a run cut off are dropped."""
    if folder is None:
        yield lambda row: None
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise ImportError("curves are drawn by TensorBoard: pip install 'liesmith[train]'") from None

    with SummaryWriter(str(folder), purge_step=epoch + 1) as writer:

        def write(row: dict[str, float]) -> None:
            for name in row.keys() - {"epoch"}:
                writer.add_scalar(name, row[name], int(row["epoch"]))

        yield write


PRECISIONS = ("32-true", "bf16-mixed", "64-true")
FREE = ("folder", "progress", "checkpoint_every", "accelerator")  # what a resumed run may change


@dataclass(kw_only=True)
class TaggerTrainer:
    """Trains a tagger by AdamW with a linear warm-up, a cosine rate and averaged weights.

    Args:
        epochs: passes over the training jets. batch_size: jets in one step, of all processes together.
        learning_rate: highest rate. weight_decay: of AdamW. warmup: epochs in which the rate rises.
        clip: largest norm of the gradient, or None.
        ema: decay of the averaged weights, which are judged and kept, or None for the weights themselves.
        patience: epochs without a better validation AUC (loss, where validation has one class) after which
            training ends, or None. The best epoch's weights are kept in any case.
        cap: constituents at most. beams: whether two beam nodes come first; transformers leave them out.
        precision: "32-true", "64-true" or "bf16-mixed": autocast, in which momenta and metric products stay in
            float32 (see below).
        accelerator, devices, num_nodes: as for ``lightning_fabric.Fabric``; several processes share every batch
            (DDP; start them by torchrun). Each then has batch-norm statistics of its own part while training; the
            running statistics are those of the first.
        seed: of the order of jets and of dropout. folder: of checkpoints, TensorBoard curves and broken batches.
        checkpoint_every: batches between two checkpoints within an epoch. progress: show a bar.

    Of bfloat16, measured on 64 jets: momenta rounded to it move psi of a Minkowski product by 0.4 on average and by
    16 at most, and logits by 18 %; kept in float32, as here, they leave 3e-5 and 0.08, and logits move by 0.5 % (16 x
    2) and 1.6 % (72 x 6). LorentzNet trained so on 6,000 jets has validation AUC 0.9682, in float32 0.9680.

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

        With a ``folder``, ``label`` names the run in it: after Ctrl-C or a kill the same call goes on to the same
        result, bit for bit on a CPU. Raises ``ValueError`` for settings or jets that cannot be trained with,
        ``FloatingPointError`` (the batch is saved, and where) for a loss that is not finite,
        ``torch.OutOfMemoryError`` with the settings to lower.
        """
        train, validation = self._checked(train, validation)
        fabric = self._fabric()
        fabric.launch()
        if len(train) < fabric.world_size:
            raise ValueError(f"wanted a jet for each of {fabric.world_size} processes, got {len(train)}")
        place = None if self.folder is None else Path(self.folder) / _slug(label)
        with own_random(fabric.device), Interrupts() as interrupts, memory_advice(self.batch_size, self.cap):
            run = self._run(fabric, model)
            owner = self._owner(model, train, validation, label)
            checkpoint = Checkpoint(None if place is None else place / "checkpoint.pt", owner)
            loop = Loop(self, run, train, validation, checkpoint, interrupts, place)
            loop.train(label)
        self.history_, self.best_epoch_ = loop.history, loop.progress.best_epoch
        self.seconds_ = loop.progress.seconds
        self.jets_per_second_ = loop.progress.jets / max(loop.progress.training_seconds, 1e-9)
        model.eval()
        return self

    def _run(self, fabric: Any, model: Tagger) -> Run:
        return Run(
            fabric,
            model.to(fabric.device, self.dtype),
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            clip=self.clip,
            ema=self.ema,
            seed=self.seed,
        )

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
        return Fabric(
            accelerator=self.accelerator,
            devices=self.devices,
            num_nodes=self.num_nodes,
            strategy="ddp" if self.devices * self.num_nodes > 1 else "auto",
            precision=self.precision,
        )

    def _checked(self, train: Jets, validation: Jets | None) -> tuple[Jets, Jets]:
        """Training jets that are not empty, cut to ``cap``, and those for validation, cut too."""
        for name in (
            "epochs",
            "batch_size",
            "learning_rate",
            "cap",
            "devices",
            "num_nodes",
            "checkpoint_every",
        ):
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
            raise ValueError(f"wanted training jets of both classes with constituents, got {train!r}")
        return full.leading(self.cap), (validation or Jets.empty()).leading(self.cap)

    def _owner(self, model: Tagger, train: Jets, validation: Jets, label: str) -> str:
        settings = {name: value for name, value in asdict(self).items() if name not in FREE}
        forms = [form.cpu().tolist() for name, form in model.named_buffers() if name.endswith("metrics")]
        return f"{settings} {model} {forms} {label} {train.digest} {validation.digest}"


def _slug(label: str) -> str:
    """A label as the name of a folder."""
    return re.sub(r"[^\w.-]+", "-", label)
