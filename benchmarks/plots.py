"""Pictures of results/benchmarks/models.json: python benchmarks/plots.py [models.json] [models.png]."""

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.axes import Axes

OURS, PLAIN = "#1b6ca8", "#b0b0b0"


def main(source: Path, target: Path) -> None:
    """Cost of LieGNN against nodes, width and batch; and EMLP against a plain network."""
    result = json.loads(source.read_text())
    figure, axes = plt.subplots(1, 4, figsize=(13, 3.2), constrained_layout=True)
    for axis, key, fixed in zip(
        axes, ("nodes", "hidden", "batch"), ({16, 72}, {16, 50}, {50, 72}), strict=False
    ):
        clouds(axis, result["liegnn"], key, fixed)
    networks(axes[3], result["emlp"])
    axes[0].set_ylabel("training step [s]")
    axes[0].legend(frameon=False)
    figure.savefig(target, dpi=150)


def clouds(axis: Axes, rows: list[dict[str, Any]], key: str, fixed: set[int]) -> None:
    """Seconds of a step where the two other sizes are as said."""
    others = [name for name in ("batch", "nodes", "hidden") if name != key]
    for kind, colour in (("plain", PLAIN), ("ours", OURS)):
        chosen = [r for r in rows if r["kind"] == kind and {r[name] for name in others} == fixed]
        chosen.sort(key=lambda r: r[key])
        label = "LieGNN" if kind == "ours" else "written plainly"
        axis.plot([r[key] for r in chosen], [r["seconds"] for r in chosen], "o-", color=colour, label=label)
    title = ", ".join(f"{name} {size}" for name, size in _fixed(rows, others, fixed))
    axis.set(xscale="log", yscale="log", xlabel=key, title=title)
    sizes = sorted({r[key] for r in rows if {r[name] for name in others} == fixed})
    axis.set_xticks(sizes, [str(size) for size in sizes])
    axis.set_yticks([0.1, 0.2, 0.5, 1, 2, 5, 10], ["0.1", "0.2", "0.5", "1", "2", "5", "10"])
    axis.minorticks_off()


def _fixed(rows: list[dict[str, Any]], names: list[str], fixed: set[int]) -> list[tuple[str, int]]:
    row = next(r for r in rows if {r[name] for name in names} == fixed)
    return [(name, row[name]) for name in names]


def networks(axis: Axes, rows: list[dict[str, Any]]) -> None:
    """Step and evaluation over those of a plain network of the same widths."""
    labels = [f"{row['algebra']}, {row['batch']}" for row in rows]
    for shift, key, colour in ((-0.2, "step_ratio", OURS), (0.2, "evaluation_ratio", "#7fb3d5")):
        axis.bar(
            [i + shift for i in range(len(rows))], [row[key] for row in rows], 0.4, color=colour, label=key
        )
    axis.axhline(1, color=PLAIN)
    axis.set_xticks(range(len(rows)), labels, rotation=60, ha="right", fontsize=7)
    axis.set_title("EMLP over a plain network")
    axis.set_ylim(0, 4)
    axis.legend(["plain", "training step", "evaluation (dense copy)"], frameon=False, fontsize=7)


if __name__ == "__main__":
    paths = [Path(argument) for argument in sys.argv[1:]]
    source = paths[0] if paths else Path("results/benchmarks/models.json")
    main(source, paths[1] if len(paths) > 1 else source.with_suffix(".png"))
