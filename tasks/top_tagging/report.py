"""The page of a study of taggers: the metric in words and as a matrix, the table of taggers, boosts; the rest folds."""

import math
from pathlib import Path
from typing import Any

from tasks.common.plots import save_figure
from tasks.common.report import Headline, Picture, Section, write_report
from tasks.common.results import Column, Summary, Table, environment
from tasks.top_tagging.plots import (
    draw_boosts,
    draw_calibration,
    draw_invariance,
    draw_learning,
    draw_metric,
    draw_overview,
    draw_rejection,
)
from tasks.top_tagging.results import PEER, TaggingResults, tagger_table
from tasks.top_tagging.tagging.metrics import accuracy, auc
from tasks.top_tagging.tagging.models import PUBLISHED

__all__ = ["write_tagging_report"]

NEAR = 1.0  # degrees between two forms that are called the same
WHY = (
    "Why a metric is used although jets are not distributed symmetrically: jets are selected in a window of transverse "
    "momentum, about a fixed beam, so a boosted sample of jets looks different, and the test of the distribution on "
    "held-out jets says so. What is invariant under boosts is where momenta can lie at all, the light cone E = |p|, "
    "and the probability that a jet of given momenta, beams included, is a top jet. A metric in the network uses these "
    "two and assumes nothing about the distribution of jets."
)
ROLES = {
    "LieGNN": "with the metric found (LieGNN)",
    "LorentzNet": "with Minkowski's (LorentzNet)",
    "LorentzNet, raw": "without a metric (LorentzNet, raw)",
    "EGNN": "with Euclid's metric (EGNN)",
    "Transformer": "by a transformer of the usual features",
    PUBLISHED: "by the published LorentzNet, trained elsewhere",
}


def write_tagging_report(
    folder: Path, results: TaggingResults, config: dict[str, Any], warning: str = ""
) -> None:
    """Write ``report.html`` and ``overview.png`` of a study.

    Args:
        folder: of the study.
        results: of the study.
        config: its settings.
        warning: that it was a small run.
    """
    save_figure(draw_overview(results), folder / "overview.png")
    write_report(
        folder / "report.html",
        title="Top tagging: top jets against QCD jets",
        lead=f"Jets: {results.about.get('data', {}).get('source', 'not named')}.",
        headline=Headline(found=_found(results), sure=_sure(results), gain=_gain(results),
                          passed=results.metric is not None, warning=warning),
        sections=[_first_screen(results), _why(results), _differences(results), _curves(results), _boosts(results)],
        details={"settings": config, "environment": environment(), "data": results.about},
    )  # fmt: skip


def _found(results: TaggingResults) -> str:
    best = results.metric
    if best is None:
        return "No metric was found" if results.metrics else "No search for a metric was made"
    angle = _angle(best.cosine)
    if angle > NEAR:
        return f"A metric was found, {angle:.0f} degrees from Minkowski's: not that of the Lorentz group"
    return "Minkowski's metric, diag(1, -1, -1, -1), was found in the jets"


def _sure(results: TaggingResults) -> str:
    best = results.metric
    if best is None:
        return " ".join(metric.text for metric in results.metrics[:1])
    angles = [_angle(metric.cosine) for metric in results.metrics]
    near = sum(angle <= NEAR for angle in angles)
    n, other = len(angles), f", {len(angles) - near} not" if near < len(angles) else ""
    searches = "One search" if n == 1 else f"{near} of {n} searches (sizes of the training set, seeds)"
    worst = max(angle for angle in angles if angle <= NEAR or not near)
    text = "less than 0.01" if worst < 0.01 else f"{worst:.2g}"
    return (
        f"{searches} found it{other}, without knowing the answer: the angle to Minkowski's form is {text} degrees. "
        f"On {best.train_jets:,} training jets {best.n_generators} generators leave the light cone invariant (the "
        "Lorentz group and scaling have 7). Their number stands out from the spectrum by a factor of "
        f"{best.evidence.get('gap') or math.nan:.3g}."
    )


def _angle(cosine: float | None) -> float:
    """Between two forms [degrees]; 90 without a form."""
    return math.degrees(math.acos(min(1.0, cosine or 0.0)))


def _gain(results: TaggingResults) -> str:
    ours = [f"{s['auc'].median:.4f} {ROLES[s.group['row']]}" for s in _final(results)]
    return f"AUC on {len(results.label):,} test jets: {'; '.join(ours)}." if ours else ""


def _final(results: TaggingResults) -> list[Summary]:
    """Summaries of the largest size."""
    shown = {(name, run.train_jets) for name, runs in results.final().items() for run in runs}
    return [s for s in results.table.summary() if (s.group["row"], s.group["train_jets"]) in shown]


def _first_screen(results: TaggingResults) -> Section:
    lines = [f"Missing: {'; '.join(results.missing)}."] if results.missing else []
    failed = [str(run) for run in results.runs if run.failed]
    if failed:
        lines.append(f"Without finite scores: {'; '.join(failed)}.")
    pictures = [Picture(figure=draw_metric(results), caption="The metric J that was found, up to its size.")]
    if _has_boosts(results):
        caption = (
            "AUC of test jets that are boosted, with the beams, after training. A Lorentz invariant tagger gives a "
            "flat line."
        )
        pictures.append(Picture(figure=draw_invariance(results), caption=caption))
    return Section(heading="Metric and taggers", folded=False, lines=lines, pictures=pictures,
                   tables=[tagger_table(_final(results))])  # fmt: skip


def _why(results: TaggingResults) -> Section:
    lines = [WHY, "Apart from the metric, the first four taggers are the same network."]
    lines += [f"{m.train_jets:,} training jets, seed {m.seed}: {m}" for m in results.metrics]
    lines.append(
        "All taggers are measured on the same test jets. Figures are medians over seeds, with the lowest and highest "
        "in brackets where there are several. 1/eB is the rejection of QCD jets, 1 / efficiency, where the share eS of "
        "top jets passes; with > it is a lower bound at 95 %, since fewer than ten QCD jets pass."
    )
    heading = "Why a metric, though jets are not distributed symmetrically; what the figures mean"
    return Section(heading=heading, lines=lines, tables=[tagger_table(results.table.summary())])


def _differences(results: TaggingResults) -> Section:
    names = ("training jets", "difference of AUC", "90 % interval")
    rows = [
        [name, f"{size:,}", f"{_signed(of.value)}", f"{_signed(of.low)} to {_signed(of.high)}"]
        for (size, name), of in results.differences.items()
    ]
    line = (
        f"AUC minus that of {PEER} on the same jets, trained on as many with the same seeds; the interval is of a "
        "paired bootstrap over the test jets. How much another seed would change is not in it."
    )
    columns = [Column(name="tagger"), *(Column(name=name, number=True) for name in names)]
    tables = [Table(columns=columns, rows=rows)] if rows else []
    return Section(heading=f"Compared with {PEER}", lines=[line] if rows else [], tables=tables)


def _signed(value: float) -> str:
    return f"{value:+z.4f}"


def _curves(results: TaggingResults) -> Section:
    captions = {
        draw_rejection: "Rejection of QCD jets against efficiency of top jets, drawn while ten QCD jets or more pass.",
        draw_learning: "Sample efficiency: 1 - AUC against the number of training jets.",
        draw_calibration: "Calibration: share of top jets among jets of like score. On the diagonal a score is a "
        "probability.",
    }
    pictures = [Picture(figure=draw(results), caption=caption) for draw, caption in captions.items()]
    return Section(heading="Curves", pictures=pictures)


def _boosts(results: TaggingResults) -> Section:
    if not _has_boosts(results):
        return Section(heading="Boosts", lines=["No jets were boosted."])
    caption = (
        "Test jets boosted after training, each along a direction of its own. Left: constituents and beams "
        "together, the exact symmetry of a Lorentz invariant tagger. Right: constituents alone, as in a sample of "
        "boosted jets; the beams break the symmetry. Accuracy depends on the "
        "threshold 0.5, so scores that all shift show there and not in the AUC."
    )
    pictures = [Picture(figure=draw_boosts(results, measure), caption=caption) for measure in (auc, accuracy)]
    return Section(heading="Boosts", pictures=pictures)


def _has_boosts(results: TaggingResults) -> bool:
    return any(run.boosted_scores.numel() for runs in results.final().values() for run in runs)
