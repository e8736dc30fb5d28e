"""One shard of generated jets: half top, half QCD, shuffled; the same number and settings give the same bytes."""

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from queue import Empty
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from tasks.top_tagging.data.jets import Jets
from tasks.top_tagging.data.shards import read_shard, shard_path, write_shard
from tasks.top_tagging.simulation.detector import Detector
from tasks.top_tagging.simulation.pythia import LARGEST_SEED, SETTINGS, Kind, collisions, missing_extra
from tasks.top_tagging.simulation.selection import Selection

__all__ = ["JetGenerator", "Recipe", "State", "parse_shards"]

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


NEEDED = ("pythia8mc", "fastjet", "awkward", "vector")


@dataclass(kw_only=True)
class JetGenerator:
    """Makes shards of jets; those that are there and whole are kept, damaged ones are made again.

    A shard is the same whoever makes it, so processes and machines share the work by their ranges.

    Args:
        out: folder of the shards.
        shards: their numbers: "0..9" is ten of them, both ends included; "7" is one.
        workers: processes that work side by side; one for each idle core.
        jets_per_shard: half of them top, half QCD.
        seed: of everything random.
        progress: show a bar.
    """

    out: Path
    shards: str = "0..9"
    workers: int = 1
    jets_per_shard: int = 1000
    seed: int = 0
    progress: bool = True

    def run(self, tell: Callable[[str], None] = lambda line: None) -> int:
        """Make what is missing; returns the number of shards made.

        A run that is killed loses at most its unfinished shards. Raises ``ImportError`` without the extra and
        ``ValueError`` for a wrong range or a folder of other settings.
        """
        numbers = parse_shards(self.shards)
        if self.workers < 1:
            raise ValueError(f"wanted at least one worker, got {self.workers}")
        recipe = Recipe(jets=self.jets_per_shard, seed=self.seed)
        states = {number: recipe.state(self.out, number) for number in numbers}
        todo = [number for number, state in states.items() if state != "done"]
        for number in (number for number in todo if states[number] == "damaged"):
            tell(f"{shard_path(self.out, number)} is damaged; it is made again")
        if todo:
            _check_extra()
            self._work(recipe, todo, len(numbers))
        tell(f"{len(todo)} shards made, {len(numbers) - len(todo)} were there; they are in {self.out}.")
        return len(todo)

    def _work(self, recipe: Recipe, todo: list[int], n_shards: int) -> None:
        """Let processes take numbers from one queue and tell of their jets in another."""
        context = multiprocessing.get_context("spawn")
        numbers, made = context.Queue(), context.Queue()
        n = min(self.workers, len(todo))
        for number in (*todo, *[None] * n):
            numbers.put(number)
        arguments = (recipe, self.out, numbers, made)
        workers = [context.Process(target=_worker, args=arguments, daemon=True) for _ in range(n)]
        total, kept = self.jets_per_shard * n_shards, self.jets_per_shard * (n_shards - len(todo))
        with tqdm(total=total, initial=kept, unit="jet", desc="jets", disable=not self.progress) as bar:
            try:
                for worker in workers:
                    worker.start()
                _watch(workers, made, bar)
            finally:
                for worker in workers:
                    worker.terminate()


def _watch(workers: list[Any], made: Any, bar: tqdm) -> None:
    """Move the bar until all are done; raises what a worker met, or ``OSError`` where one was killed."""
    while any(worker.is_alive() for worker in workers) or not made.empty():
        with contextlib.suppress(Empty):
            news = made.get(timeout=0.5)
            if isinstance(news, Exception):
                raise news
            bar.update(news)
        codes = {worker.exitcode for worker in workers} - {None, 0}
        if codes:
            raise OSError(
                f"a worker ended with code {codes.pop()}; run again to go on, with fewer workers if memory ran out"
            )


def parse_shards(text: str) -> range:
    """ "3..7" as 3, 4, 5, 6, 7 and "3" as 3. Raises ``ValueError`` for anything else."""
    first, _, last = text.partition("..")
    try:
        numbers = range(int(first), int(last or first) + 1)
    except ValueError:
        numbers = range(0)
    if not numbers or numbers.start < 0:
        raise ValueError(f"shards must be a range such as 0..9, both ends included, got {text!r}")
    return numbers


def _check_extra() -> None:
    absent = [name for name in NEEDED if find_spec(name) is None]
    if absent:
        raise missing_extra(ImportError(f"no {', '.join(absent)}"))


def _worker(recipe: Recipe, folder: Path, numbers: Any, made: Any) -> None:
    _settle()
    try:
        while (number := numbers.get()) is not None:
            recipe.make(folder, number, made.put)
    except (ValueError, OSError) as error:
        made.put(ValueError(str(error)))


def _settle() -> None:
    """In a worker: end at Ctrl-C or with the parent, without a word, and keep FastJet's banner off the screen."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
