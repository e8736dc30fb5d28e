"""How long ``import equivariant`` takes beside what it depends on: python benchmarks/import_time.py --out FILE."""

import statistics
import subprocess
import sys
import time
from pathlib import Path

import cyclopts
from common import write_result

STATEMENTS = {
    "torch": "import torch",
    "torch and torch_geometric": "import torch, torch_geometric",
    "equivariant": "import equivariant",
    "discover": "import discover",
}


def seconds(statement: str) -> float:
    """One import in a fresh interpreter."""
    begun = time.perf_counter()
    subprocess.run([sys.executable, "-c", statement], check=True)
    return time.perf_counter() - begun


def main(out: Path = Path("results/import_time.json"), *, repeats: int = 7) -> None:
    """Median seconds of each import, interleaved so that a busy moment affects all.

    Args:
        out: result file (JSON).
        repeats: imports of each.
    """
    for statement in STATEMENTS.values():  # the first import of all fills the disk's cache
        seconds(statement)
    rounds = [{name: seconds(statement) for name, statement in STATEMENTS.items()} for _ in range(repeats)]
    medians = {name: round(statistics.median(r[name] for r in rounds), 3) for name in STATEMENTS}
    ratio = round(medians["equivariant"] / medians["torch and torch_geometric"], 3)
    content = {"seconds": medians, "equivariant_over_torch_and_torch_geometric": ratio, "repeats": repeats}
    write_result(out, content)


if __name__ == "__main__":
    cyclopts.run(main)
