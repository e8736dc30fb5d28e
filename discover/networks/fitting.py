"""Fitting a small network to samples: Adam, batches drawn with replacement, a cosine rate, one source of randomness."""

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
    random: torch.Generator,
    progress: str | None = None,
) -> None:
    """Train ``model`` in place to a small ``loss`` of batches; ``progress`` names a bar, if one is wanted."""
    optimizer = torch.optim.Adam(model.parameters(), lr=rate, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5 * (1 + cos(pi * step / steps)))
    bar = tqdm(range(steps), desc=progress, disable=progress is None, leave=False)
    for step in bar:
        index = torch.randint(len(samples), (batch,), generator=random, device=random.device)
        optimizer.zero_grad()
        value = loss(samples[index])
        value.backward()
        optimizer.step()
        schedule.step()
        if progress is not None and step % 50 == 0:
            bar.set_postfix_str(f"loss {float(value.detach()):.2e}")


def seeded(random: torch.Generator, make: Callable[[], Model]) -> Model:
    """Build a module whose initial weights come from this generator, not from torch's global one."""
    seed = int(torch.randint(2**31, (), generator=random, device=random.device))
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return make()
