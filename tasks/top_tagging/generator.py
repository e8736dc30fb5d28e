"""``liesmith jets``: shards of top and QCD jets by any number of processes or machines, resumable."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from queue import Queue

from tqdm import tqdm

from tasks.top_tagging.events import missing_extra
from tasks.top_tagging.files import shard_path
from tasks.top_tagging.shards import Recipe, State

__all__ = ["JetGenerator", "parse_shards"]

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
            self._work(recipe, todo, states)
        tell(f"{len(todo)} shards made, {len(numbers) - len(todo)} were there; they are in {self.out}.")
        return len(todo)

    def _work(self, recipe: Recipe, todo: list[int], states: dict[int, State]) -> None:
        context = multiprocessing.get_context("spawn")
        total, kept = (self.jets_per_shard * n for n in (len(states), len(states) - len(todo)))
        bar = tqdm(total=total, initial=kept, unit="jet", desc="jets", disable=not self.progress)
        with bar, context.Manager() as manager:
            made = manager.Queue()
            pool = ProcessPoolExecutor(min(self.workers, len(todo)), context, initializer=_begin)
            try:
                _watch([pool.submit(_make, recipe, self.out, number, made) for number in todo], made, bar)
            except BrokenProcessPool:
                raise OSError(
                    "a worker was killed; run again to go on, with fewer workers if memory ran out"
                ) from None
            finally:
                pool.shutdown(cancel_futures=True)


def _watch(futures: list[Future], made: Queue, bar: tqdm) -> None:
    """Move the bar until all is done; raises what a worker raised."""
    waiting = set(futures)
    while waiting:
        done, waiting = wait(waiting, timeout=0.5, return_when=FIRST_EXCEPTION)
        bar.update(sum(made.get() for _ in range(made.qsize())))
        for future in done:
            future.result()


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


def _begin() -> None:
    """In a worker: end at Ctrl-C or with the parent, without a word, and keep FastJet's banner off the screen."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _make(recipe: Recipe, folder: Path, number: int, made: Queue) -> None:
    recipe.make(folder, number, made.put)
