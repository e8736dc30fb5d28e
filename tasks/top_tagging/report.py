"""The page of a study of taggers: the metric, the table, and the pictures that go with it."""

from pathlib import Path
from typing import Any

from tasks.common.report import Column, Picture, Section, Table, write_report
from tasks.common.results import environment
from tasks.top_tagging.plots import (
    draw_boosts,
    draw_calibration,
    draw_learning,
    draw_metric,
    draw_overview,
    draw_rejection,
)
from tasks.top_tagging.results import PEER, TaggingOutcome, TaggingSummary
from tasks.top_tagging.tagging.metrics import EFFICIENCIES

__all__ = ["finish", "write_tagging_report"]

LEAD = (
    "Top jets against QCD jets: one block of message passing with the metric that was found on the training jets, "
    "with Minkowski's, with none and with Euclid's, and a plain transformer."
)


def finish(folder: Path, outcome: TaggingOutcome, config: dict[str, Any]) -> None:
    """Write ``report.html`` and ``overview.png`` of a study."""
    write_tagging_report(folder / "report.html", outcome, config)
    draw_overview(outcome).savefig(folder / "overview.png", dpi=150)


def write_tagging_report(path: Path, outcome: TaggingOutcome, config: dict[str, Any]) -> None:
    """Write the report of what a study has come to."""
    sections = [_metric(outcome), _table(outcome), _differences(outcome), _curves(outcome), _boosts(outcome)]
    write_report(
        path,
        title="Top tagging: a metric found, and what it is worth",
        lead=f"{LEAD} {outcome.about.get('data', {}).get('source', '')}.",
        sections=sections,
        details={"settings": config, "environment": environment(), "data": outcome.about},
    )


def _metric(outcome: TaggingOutcome) -> Section:
    lines = [
        f"{finding.train_jets} training jets, seed {finding.seed}: {finding}" for finding in outcome.findings
    ]
    picture = Picture(
        figure=draw_metric(outcome),
        caption="The invariant form J that was found on the most training jets, of norm 2. Only its shape counts.",
    )
    return Section(heading="The metric", lines=lines or ["No discovery."], pictures=[picture])


def _table(outcome: TaggingOutcome) -> Section:
    lines = [
        "Measured on the same test jets; medians over seeds, and from the lowest to the highest. A rejection is "
        "1 / efficiency of QCD jets where so many top jets pass; with > it is a lower bound at 95 %, since fewer than "
        "ten QCD jets pass."
    ]
    if outcome.missing:
        lines.append(f"Missing: {'; '.join(outcome.missing)}.")
    failed = [str(row.run) for row in outcome.rows if row.measures is None]
    if failed:
        lines.append(f"Without finite scores: {'; '.join(failed)}.")
    numbers = ("training jets", "accuracy", "AUC", *(f"rejection at {e:g}" for e in EFFICIENCIES), "calibration error",
               "parameters", "seconds", "seeds")  # fmt: skip
    columns = [Column(name="tagger"), *(Column(name=name, number=True) for name in numbers)]
    rows = [_cells(summary) for summary in outcome.summaries]
    return Section(heading="Taggers", lines=lines, tables=[Table(columns=columns, rows=rows)])


def _cells(s: TaggingSummary) -> list[str]:
    spans = [f"{e.value:.4f} ({e.low:.4f}-{e.high:.4f})" for e in (s.accuracy, s.auc)]
    rejections = [s.rejection(i) for i in range(len(EFFICIENCIES))]
    return [s.row, str(s.train_jets), *spans, *rejections, f"{s.calibration_error.value:.4f}", str(s.parameters),
            f"{s.seconds:.0f}", str(s.seeds)]  # fmt: skip


def _differences(outcome: TaggingOutcome) -> Section:
    columns = [
        Column(name="tagger"),
        *(Column(name=n, number=True) for n in ("training jets", "difference", "90 %")),
    ]
    rows = [
        [name, str(size), f"{estimate.value:+.4f}", f"{estimate.low:+.4f} to {estimate.high:+.4f}"]
        for (size, name), estimate in outcome.differences.items()
    ]
    line = (
        f"AUC minus that of {PEER} on the same jets, trained on as many with the same seeds; means over seeds, with "
        "the interval of a paired bootstrap over the test jets. How much another seed would change is not in it."
    )
    tables = [Table(columns=columns, rows=rows)] if rows else []
    return Section(heading=f"Against {PEER}", lines=[line] if rows else [], tables=tables)


def _curves(outcome: TaggingOutcome) -> Section:
    return Section(
        heading="Curves",
        pictures=[
            Picture(
                figure=draw_rejection(outcome),
                caption="Rejection of QCD jets against efficiency of top jets, drawn while ten QCD jets or more "
                "pass. The first seed is strong, others are faint.",
            ),
            Picture(
                figure=draw_learning(outcome),
                caption="Sample efficiency: medians over seeds, bars from the lowest to the highest.",
            ),
            Picture(
                figure=draw_calibration(outcome),
                caption="Calibration: share of top jets among jets of like score. On the line a score is a "
                "probability.",
            ),
        ],
    )


def _boosts(outcome: TaggingOutcome) -> Section:
    if not any(row.run.moved.numel() for row in outcome.rows):
        return Section(heading="Boosts", lines=["No jets were boosted."])
    caption = (
        "Test jets boosted after training, each along a direction of its own. Left: constituents and beams together, "
        "the exact symmetry of a Lorentz invariant tagger, whose line is flat. Right: constituents alone, as in a "
        "sample that really moves; the beams stay and break the symmetry."
    )
    return Section(heading="Boosts", pictures=[Picture(figure=draw_boosts(outcome), caption=caption)])
