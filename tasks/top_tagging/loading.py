"""The order in which jets are trained on: jets of like length side by side, the same for a seed and an epoch."""

import queue
import threading
from collections.abc import Iterator

import torch
from torch import Tensor

from tasks.top_tagging.batches import JetBatch, Pad
from tasks.top_tagging.jets import Jets

__all__ = ["by_length", "epoch_order", "prefetched"]

POOL = 4  # batches whose jets are sorted by length among each other: less padding, and batches still mixed


def epoch_order(counts: Tensor, size: int, seed: int, epoch: int) -> list[Tensor]:
    """Numbers of all jets, each once, in batches of at most ``size`` jets and of sizes that differ by one at most.

    Args:
        counts: constituents of each jet (n,), as many as are used. seed, epoch: the same, the same order.
    """
    random = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    shuffled = torch.randperm(len(counts), generator=random)
    pools = shuffled.split(POOL * size)
    ordered = torch.cat([pool[counts[pool].argsort(stable=True)] for pool in pools])
    batches = ordered.tensor_split(-(-len(counts) // size))
    return [batches[i] for i in torch.randperm(len(batches), generator=random).tolist()]


def by_length(counts: Tensor, size: int) -> tuple[Tensor, ...]:
    """Numbers of all jets, sorted by length, ``size`` at a time: to score them with little padding."""
    return counts.argsort(stable=True).split(size)


def prefetched(jets: Jets, orders: list[Tensor], pad: Pad, device: torch.device) -> Iterator[JetBatch]:
    """The batches on ``device``; for another one than a CPU they are made and sent by a thread, two ahead."""
    made = (pad(jets[chosen]) for chosen in orders)
    if device.type == "cpu":
        return made
    return _ahead((_sent(batch, device) for batch in made), 2)


def _sent(batch: JetBatch, device: torch.device) -> JetBatch:
    """A copy on a device, made while it computes."""
    tensors = {name: getattr(batch, name) for name in ("p4", "mask", "scalars", "label")}
    if device.type == "cuda":
        tensors = {name: tensor.pin_memory() for name, tensor in tensors.items()}
    return JetBatch(**{name: tensor.to(device, non_blocking=True) for name, tensor in tensors.items()})


def _ahead(batches: Iterator[JetBatch], depth: int) -> Iterator[JetBatch]:
    """The same batches, made by a thread of their own; what it raises is raised here."""
    waiting: queue.Queue = queue.Queue(depth)
    stopped = threading.Event()

    def put(item: object) -> None:
        while not stopped.is_set():
            try:
                return waiting.put(item, timeout=0.1)
            except queue.Full:
                continue

    def work() -> None:
        try:
            for batch in batches:
                put(batch)
                if stopped.is_set():
                    return
            put(None)
        except Exception as error:
            put(error)

    threading.Thread(target=work, daemon=True).start()
    try:
        while (item := waiting.get()) is not None:
            if isinstance(item, Exception):
                raise item
            yield item
    finally:
        stopped.set()
