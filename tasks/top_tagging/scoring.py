"""What a tagger says of jets: logits and probabilities, jets of like length side by side."""

import torch
from torch import Tensor

from tasks.top_tagging.batches import Pad
from tasks.top_tagging.engine import memory_advice
from tasks.top_tagging.jets import Jets
from tasks.top_tagging.loading import by_length, prefetched
from tasks.top_tagging.models import Tagger

__all__ = ["class_logits", "tagger_scores"]


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
