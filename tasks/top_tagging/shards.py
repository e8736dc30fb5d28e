"""One shard of generated jets: half top, half QCD, shuffled; the same number and settings give the same bytes."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tasks.top_tagging.detector import Detector
from tasks.top_tagging.events import LARGEST_SEED, SETTINGS, Kind, collisions
from tasks.top_tagging.files import read_shard, shard_path, write_shard
from tasks.top_tagging.jets import Jets
from tasks.top_tagging.selection import Selection

__all__ = ["Recipe", "State"]

State = str  # "missing", "damaged" or "done"
LABELS: dict[Kind, int] = {"top": 1, "qcd": 0}
PACKAGES = ("pythia8mc", "fastjet", "awkward", "numpy")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How shards are made.

    Args:
        jets: number of jets in a shard, even. seed: of all shards; each has its own stream of it.
        batch: events made at a time. detector, selection: see there.
    """

    jets: int = 1000
    seed: int = 0
    batch: int = 500
    detector: Detector = field(default_factory=Detector)
    selection: Selection = field(default_factory=Selection)

    def __post_init__(self) -> None:
        if self.jets < 2 or self.jets % 2:
            raise ValueError(f"a shard is half top, half QCD: wanted an even number of jets, got {self.jets}")
        if self.seed < 0 or self.batch < 1:
            raise ValueError(f"wanted seed >= 0 and batch >= 1, got {self.seed} and {self.batch}")

    def settings(self) -> dict[str, Any]:
        """Everything that decides the jets, as ``json`` can write it; lists for tuples."""
        return {"pythia": {kind: list(lines) for kind, lines in SETTINGS.items()}, **asdict(self)}

    def about(self, number: int) -> dict[str, Any]:
        """What is written with shard ``number``."""
        return {
            "method": "liesmith jets",
            "shard": number,
            "settings": self.settings(),
            "versions": {name: version(name) for name in PACKAGES},
        }

    def state(self, folder: Path, number: int) -> State:
        """Whether a shard is there and whole. Raises ``ValueError`` where it was made with other settings."""
        path = shard_path(folder, number)
        if not path.is_file():
            return "missing"
        try:
            _, about = read_shard(path)
        except ValueError:
            return "damaged"
        if (about.get("settings"), about.get("shard")) != (self.settings(), number):
            raise ValueError(f"{path} was made with other settings; give another folder, or remove it")
        return "done"

    def make(self, folder: Path, number: int, made: Callable[[int], None] = lambda n: None) -> None:
        """Generate shard ``number`` and write it; ``made`` hears of every few new jets.

        Raises ``ImportError`` without the extra.
        """
        p3, label = [], []
        for kind, y in LABELS.items():
            found = self._generate(kind, number, made)
            p3 += found
            label += [y] * len(found)
        jets = Jets(
            p3=torch.from_numpy(np.concatenate(p3)),
            offsets=torch.from_numpy(np.cumsum([0, *map(len, p3)], dtype=np.int64)),
            label=torch.tensor(label, dtype=torch.int8),
        )
        order = np.random.default_rng([self.seed, number, len(LABELS)]).permutation(len(jets))
        write_shard(shard_path(folder, number), jets[torch.from_numpy(order)], self.about(number))

    def _generate(self, kind: Kind, number: int, made: Callable[[int], None]) -> list[np.ndarray]:
        """Constituents of half a shard's jets of one kind."""
        random = np.random.default_rng([self.seed, number, LABELS[kind]])
        wanted, jets = self.jets // 2, []
        for events in collisions(kind, int(random.integers(1, LARGEST_SEED + 1)), self.batch):
            found = self.selection.jets(self.detector.see(events, random), events, matched=kind == "top")
            made(min(len(found), wanted - len(jets)))
            jets += found
            if len(jets) >= wanted:
                break
        return jets[:wanted]
