"""Games begun from several places: how promising a start is after a trial, and where each restart is kept."""

from pathlib import Path

import torch

from discover.latent.game import BLIND, LatentGame

__all__ = ["beside", "promise"]


def promise(game: LatentGame, trial: int, noise: float) -> float:
    """What is not given back, plus how far the critic is from blind, over the second half of a trial; small is good."""
    total = 0.0
    for step in range(trial):
        losses = game.step(1.0, noise)
        if step >= trial // 2:
            critic = losses.get("critic", torch.tensor(BLIND))
            total += float(losses["reconstruction"]) + max(0.0, BLIND - float(critic))
    return total / max(1, trial - trial // 2)


def beside(checkpoint: str | Path | None, restart: int) -> Path | None:
    """The checkpoint of a restart, beside that of the first game, which is read again when a run goes on."""
    if checkpoint is None:
        return None
    path = Path(checkpoint)
    return path.with_name(f"{path.stem}-{restart}{path.suffix}") if restart else path
