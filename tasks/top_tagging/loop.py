"""The epochs of one training: steps, what the validation jets say, the log, and what is written on the way."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import torch
from torch.nn.functional import cross_entropy
from tqdm import tqdm

from discover.checkpoint import Checkpoint
from tasks.top_tagging.batches import JetBatch, Pad
from tasks.top_tagging.engine import Interrupts, Progress, Run, save_batch
from tasks.top_tagging.fidelity import auc
from tasks.top_tagging.jets import Jets
from tasks.top_tagging.loading import epoch_order, prefetched
from tasks.top_tagging.scoring import class_logits

__all__ = ["Loop", "Settings", "curves"]

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
