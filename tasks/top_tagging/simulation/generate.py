"""Generated jets in shards: half top, half QCD, shuffled; the same number and settings give the same bytes.

``Recipe`` makes one shard, ``JetGenerator`` (the command ``liesmith jets``) many of them in several processes.
"""

import contextlib
import logging
import multiprocessing
import os
import re
import signal
import threading
from collections.abc import Callable, Iterator
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
NEEDED = ("pythia8mc", "fastjet", "awkward", "vector")
LAST_SHARD = 99_999  # names of files have five digits

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How shards are made.

    Args:
        jets: number of jets in a shard, even.
        seed: of all shards; each has its own random stream, from the seed and its number.
        batch: events made at a time.
        detector: in which events are simulated.
        selection: of jets.
    """

    jets: int = 1000
    seed: int = 0
    batch: int = 500
    detector: Detector = field(default_factory=Detector)
    selection: Selection = field(default_factory=Selection)

    def __post_init__(self) -> None:
        if self.jets < 2 or self.jets % 2:
            raise ValueError(f"a shard is half top, half QCD, so jets must be even, got {self.jets}")
        if self.seed < 0 or self.batch < 1:
            raise ValueError(
                f"seed must be at least 0 and batch at least 1, got {self.seed} and {self.batch}"
            )

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
            raise ValueError(f"{path} was made with other settings; give another --out, or remove it")
        return "done"

    def make(self, folder: Path, number: int, made: Callable[[int], object] = lambda n: None) -> None:
        """Generate shard ``number`` and write it; ``made`` is called with the number of new jets, every few.

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

    def _generate(self, kind: Kind, number: int, made: Callable[[int], object]) -> list[np.ndarray]:
        """Constituents of half a shard's jets of one kind."""
        rng = np.random.default_rng([self.seed, number, LABELS[kind]])
        half, jets = self.jets // 2, []
        for events in collisions(kind, int(rng.integers(1, LARGEST_SEED + 1)), self.batch):
            found = self.selection.jets(self.detector.simulate(events, rng), events, matched=kind == "top")
            made(min(len(found), half - len(jets)))
            jets += found
            if len(jets) >= half:
                break
        return jets[:half]


@dataclass(kw_only=True)
class JetGenerator:
    """Makes shards of jets; those that are there and whole are kept, damaged ones are made again.

    A shard depends on its number and the settings alone, so processes and machines may share the work by ranges.

    Args:
        out: folder of the shards.
        shards: their numbers: "0..9" is ten of them, both ends included; "7" is one; 99999 is the last.
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

    def run(self) -> int:
        """Make what is missing. A run that is killed loses at most its unfinished shards.

        Returns:
            The number of shards made.

        Raises:
            ImportError: without the extra ``jets``.
            ValueError: for a wrong range or a folder of other settings.
        """
        numbers = parse_shards(self.shards)
        if self.workers < 1:
            raise ValueError(f"workers must be at least 1, got {self.workers}")
        recipe = Recipe(jets=self.jets_per_shard, seed=self.seed)
        states = {number: recipe.state(self.out, number) for number in numbers}
        todo = [number for number, state in states.items() if state != "done"]
        for number in (number for number in todo if states[number] == "damaged"):
            log.warning("%s is damaged; it is made again", shard_path(self.out, number))
        if todo:
            check_extra()
            self._work(recipe, todo, len(numbers))
        log.info("%d of %d shards made, the others were there: %s", len(todo), len(numbers), self.out)
        return len(todo)

    def _work(self, recipe: Recipe, todo: list[int], n_shards: int) -> None:
        total, kept = self.jets_per_shard * n_shards, self.jets_per_shard * (n_shards - len(todo))
        with tqdm(total=total, initial=kept, unit="jet", desc="jets", disable=not self.progress) as bar:
            if (
                self.workers == 1
            ):  # no process: a script without a guard of its main module may call this, too
                with _silent_stdout():
                    for number in todo:
                        recipe.make(self.out, number, bar.update)
            else:
                self._share(recipe, todo, bar)

    def _share(self, recipe: Recipe, todo: list[int], bar: tqdm) -> None:
        """Let processes take numbers from one queue and report jets in another."""
        context = multiprocessing.get_context("spawn")
        numbers, made = context.Queue(), context.Queue()
        n = min(self.workers, len(todo))
        for number in (*todo, *[None] * n):
            numbers.put(number)
        arguments = (recipe, self.out, numbers, made)
        workers = [context.Process(target=_worker, args=arguments, daemon=True) for _ in range(n)]
        try:
            for worker in workers:
                worker.start()
            _watch(workers, made, bar)
        finally:
            for worker in workers:
                worker.terminate()


@contextlib.contextmanager
def _silent_stdout() -> Iterator[None]:
    """Keep FastJet's banner off the screen."""
    kept, nowhere = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        yield
    finally:
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)


def _watch(workers: list[Any], made: Any, bar: tqdm) -> None:
    """Advance the bar until all are done; raises what a worker raised, or ``OSError`` where one was killed."""
    while any(worker.is_alive() for worker in workers) or not made.empty():
        with contextlib.suppress(Empty):
            jets = made.get(timeout=0.5)
            if isinstance(jets, Exception):
                raise jets
            bar.update(jets)
        codes = {worker.exitcode for worker in workers} - {None, 0}
        if codes:
            raise OSError(
                f"a worker ended with code {codes.pop()}; run again to go on, with fewer workers if memory ran out"
            )


def parse_shards(text: str) -> range:
    """Numbers of shards: "3..7" is 3, 4, 5, 6, 7 and "3" is 3; ``ValueError`` for anything else."""
    match = re.fullmatch(r"(\d{1,20})(?:\.\.(\d{1,20}))?", text)
    numbers = range(int(match[1]), int(match[2] or match[1]) + 1) if match else range(0)
    if not numbers:
        raise ValueError(f"shards must be a range such as 0..9, both ends included, got {text!r}")
    if numbers[-1] > LAST_SHARD:
        raise ValueError(
            f"shards are numbered 0 to {LAST_SHARD}, got {text!r}; a shard may hold more jets instead"
        )
    return numbers


def check_extra() -> None:
    """Raises ``ImportError`` where a package that generates jets is absent."""
    absent = [name for name in NEEDED if find_spec(name) is None]
    if absent:
        raise missing_extra(ImportError(f"no {', '.join(absent)}"))


def _worker(recipe: Recipe, folder: Path, numbers: Any, made: Any) -> None:
    _isolate()
    try:
        while (number := numbers.get()) is not None:
            recipe.make(folder, number, made.put)
    except (ValueError, OSError) as error:
        made.put(ValueError(str(error)))


def _isolate() -> None:
    """In a worker: end silently at Ctrl-C or with the parent, and keep FastJet's banner off the screen."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
