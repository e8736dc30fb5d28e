"""What a run leaves behind: one results.json and one results.csv, with all that is needed to read them again."""

import csv
import json
import os
import platform
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

__all__ = ["Row", "Summary", "environment", "summarise", "text_table", "write_results"]

PACKAGES = ("liesmith", "torch", "torch-geometric", "numpy", "scipy")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One trained model: what it is, which symmetry went in, and what came out.

    ``test_mse`` and ``train_mse`` in the data's squared units; ``unbroken_mse`` is the test error without the
    trajectories that are no solutions of the equations of motion; ``seconds`` of training.
    """

    model: str
    symmetry: str
    seed: int
    test_mse: float
    unbroken_mse: float
    train_mse: float
    parameters: int
    steps: int
    seconds: float

    def __str__(self) -> str:
        return (
            f"{self.model}, symmetry {self.symmetry}: test error {self.test_mse:.2e} ({self.seconds:.0f} s)"
        )


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The rows of one model and symmetry over seeds; medians."""

    model: str
    symmetry: str
    seeds: int
    test_mse: float
    lowest: float
    highest: float
    unbroken_mse: float
    seconds: float


def summarise(rows: Sequence[Row]) -> list[Summary]:
    """One summary for each model and symmetry, in the order of first appearance."""
    kinds = list(dict.fromkeys((row.model, row.symmetry) for row in rows))
    return [_summary([row for row in rows if (row.model, row.symmetry) == kind]) for kind in kinds]


def environment(device: str = "cpu") -> dict[str, Any]:
    """Versions and machine, beside which a figure can be judged."""
    return {
        "device": device,
        "processor": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
    }


def write_results(folder: str | Path, rows: Sequence[Row], **about: Any) -> None:
    """Write ``results.csv`` (one line a model) and ``results.json`` (the same, with everything in ``about``)."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    content = about | {"summary": [asdict(s) for s in summarise(rows)], "rows": [asdict(row) for row in rows]}
    _replace(folder / "results.json", json.dumps(content, indent=1, default=str, allow_nan=True) + "\n")
    common = {"device": about.get("environment", {}).get("device", "cpu"), "torch": _version("torch")}
    _write_csv(folder / "results.csv", [asdict(row) | common for row in rows])


def _summary(rows: Sequence[Row]) -> Summary:
    errors = [row.test_mse for row in rows]
    return Summary(
        model=rows[0].model,
        symmetry=rows[0].symmetry,
        seeds=len(rows),
        test_mse=statistics.median(errors),
        lowest=min(errors),
        highest=max(errors),
        unbroken_mse=statistics.median(row.unbroken_mse for row in rows),
        seconds=statistics.median(row.seconds for row in rows),
    )


def _write_csv(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    rows = list(rows)
    fresh = path.with_suffix(".part")
    with fresh.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]) if rows else [], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    os.replace(fresh, path)


def _replace(path: Path, text: str) -> None:
    fresh = path.with_suffix(".part")
    fresh.write_text(text)
    os.replace(fresh, path)


def _version(package: str) -> str:
    if package == "torch":
        return torch.__version__  # with the build, such as +cu130, which the package's metadata may lack
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def text_table(summaries: Sequence[Summary]) -> str:
    """Medians over seeds for the terminal."""
    lines = [f"{'model':<16}{'symmetry':<14}{'test error':>12}{'seconds':>10}"]
    lines += [f"{s.model:<16}{s.symmetry:<14}{s.test_mse:>12.2e}{s.seconds:>10.0f}" for s in summaries]
    return "\n".join(lines)
