"""Fitting a small network to samples: Adam, batches drawn with replacement, a learning rate that falls as a cosine."""

from collections.abc import Callable
from math import cos, pi
from typing import TypeVar

import torch
from torch import Tensor, nn
from tqdm import tqdm

from discover.data.samples import Samples

__all__ = ["fit", "seeded"]

Model = TypeVar("Model", bound=nn.Module)


def fit(
    model: nn.Module,
    loss: Callable[[Samples], Tensor],
    samples: Samples,
    *,
    steps: int,
    batch: int,
    rate: float,
    rng: torch.Generator,
    progress: str | None = None,
) -> None:
    """Train a model in place.

    Args:
        model: with its parameters on the device of the samples.
        loss: of a batch.
        samples: to draw batches from.
        steps: optimisation steps.
        batch: samples in each.
        rate: learning rate at the start; it falls to zero as a cosine.
        rng: source of the batches.
        progress: label of a progress bar; ``None`` shows none.
    """
    optimizer = torch.optim.Adam(model.parameters(), lr=rate, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5 * (1 + cos(pi * step / steps)))
    bar = tqdm(range(steps), desc=progress, disable=progress is None, leave=False)
    for step in bar:
        index = torch.randint(len(samples), (batch,), generator=rng, device=rng.device)
        optimizer.zero_grad()
        value = loss(samples[index])
        value.backward()
        optimizer.step()
        schedule.step()
        if progress is not None and step % 50 == 0:
            bar.set_postfix_str(f"loss {float(value.detach()):.2e}")


def seeded(rng: torch.Generator, make: Callable[[], Model]) -> Model:
    """A module whose initial weights come from ``rng``; torch's global random state is left alone.

    Args:
        rng: source of the weights.
        make: builds the module.
    """
    seed = int(torch.randint(2**31, (), generator=rng, device=rng.device))
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return make()
