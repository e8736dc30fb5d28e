"""How long ``import equivariant`` takes beside what it stands on: python benchmarks/import_time.py [out.json]."""

import json
import platform
import statistics
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

__all__ = ["main"]

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


def main(out: Path | None = None, repeats: int = 7) -> dict[str, object]:
    """Median seconds of each import, in turn so that a busy moment hits all; written to ``out``."""
    for statement in STATEMENTS.values():  # the first import of all fills the disk's cache
        seconds(statement)
    rounds = [{name: seconds(statement) for name, statement in STATEMENTS.items()} for _ in range(repeats)]
    medians = {name: round(statistics.median(r[name] for r in rounds), 3) for name in STATEMENTS}
    result = {
        "seconds": medians,
        "equivariant_over_torch_and_torch_geometric": round(
            medians["equivariant"] / medians["torch and torch_geometric"], 3
        ),
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("torch", "torch-geometric")},
        "repeats": repeats,
    }
    text = json.dumps(result, indent=1)
    print(text)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(text + "\n")
    return result


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
