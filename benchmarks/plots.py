"""Figure of the benchmark of models: python benchmarks/plots.py --source results/benchmarks/models.json."""

from pathlib import Path
from typing import Any

import cyclopts
from matplotlib.axes import Axes

from tasks.common.files import read_json
from tasks.common.plots import panels, save_figure

OURS, DENSE, PLAIN = "#1b6ca8", "#7fb3d5", "#b0b0b0"
SIZES = {"batch": 16, "nodes": 50, "hidden": 72}  # what is not varied


def draw_clouds(axis: Axes, rows: list[dict[str, Any]], key: str) -> None:
    """Seconds of a training step against one size."""
    fixed = {name: size for name, size in SIZES.items() if name != key}
    for kind, label, colour in (("plain", "written plainly", PLAIN), ("ours", "LieGNN", OURS)):
        chosen = [r for r in rows if r["kind"] == kind and all(r[name] == fixed[name] for name in fixed)]
        points = sorted((r[key], r["seconds"]) for r in chosen)
        axis.plot(*zip(*points, strict=True), "o-", color=colour, label=label)
    axis.set(xscale="log", yscale="log", xlabel=key, title=", ".join(f"{n} {s}" for n, s in fixed.items()))
    axis.set_xticks([size for size, _ in points], [str(size) for size, _ in points])
    ticks = [0.1, 0.2, 0.5, 1, 2, 5, 10]
    axis.set_yticks(ticks, map(str, ticks))
    axis.minorticks_off()


def draw_networks(axis: Axes, rows: list[dict[str, Any]]) -> None:
    """Training step and evaluation over those of a plain network of the same widths."""
    for shift, key, label, colour in (
        (-0.2, "step_ratio", "training step", OURS),
        (0.2, "evaluation_ratio", "evaluation (dense copy)", DENSE),
    ):
        places = [i + shift for i in range(len(rows))]
        axis.bar(places, [row[key] for row in rows], 0.4, color=colour, label=label)
    axis.axhline(1, color=PLAIN, label="plain")
    labels = [f"{row['algebra']}, {row['batch']}" for row in rows]
    axis.set_xticks(range(len(rows)), labels, rotation=60, ha="right", fontsize=7)
    axis.set(title="EMLP over a plain network", ylim=(0, 4))
    axis.legend(frameon=False, fontsize=7)


def main(source: Path = Path("results/benchmarks/models.json"), *, target: Path | None = None) -> None:
    """Cost of LieGNN against nodes, width and batch; and EMLP against a plain network.

    Args:
        source: result file of ``benchmarks/models.py``.
        target: the figure; by default beside the source.
    """
    result = read_json(source)
    figure, axes = panels(4, width=3.25, height=3.2)
    for axis, key in zip(axes[:3], ("nodes", "hidden", "batch"), strict=True):
        draw_clouds(axis, result["liegnn"], key)
    axes[0].set_ylabel("training step [s]")
    axes[0].legend(frameon=False)
    draw_networks(axes[3], result["emlp"])
    save_figure(figure, target or source.with_suffix(".png"))


if __name__ == "__main__":
    cyclopts.run(main)
