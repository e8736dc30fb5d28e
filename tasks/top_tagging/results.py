"""What a study of taggers measured: every training on the same test jets, medians over seeds, and the files of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from discover.validation.evidence import ConfidenceInterval
from tasks.common.files import write_json
from tasks.common.results import Column, ResultTable, Summary, Table
from tasks.top_tagging.discovery.metric_file import JetMetric
from tasks.top_tagging.runs import TaggerRun
from tasks.top_tagging.tagging.boosts import RAPIDITIES
from tasks.top_tagging.tagging.metrics import DRAWS, EFFICIENCIES, FEW, accuracy, auc, auc_difference, measure
from tasks.top_tagging.tagging.models import PUBLISHED, TAGGERS

__all__ = ["GROUPS", "PEER", "TaggingResults", "rejection_text", "tagger_table"]

PEER = "LorentzNet"  # what the others are compared with, jet by jet
ORDER = (*TAGGERS, PUBLISHED)
GROUPS = ("row", "train_jets")  # columns of results.json and results.csv that name what is compared


@dataclass(kw_only=True, eq=False)
class TaggingResults:
    """Finished trainings and what was measured of them on the same test jets.

    Args:
        label: of the test jets, 1 for top and 0 for QCD, (n,).
        runs: the trainings.
        metrics: what discovery found.
        missing: trainings that were asked for and are not there, by name.
        draws: of the bootstrap.
        about: further entries of ``results.json``.
    """

    label: Tensor
    runs: Sequence[TaggerRun]
    metrics: Sequence[JetMetric] = ()
    missing: Sequence[str] = ()
    draws: int = DRAWS
    about: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.runs = sorted(self.runs, key=lambda run: (run.train_jets, ORDER.index(run.row), run.seed))

    @cached_property
    def table(self) -> ResultTable:
        """A row for every training, by size, then in the order of ``TAGGERS``, then by seed."""
        return ResultTable(by=GROUPS, rows=[self._row(run) for run in self.runs])

    @cached_property
    def largest(self) -> int:
        """The largest training set of our own runs; 0 without any."""
        return max((run.train_jets for run in self.runs if run.row != PUBLISHED), default=0)

    @property
    def metric(self) -> JetMetric | None:
        """The metric that was found on the most training jets with the first seed."""
        found = [metric for metric in self.metrics if metric.metric is not None]
        return min(found, key=lambda metric: (-metric.train_jets, metric.seed), default=None)

    def final(self) -> dict[str, list[TaggerRun]]:
        """The trainings with finite scores of the largest size by tagger, and the published network's."""
        chosen = [run for run in self.runs if run.row == PUBLISHED or run.train_jets == self.largest]
        named = {name: [run for run in chosen if run.row == name and not run.failed] for name in ORDER}
        return {name: runs for name, runs in named.items() if runs}

    @cached_property
    def differences(self) -> dict[tuple[int, str], ConfidenceInterval]:
        """AUC of every tagger minus that of ``PEER`` at the same size, means over the seeds that both have; paired."""
        scores = {(run.train_jets, run.row, run.seed): run.scores for run in self.runs if not run.failed}
        found = {}
        for size, row in dict.fromkeys((run.train_jets, run.row) for run in self.runs if run.row != PEER):
            seeds = [s for n, name, s in scores if (n, name) == (size, row) and (size, PEER, s) in scores]
            if seeds:
                mine, theirs = (torch.stack([scores[size, name, s] for s in seeds]) for name in (row, PEER))
                found[size, row] = auc_difference(mine, theirs, self.label, draws=self.draws)
        return found

    def boosts(self, run: TaggerRun, statistic: Callable[[Tensor, Tensor], float] = auc) -> list[list[float]]:
        """A statistic of scores and labels after boosts: with beams (r), then of constituents alone (r)."""
        label = self.label[: run.boosted_scores.shape[-1]]
        return [[statistic(scores, label) for scores in variant] for variant in run.boosted_scores]

    def write(self, folder: Path, config: dict[str, Any]) -> None:
        """``results.json``, ``results.csv`` and, epoch by epoch, ``histories.json`` in the study's folder."""
        self.table.write(
            folder,
            **self.about,
            task="top-tagging",
            config=config,
            discovery=[metric.to_dict() for metric in self.metrics],
            auc_minus_lorentznet=[
                {"train_jets": size, "row": name, **vars(estimate)}
                for (size, name), estimate in self.differences.items()
            ],
            boosts=self._boost_table(),
            missing=list(self.missing),
        )
        write_json(folder / "histories.json", self._histories(), indent=None)

    def _row(self, run: TaggerRun) -> dict[str, Any]:
        """One training and its measures, flat; without measures where its scores are not finite."""
        about = {name: value for name, value in run.about.items() if not isinstance(value, list | dict)}
        row = {"row": run.row, "seed": run.seed, "train_jets": run.train_jets, **about}
        if run.failed:
            return row
        measures = measure(run.scores, self.label, draws=self.draws)
        estimates = {name: getattr(measures, name) for name in ("accuracy", "auc", "calibration_error")}
        for rejection in measures.rejections:
            name = f"rejection_{rejection.efficiency:g}"
            estimates[name] = rejection.estimate
            row |= {f"{name}_at_least": rejection.at_least, f"{name}_passed": rejection.passed}
        for name, of in estimates.items():
            row |= {name: of.value, f"{name}_low": of.low, f"{name}_high": of.high}
        return row | {"test_jets": measures.jets}

    def _histories(self) -> dict[str, dict[str, list[float]]]:
        """Every quantity of every training's log, epoch after epoch, to five digits."""
        logs = {str(run): run.about.get("history", []) for run in self.runs}
        return {
            name: {key: [float(f"{epoch[key]:.5g}") for epoch in log] for key in (log[0] if log else ())}
            for name, log in logs.items()
        }

    def _boost_table(self) -> list[dict[str, Any]]:
        table = []
        for run in (run for run in self.runs if not run.failed and run.boosted_scores.numel()):
            for statistic, name in ((auc, "auc"), (accuracy, "accuracy")):
                both, alone = self.boosts(run, statistic)
                named = {"with_beams": both, "constituents_alone": alone}
                table.append({"run": str(run), "measure": name, "rapidity": RAPIDITIES, **named})
        return table


def rejection_text(summary: Summary, efficiency: float) -> str:
    """The median background rejection; a lower bound where too few QCD jets pass for more."""
    name = f"rejection_{efficiency:g}"
    passed, at_least = summary[f"{name}_passed"].lowest, summary[f"{name}_at_least"].median
    if passed is None or at_least is None:
        return "-"
    return f"> {at_least:.0f}" if passed < FEW else f"{summary[name].median:.0f}"


def tagger_table(summaries: Sequence[Summary]) -> Table:
    """Medians over seeds, with their range; the same for the terminal and for the page."""
    names = (
        "training jets",
        "seeds",
        "accuracy",
        "AUC",
        *(f"1/eB at eS {e:g}" for e in EFFICIENCIES[::-1]),
        "seconds",
    )
    rows = [
        [s.group["row"], f"{s.group['train_jets']:,}", str(s["auc"].seeds), f"{s['accuracy']:.4f}", f"{s['auc']:.4f}",
         *(rejection_text(s, e) for e in EFFICIENCIES[::-1]), f"{s['seconds'].median or 0:.0f}"]
        for s in summaries
    ]  # fmt: skip
    return Table(
        columns=[Column(name="tagger"), *(Column(name=name, number=True) for name in names)], rows=rows
    )
