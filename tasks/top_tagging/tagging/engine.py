"""What changes while a tagger is trained (``TaggerState``, ``Progress``), and the guards around a step."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim.swa_utils import AveragedModel

from tasks.top_tagging.data.batches import JetBatch
from tasks.top_tagging.tagging.models import Tagger

__all__ = ["Progress", "TaggerState", "memory_advice", "own_random", "save_batch"]


class UncastBatch:
    """A batch that Fabric does not cast: under mixed precision it would round momenta to bfloat16."""

    def __init__(self, batch: JetBatch):
        self.batch = batch


class UncastTagger(nn.Module):
    """A tagger that takes an ``UncastBatch``."""

    def __init__(self, tagger: Tagger):
        super().__init__()
        self.tagger = tagger

    def forward(self, uncast: UncastBatch) -> Tensor:
        return self.tagger(uncast.batch)


@dataclass(kw_only=True)
class Progress:
    """How far a run has come: whole steps, the epoch and the batch that are next, and what was best so far."""

    step: int = 0
    epoch: int = 0
    batch: int = 0
    seconds: float = 0.0
    epoch_seconds: float = 0.0
    jets: int = 0
    best_epoch: int = -1
    best_score: float = float("-inf")
    finished: bool = False

    def state_dict(self) -> dict:
        return dict(vars(self))

    def load_state_dict(self, state: dict) -> None:
        vars(self).update(state)


class TaggerState:
    """A tagger, its optimizer, the average of its weights and the best of them, on the devices of a Fabric.

    Args:
        fabric: a ``lightning_fabric.Fabric``.
        tagger: what is trained.
        learning_rate: of AdamW.
        weight_decay: of AdamW.
        clip: largest norm of the gradient, or None.
        ema: decay of the averaged weights, or None for the weights themselves.
        seed: of dropout.
    """

    def __init__(
        self,
        fabric: Any,
        tagger: Tagger,
        *,
        learning_rate: float,
        weight_decay: float,
        clip: float | None,
        ema: float | None,
        seed: int,
    ):
        self.fabric, self.tagger, self.seed = fabric, tagger, seed
        self.clip = float("inf") if clip is None else clip
        self.optimizer = torch.optim.AdamW(tagger.parameters(), lr=learning_rate, weight_decay=weight_decay)
        self.wrapped, self.prepared = fabric.setup(UncastTagger(tagger), self.optimizer)
        self.averaged = None
        if ema is not None:
            self.averaged = AveragedModel(tagger, multi_avg_fn=_average(ema), use_buffers=True)
        self.best: dict[str, Tensor] = {}
        self.total = torch.zeros((), dtype=torch.float64, device=fabric.device)

    @property
    def evaluated(self) -> Tagger:
        """The tagger whose weights are evaluated and kept."""
        return self.tagger if self.averaged is None else self.averaged.module  # type: ignore[return-value]

    def step(self, batch: JetBatch, jets: int, number: int, rate: float) -> None:
        """One descent on this process's part of a batch of ``jets``; dropout is that of step ``number``.

        Raises ``FloatingPointError`` before anything is changed where the loss or its gradient is not finite.
        """
        torch.manual_seed((self.seed * 1_000_003 + number) * self.fabric.world_size + self.fabric.global_rank)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        logits = self.wrapped(UncastBatch(batch))
        summed = cross_entropy(logits, batch.label, reduction="sum")
        # processes average their gradients: the mean over all jets, however many each of them has
        self.fabric.backward(summed * (self.fabric.world_size / jets))
        norm = nn.utils.clip_grad_norm_(self.tagger.parameters(), self.clip)
        if not bool(torch.isfinite(norm) & torch.isfinite(summed)):
            raise FloatingPointError(f"loss {float(summed.detach())}, gradient of norm {float(norm)}")
        self.prepared.step()
        if self.averaged is not None:
            self.averaged.update_parameters(self.tagger)
        self.total += summed.detach().double()

    def share_buffers(self) -> None:
        """Every process takes the batch-norm statistics of the first."""
        if self.fabric.world_size > 1:
            for model in filter(None, (self.tagger, self.averaged)):
                for buffer in model.buffers():
                    torch.distributed.broadcast(buffer, 0)

    def epoch_loss(self, jets: int) -> float:
        """Mean loss over the epoch, of all processes; starts the next sum."""
        if self.fabric.world_size > 1:
            torch.distributed.all_reduce(self.total)
        loss = float(self.total) / jets
        self.total.zero_()
        return loss

    def gather_total(self) -> None:
        """The first process holds the sum of all, the others none of it."""
        if self.fabric.world_size > 1:
            torch.distributed.all_reduce(self.total)
        if self.fabric.global_rank:
            self.total.zero_()

    def keep(self) -> None:
        """Remember the evaluated weights as the best."""
        self.best = {name: tensor.detach().clone() for name, tensor in self.evaluated.state_dict().items()}

    def restore_best(self) -> None:
        """Give the tagger the weights that were kept, or the evaluated ones."""
        self.share_buffers()
        self.tagger.load_state_dict(self.best or self.evaluated.state_dict())

    def state_dict(self) -> dict:
        state = {"tagger": self.tagger.state_dict(), "optimizer": self.optimizer.state_dict()}
        state |= {"best": self.best, "total": self.total}
        if self.averaged is not None:
            state["averaged"] = self.averaged.state_dict()
        return _on_cpu(state)

    def load_state_dict(self, state: dict) -> None:
        self.tagger.load_state_dict(state["tagger"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.averaged is not None:
            self.averaged.load_state_dict(state["averaged"])
        self.best = {name: tensor.to(self.fabric.device) for name, tensor in state["best"].items()}
        if self.fabric.global_rank == 0:
            self.total = state["total"].to(self.fabric.device)


def _average(decay: float) -> Callable:
    """An exponential average that follows faster at first: weight min(decay, (1 + t) / (10 + t)) on the past."""

    @torch.no_grad()
    def update(averages: Any, values: Any, count: Any) -> None:
        past = min(decay, (1 + float(count)) / (10 + float(count)))
        for average, value in zip(averages, values, strict=True):
            if average.is_floating_point():
                average.lerp_(value, 1 - past)
            else:  # a counter
                average.copy_(value)

    return update


def _on_cpu(tree: Any) -> Any:
    """The same dictionaries and lists with every tensor on the CPU, readable on any machine."""
    if isinstance(tree, Tensor):
        return tree.detach().cpu()
    if isinstance(tree, dict):
        return {key: _on_cpu(value) for key, value in tree.items()}
    return [_on_cpu(value) for value in tree] if isinstance(tree, list | tuple) else tree


@contextmanager
def own_random(device: torch.device) -> Iterator[None]:
    """Random numbers drawn within the block leave the global generators as they were."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        yield


@contextmanager
def memory_advice(batch_size: int, cap: int) -> Iterator[None]:
    """Memory that runs out within the block says which setting to lower."""
    try:
        yield
    except RuntimeError as error:
        text = str(error).lower()
        signs = ("not enough memory", "out of memory", "can't allocate memory", "cannot allocate memory")
        if isinstance(error, torch.OutOfMemoryError) or any(sign in text for sign in signs):
            advice = f"memory ran out; lower batch_size ({batch_size}) or cap ({cap})"
            raise torch.OutOfMemoryError(f"{advice}: {error}") from error
        raise


def save_batch(batch: JetBatch, folder: Path | None, name: str) -> Path:
    """Write a batch to look at; into the system's folder for temporary files where none is given."""
    folder = Path(tempfile.gettempdir()) if folder is None else folder
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.safetensors"
    save_file({key: tensor.cpu().contiguous() for key, tensor in vars(batch).items()}, path)
    return path
