"""Pictures of a study of taggers: rejection, sample efficiency, boosts, calibration, and the metric that was found."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from discover.algebra.draw import COLOURS, INK, QUIET, SIGNS, STYLE
from tasks.top_tagging.data.jets import MOMENTUM
from tasks.top_tagging.results import TaggingOutcome
from tasks.top_tagging.tagging.boosts import RAPIDITIES
from tasks.top_tagging.tagging.metrics import FEW, accuracy, calibration, roc
from tasks.top_tagging.tagging.models import PUBLISHED, TAGGERS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "draw_boosts",
    "draw_calibration",
    "draw_learning",
    "draw_metric",
    "draw_overview",
    "draw_rejection",
]

COLOUR = {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(TAGGERS)} | {PUBLISHED: INK}


def draw_rejection(outcome: TaggingOutcome) -> "Figure":
    """1/eps_B against eps_S at the largest size, one line for each seed, while at least ten QCD jets pass."""
    figure, (axis,) = _panels(1)
    _rejection(axis, outcome)
    _legend(axis)
    return figure


def draw_learning(outcome: TaggingOutcome) -> "Figure":
    """1 - AUC against the number of training jets: medians, and bars from the lowest to the highest seed."""
    figure, (axis,) = _panels(1)
    _learning(axis, outcome)
    _legend(axis)
    return figure


def draw_boosts(outcome: TaggingOutcome) -> "Figure":
    """AUC and accuracy against the rapidity of a boost: of constituents and beams, and of constituents alone."""
    figure, axes = _panels(4, columns=2)
    for i, (statistic, name) in enumerate(((None, "AUC"), (accuracy, "accuracy"))):
        _boosts(axes[2 * i], outcome, 0, name, statistic)
        _boosts(axes[2 * i + 1], outcome, 1, name, statistic)
    _legend(axes[1])
    return figure


def draw_calibration(outcome: TaggingOutcome) -> "Figure":
    """Share of top jets against the score at the largest size; on the diagonal a score is a probability."""
    figure, (axis,) = _panels(1)
    axis.plot([0, 1], [0, 1], color=QUIET, lw=1)
    for name, rows in outcome.final().items():
        for i, row in enumerate(rows):
            curve = calibration(row.run.scores, outcome.label)
            axis.plot(curve.x, curve.y, **_line(name, faint=i > 0), marker="o", ms=3)
    axis.set(xlabel="score", ylabel="share of top jets", aspect="equal")
    _legend(axis)
    return figure


def draw_metric(outcome: TaggingOutcome) -> "Figure":
    """Entries of the metric that was found on the most training jets, with the first seed."""
    figure, (axis,) = _panels(1)
    _metric(axis, outcome)
    return figure


def draw_overview(outcome: TaggingOutcome) -> "Figure":
    """The metric, rejection, sample efficiency and boosts side by side."""
    figure, axes = _panels(4, columns=4, size=3.2)
    _metric(axes[0], outcome)
    _rejection(axes[1], outcome)
    _learning(axes[2], outcome)
    _boosts(axes[3], outcome, 0, "AUC", None)
    titles = ("found: a metric J", "rejection of QCD jets", "sample efficiency", "boosted jets")
    for axis, title in zip(axes, titles, strict=True):
        axis.set_title(title)
    _legend(axes[3])
    return figure


def _rejection(axis: "Axes", outcome: TaggingOutcome) -> None:
    n_qcd = int((outcome.label == 0).sum())
    for name, rows in outcome.final().items():
        for i, row in enumerate(rows):
            curve = roc(row.run.scores, outcome.label)
            seen = (curve.y * n_qcd >= FEW - 0.5) & (curve.x > 0)
            axis.plot(curve.x[seen], 1 / curve.y[seen], **_line(name, faint=i > 0))
    axis.set(
        xlabel="efficiency of top jets",
        ylabel="rejection of QCD jets, 1 / efficiency",
        yscale="log",
        xlim=(0, 1),
    )


def _learning(axis: "Axes", outcome: TaggingOutcome) -> None:
    ours = [summary for summary in outcome.summaries if summary.row != PUBLISHED]
    for name in dict.fromkeys(summary.row for summary in ours):
        chosen = [summary for summary in ours if summary.row == name]
        middle = np.array([1 - s.auc.value for s in chosen])
        spans = [[m - (1 - s.auc.high), (1 - s.auc.low) - m] for m, s in zip(middle, chosen, strict=True)]
        sizes = [s.train_jets for s in chosen]
        axis.errorbar(sizes, middle, np.abs(spans).T, **_line(name), marker="o", ms=4, capsize=2)
    axis.set(xlabel="training jets", ylabel="1 - AUC", xscale="log", yscale="log")
    sizes = sorted({summary.train_jets for summary in ours})
    axis.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axis.set_xticks([], minor=True)


def _boosts(
    axis: "Axes",
    outcome: TaggingOutcome,
    variant: int,
    name: str,
    statistic: Callable[[Tensor, Tensor], float] | None,
) -> None:
    for tagger, rows in outcome.final().items():
        for i, row in enumerate(rows):
            if row.run.moved.numel():
                both = outcome.boosts(row.run) if statistic is None else outcome.boosts(row.run, statistic)
                axis.plot(RAPIDITIES, both[variant], **_line(tagger, faint=i > 0), marker="o", ms=3)
    axis.set(xlabel="rapidity of the boost", ylabel=name)
    axis.set_title(("constituents and beams", "constituents alone")[variant])


def _metric(axis: "Axes", outcome: TaggingOutcome) -> None:
    found = [finding for finding in outcome.findings if finding.metric is not None]
    axis.spines[:].set_visible(False)
    if not found:
        axis.set_axis_off()
        axis.text(0.5, 0.5, "no metric was found", ha="center", transform=axis.transAxes)
        return
    best = min(found, key=lambda finding: (-finding.train_jets, finding.seed))
    entries = best.metric.numpy() if best.metric is not None else np.zeros((4, 4))
    axis.imshow(entries, cmap=SIGNS, vmin=-abs(entries).max(), vmax=abs(entries).max())
    axis.set_xticks(range(4), [name.split()[0] for name in MOMENTUM])
    axis.set_yticks(range(4), [name.split()[0] for name in MOMENTUM])
    axis.tick_params(length=0)
    for (i, j), value in np.ndenumerate(entries):
        strong = abs(value) > 0.6 * abs(entries).max()
        axis.text(
            j, i, f"{value:.2f}", ha="center", va="center", fontsize=8, color="white" if strong else INK
        )


def _line(name: str, *, faint: bool = False) -> dict:
    """How a tagger is drawn; its further seeds faintly and without a name."""
    style = "--" if name == PUBLISHED else "-"
    label = "_" if faint else name
    return {"color": COLOUR[name], "lw": 0.8 if faint else 1.5, "alpha": 0.4 if faint else 1.0, "ls": style,
            "label": label}  # fmt: skip


def _legend(axis: "Axes") -> None:
    if axis.get_legend_handles_labels()[0]:
        axis.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))


def _panels(n: int, columns: int = 1, size: float = 3.6) -> tuple["Figure", Sequence["Axes"]]:
    """A figure that no global state knows of, with room for a legend on the right."""
    import matplotlib
    from matplotlib.figure import Figure

    rows = -(-n // columns)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(size * columns + 1.8, size * rows), layout="constrained")
        axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes
