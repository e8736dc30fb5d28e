"""Pictures of a study of taggers: the metric that was found, rejection, sample efficiency, boosts, calibration."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor

from discover.algebra.draw import INK, QUIET
from tasks.common.plots import colour, draw_matrix, legend, panels
from tasks.top_tagging.data.jets import MOMENTUM
from tasks.top_tagging.results import TaggingResults
from tasks.top_tagging.tagging.boosts import RAPIDITIES
from tasks.top_tagging.tagging.metrics import FEW, accuracy, auc, calibration, roc
from tasks.top_tagging.tagging.models import PUBLISHED, TAGGERS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_boosts", "draw_calibration", "draw_invariance", "draw_learning", "draw_metric", "draw_overview",
           "draw_rejection"]  # fmt: skip

COLOUR = {name: colour(i) for i, name in enumerate(TAGGERS)} | {PUBLISHED: INK}
LEGEND = 1.8  # inches


def draw_metric(results: TaggingResults) -> "Figure":
    """Entries of the metric that was found on the most training jets, with the first seed."""
    return _one(results, _metric, margin=0)


def draw_rejection(results: TaggingResults) -> "Figure":
    """1/eps_B against eps_S at the largest size, one line for each seed, while at least ten QCD jets pass."""
    return _one(results, _rejection)


def draw_learning(results: TaggingResults) -> "Figure":
    """1 - AUC against the number of training jets: medians, and bars from the lowest to the highest seed."""
    return _one(results, _learning)


def draw_calibration(results: TaggingResults) -> "Figure":
    """Share of top jets against the score at the largest size; on the diagonal a score is a probability."""
    return _one(results, _calibration)


def draw_invariance(results: TaggingResults) -> "Figure":
    """AUC against the rapidity of a boost of constituents and beams."""
    return _one(results, _boosts, margin=1.7)


def draw_boosts(results: TaggingResults, measure: Callable[[Tensor, Tensor], float] = auc) -> "Figure":
    """AUC, or another measure, against the rapidity of a boost: with beams, and of constituents alone."""
    figure, axes = panels(2, width=3.4, margin=LEGEND)
    for variant, axis in enumerate(axes):
        _boosts(axis, results, variant, measure)
        axis.set_title(("constituents and beams", "constituents alone")[variant])
    legend(axes[1])
    return figure


def draw_overview(results: TaggingResults) -> "Figure":
    """The metric, rejection, sample efficiency and boosts side by side."""
    figure, axes = panels(4, width=3.2, height=3.2, margin=LEGEND)
    titles = ("metric J, found", "rejection of QCD jets", "sample efficiency", "boosted jets")
    for axis, draw, title in zip(axes, (_metric, _rejection, _learning, _boosts), titles, strict=True):
        draw(axis, results)
        axis.set_title(title)
    legend(axes[3])
    return figure


def _one(
    results: TaggingResults, draw: Callable[["Axes", TaggingResults], None], margin: float = LEGEND
) -> "Figure":
    figure, (axis,) = panels(1, margin=margin)
    draw(axis, results)
    legend(axis)
    return figure


def _metric(axis: "Axes", results: TaggingResults) -> None:
    best = results.metric
    if best is None or best.metric is None:
        axis.set_axis_off()
        axis.text(0.5, 0.5, "no metric was found", ha="center", transform=axis.transAxes)
    else:
        draw_matrix(axis, best.metric, MOMENTUM, form=".2f")


def _rejection(axis: "Axes", results: TaggingResults) -> None:
    n_qcd = int((results.label == 0).sum())
    for name, runs in results.final().items():
        for i, run in enumerate(runs):
            curve = roc(run.scores, results.label)
            seen = (curve.y * n_qcd >= FEW - 0.5) & (curve.x > 0)
            axis.plot(curve.x[seen], 1 / curve.y[seen], **_line(name, faint=i > 0))
    label = "rejection of QCD jets, 1 / efficiency"
    axis.set(xlabel="efficiency of top jets", ylabel=label, yscale="log", xlim=(0, 1))


def _learning(axis: "Axes", results: TaggingResults) -> None:
    ours = [s for s in results.table.summary() if s.group["row"] != PUBLISHED and s["auc"].seeds]
    for name in dict.fromkeys(s.group["row"] for s in ours):
        chosen = [s for s in ours if s.group["row"] == name]
        lowest, middle, highest = (
            np.array([1 - getattr(s["auc"], part) for s in chosen])
            for part in ("highest", "median", "lowest")
        )
        sizes = [s.group["train_jets"] for s in chosen]
        spans = np.abs([middle - lowest, highest - middle])
        axis.errorbar(sizes, middle, spans, **_line(name), marker="o", ms=4, capsize=2)
    axis.set(xlabel="training jets", ylabel="1 - AUC", xscale="log", yscale="log")
    sizes = sorted({s.group["train_jets"] for s in ours})
    axis.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axis.set_xticks([], minor=True)


def _boosts(
    axis: "Axes", results: TaggingResults, variant: int = 0, measure: Callable[[Tensor, Tensor], float] = auc
) -> None:
    for name, runs in results.final().items():
        for i, run in enumerate(run for run in runs if run.boosted_scores.numel()):
            values = results.boosts(run, measure)[variant]
            axis.plot(RAPIDITIES, values, **_line(name, faint=i > 0), marker="o", ms=3)
    axis.set(xlabel="rapidity of the boost", ylabel="accuracy" if measure is accuracy else "AUC")


def _calibration(axis: "Axes", results: TaggingResults) -> None:
    axis.plot([0, 1], [0, 1], color=QUIET, lw=1)
    for name, runs in results.final().items():
        for i, run in enumerate(runs):
            curve = calibration(run.scores, results.label)
            axis.plot(curve.x, curve.y, **_line(name, faint=i > 0), marker="o", ms=3)
    axis.set(xlabel="score", ylabel="share of top jets", aspect="equal")


def _line(name: str, *, faint: bool = False) -> dict[str, Any]:
    """How a tagger is drawn; its further seeds faintly and without a name."""
    style = {"color": COLOUR[name], "ls": "--" if name == PUBLISHED else "-"}
    if faint:
        return style | {"lw": 0.8, "alpha": 0.4, "label": "_"}
    return style | {"lw": 3.5 if name == TAGGERS[0] else 1.5, "label": name}  # others often lie on it
