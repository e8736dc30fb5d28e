"""``Plan``: how large a study of taggers is, in sizes of sets and networks and in schedules; three by name."""

import math
from dataclasses import dataclass
from typing import Any

from tasks.top_tagging.data.jets import CAP
from tasks.top_tagging.tagging.models import TAGGERS, TaggerSize

__all__ = ["FULL", "QUICK", "USUAL", "Plan", "parse_curve", "parse_rows"]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Sizes and schedules.

    Args:
        train: training jets.
        validation: jets by which the best epoch is chosen.
        test: jets to measure on.
        curve: sizes of training sets, the first jets of ``train``, rising.
        seeds: trainings of each tagger and size.
        epochs: passes at the largest size; smaller sizes get more, see ``epochs_of``.
        batch_size: as for ``TaggerTrainer``.
        learning_rate: as for ``TaggerTrainer``.
        warmup: as for ``TaggerTrainer``.
        cap: as for ``TaggerTrainer``.
        precision: as for ``TaggerTrainer``.
        hidden: width of every network.
        layers: blocks of every network.
        dropout: of every network.
        boosted: test jets that are boosted, the first ones; 0 leaves boosts out.
    """

    train: int
    validation: int
    test: int
    curve: tuple[int, ...]
    seeds: int
    epochs: int
    batch_size: int = 128
    learning_rate: float = 3e-3
    warmup: float = 1.0
    cap: int = 32
    precision: str = "32-true"
    hidden: int = 16
    layers: int = 2
    dropout: float = 0.0
    boosted: int = 2000

    @property
    def size(self) -> TaggerSize:
        """Size of every network."""
        return TaggerSize(hidden=self.hidden, layers=self.layers, dropout=self.dropout)

    def epochs_of(self, train_jets: int) -> int:
        """Passes over a smaller set: more by the root of the ratio, so that few jets do not mean few steps."""
        return round(self.epochs * math.sqrt(max(self.curve) / train_jets))

    def check(self) -> None:
        """Raises ``ValueError`` for an impossible size."""
        positive = ("train", "validation", "test", "seeds", "epochs", "batch_size", "cap", "hidden", "layers")
        for name in positive:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.boosted < 0:
            raise ValueError(f"boosted must not be negative, got {self.boosted}")
        if max(self.curve) > self.train:
            raise ValueError(f"curve must hold sizes up to train = {self.train}, got {max(self.curve)}")


USUAL = Plan(train=20_000, validation=5_000, test=20_000, curve=(1_000, 5_000, 20_000), seeds=3, epochs=12)
QUICK = Plan(train=2_000, validation=500, test=2_000, curve=(500, 2_000), seeds=1, epochs=20, boosted=500)
FULL = Plan(
    train=200_000, validation=50_000, test=100_000, curve=(2_000, 20_000, 200_000), seeds=3, epochs=35, batch_size=256,
    learning_rate=1e-3, warmup=5.0, cap=CAP, precision="bf16-mixed", hidden=72, layers=6, dropout=0.2, boosted=10_000,
)  # fmt: skip


def parse_curve(text: str) -> tuple[int, ...]:
    """ "1000,5000" as rising sizes. Raises ``ValueError`` for anything else."""
    try:
        sizes = tuple(sorted({int(part) for part in text.split(",")}))
    except ValueError:
        sizes = (0,)
    if sizes[0] < 1:
        raise ValueError(f"curve must be sizes such as 1000,5000,20000, got {text!r}")
    return sizes


def parse_rows(text: str) -> tuple[str, ...]:
    """ "liegnn, lorentznet-raw" as names of ``TAGGERS`` in their order; "all" is all of them."""
    if text.strip().lower() == "all":
        return TAGGERS
    known = {_plain(name): name for name in TAGGERS}
    asked = [_plain(part) for part in text.split(",")]
    unknown = [part for part in asked if part not in known]
    if unknown:
        names = ", ".join(name.replace(", ", "-") for name in TAGGERS)
        raise ValueError(f"rows must be all or some of {names}, separated by commas; got {text!r}")
    return tuple(name for plain, name in known.items() if plain in asked)


def _plain(text: Any) -> str:
    return "".join(c for c in str(text).lower() if c.isalnum())
