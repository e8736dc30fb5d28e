"""What a study of taggers has come to: measures of every training, their medians, and the files they are in."""

import csv
import io
import json
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from discover.validation.evidence import ConfidenceInterval
from tasks.common.results import environment
from tasks.top_tagging.discovery.metric_file import Finding
from tasks.top_tagging.runs import TaggerRun, write_blob
from tasks.top_tagging.tagging.boosts import RAPIDITIES
from tasks.top_tagging.tagging.metrics import DRAWS, Measures, accuracy, auc, auc_difference, measure
from tasks.top_tagging.tagging.models import PUBLISHED, TAGGERS

__all__ = ["PEER", "TaggingOutcome", "TaggingRow", "TaggingSummary", "text_table"]

PEER = "LorentzNet"  # what the others are compared with, jet by jet
ORDER = (*TAGGERS, PUBLISHED)


@dataclass(frozen=True, kw_only=True, eq=False)
class TaggingRow:
    """One training and its measures; ``measures`` is None where its scores are no numbers."""

    run: TaggerRun
    measures: Measures | None

    def to_dict(self) -> dict[str, Any]:
        """Flat, as a line of ``results.csv``; what is infinite or no number is None."""
        about = {name: value for name, value in self.run.about.items() if not isinstance(value, list | dict)}
        flat = {"row": self.run.row, "seed": self.run.seed, "train_jets": self.run.train_jets, **about}
        if self.measures is None:
            return flat
        m = self.measures
        for name in ("accuracy", "auc", "calibration_error"):
            flat |= _flat(name, getattr(m, name))
        for rejection in m.rejections:
            name = f"rejection_{rejection.efficiency:g}"
            flat |= _flat(name, rejection.estimate)
            flat |= {f"{name}_at_least": rejection.at_least, f"{name}_passed": rejection.passed}
        return flat | {"test_jets": m.jets}


@dataclass(frozen=True, kw_only=True)
class TaggingSummary:
    """A tagger at one size over seeds: median, lowest and highest of each quantity."""

    row: str
    train_jets: int
    seeds: int
    parameters: int
    seconds: float
    jets_per_second: float | None
    accuracy: ConfidenceInterval
    auc: ConfidenceInterval
    rejections: tuple[ConfidenceInterval, ...]
    at_least: tuple[float, ...]
    few: tuple[bool, ...]
    calibration_error: ConfidenceInterval

    def rejection(self, i: int) -> str:
        """The i-th rejection as text: a bound where too few QCD jets pass."""
        return f"> {self.at_least[i]:.0f}" if self.few[i] else f"{self.rejections[i].value:.0f}"


@dataclass(kw_only=True, eq=False)
class TaggingOutcome:
    """Runs that are finished, and what can be said of them on the same test jets."""

    label: Tensor
    runs: Sequence[TaggerRun]
    findings: Sequence[Finding] = ()
    missing: Sequence[str] = ()
    draws: int = DRAWS
    about: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def rows(self) -> list[TaggingRow]:
        """Every run measured, by size, then in the order of ``TAGGERS``, then by seed."""
        ranked = sorted(self.runs, key=lambda run: (run.train_jets, ORDER.index(run.row), run.seed))
        return [
            TaggingRow(
                run=run, measures=None if run.failed else measure(run.scores, self.label, draws=self.draws)
            )
            for run in ranked
        ]

    @cached_property
    def largest(self) -> int:
        """The largest training set of our own runs; 0 without any."""
        return max((run.train_jets for run in self.runs if run.row != PUBLISHED), default=0)

    def final(self) -> dict[str, list[TaggingRow]]:
        """The measured rows of the largest size by tagger, and the published network's."""
        chosen = [
            row
            for row in self.rows
            if row.measures and (row.run.train_jets == self.largest or row.run.row == PUBLISHED)
        ]
        return {
            name: [row for row in chosen if row.run.row == name]
            for name in ORDER
            if any(row.run.row == name for row in chosen)
        }

    @cached_property
    def summaries(self) -> list[TaggingSummary]:
        """One for each size and tagger that was measured."""
        kinds = dict.fromkeys((row.run.train_jets, row.run.row) for row in self.rows if row.measures)
        return [
            _summary([row for row in self.rows if row.measures and (row.run.train_jets, row.run.row) == kind])
            for kind in kinds
        ]

    @cached_property
    def differences(self) -> dict[tuple[int, str], ConfidenceInterval]:
        """AUC of every tagger minus that of ``PEER`` at the same size, means over the seeds that both have; paired."""
        found = {}
        for summary in self.summaries:
            pairs = self._pairs(summary.train_jets, summary.row)
            if pairs and summary.row != PEER:
                mine, theirs = (_stack([pair[i] for pair in pairs]) for i in (0, 1))
                found[summary.train_jets, summary.row] = auc_difference(
                    mine, theirs, self.label, draws=self.draws
                )
        return found

    def boosts(self, run: TaggerRun, statistic: Callable[[Tensor, Tensor], float] = auc) -> list[list[float]]:
        """A statistic of scores and labels after boosts: with beams (r), then of constituents alone (r)."""
        label = self.label[: run.moved.shape[-1]]
        return [[statistic(scores, label) for scores in variant] for variant in run.moved]

    def write(self, folder: Path, config: dict[str, Any]) -> None:
        """``results.json``, ``results.csv`` and, epoch by epoch, ``histories.json`` in the study's folder."""
        rows = [row.to_dict() for row in self.rows]
        names = list(dict.fromkeys(name for row in rows for name in row))
        table = io.StringIO()
        writer = csv.DictWriter(table, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_blob(folder / "results.csv", table.getvalue().encode())
        content = self.about | {
            "task": "top-tagging",
            "config": config,
            "environment": environment(),
            "discovery": [finding.to_dict() for finding in self.findings],
            "summary": [vars(summary) for summary in self.summaries],
            "auc_minus_lorentznet": [
                {"train_jets": size, "row": name, **vars(estimate)}
                for (size, name), estimate in self.differences.items()
            ],
            "boosts": self._boost_table(),
            "rows": rows,
            "missing": list(self.missing),
        }
        text = json.dumps(_plain(content), indent=1, default=str, allow_nan=False)
        write_blob(folder / "results.json", f"{text}\n".encode())
        write_blob(folder / "histories.json", f"{json.dumps(_plain(self._histories()))}\n".encode())

    def _pairs(self, size: int, name: str) -> list[tuple[Tensor, Tensor]]:
        """Scores of a tagger and of ``PEER`` trained with the same seed."""
        good = {
            (r.run.row, r.run.seed): r.run.scores
            for r in self.rows
            if r.measures and r.run.train_jets == size
        }
        seeds = [seed for row, seed in good if row == name and (PEER, seed) in good]
        return [(good[name, seed], good[PEER, seed]) for seed in seeds]

    def _histories(self) -> dict[str, dict[str, list[float]]]:
        """Every quantity of every training's log, epoch after epoch, to five digits."""
        logs = {str(row.run): row.run.about.get("history", []) for row in self.rows}
        return {
            name: {key: [float(f"{epoch[key]:.5g}") for epoch in log] for key in (log[0] if log else ())}
            for name, log in logs.items()
        }

    def _boost_table(self) -> list[dict[str, Any]]:
        table = []
        for row in (row for row in self.rows if row.measures and row.run.moved.numel()):
            for statistic, name in ((auc, "auc"), (accuracy, "accuracy")):
                both, alone = self.boosts(row.run, statistic)
                named = {"with_beams": both, "constituents_alone": alone}
                table.append({"run": str(row.run), "measure": name, "rapidity": RAPIDITIES, **named})
        return table


def text_table(summaries: Sequence[TaggingSummary]) -> str:
    """Medians over seeds for the terminal."""
    head = f"{'tagger':<24}{'jets':>9}{'seeds':>7}{'accuracy':>10}{'AUC':>9}"
    head += f"{'1/eB(0.5)':>11}{'1/eB(0.3)':>11}{'seconds':>9}"
    lines = [
        f"{s.row:<24}{s.train_jets:>9}{s.seeds:>7}{s.accuracy.value:>10.4f}{s.auc.value:>9.4f}"
        f"{s.rejection(1):>11}{s.rejection(0):>11}{s.seconds:>9.0f}"
        for s in summaries
    ]
    return "\n".join([head, *lines])


def _summary(rows: Sequence[TaggingRow]) -> TaggingSummary:
    found = [row.measures for row in rows if row.measures]
    about, n = rows[0].run.about, len(found[0].rejections)
    rates = [row.run.about["jets_per_second"] for row in rows if row.run.about.get("jets_per_second")]
    return TaggingSummary(
        row=rows[0].run.row,
        train_jets=rows[0].run.train_jets,
        seeds=len(rows),
        parameters=about.get("parameters", 0),
        seconds=statistics.median(row.run.about.get("seconds", 0.0) for row in rows),
        jets_per_second=statistics.median(rates) if rates else None,
        accuracy=_spread([m.accuracy.value for m in found]),
        auc=_spread([m.auc.value for m in found]),
        rejections=tuple(_spread([m.rejections[i].estimate.value for m in found]) for i in range(n)),
        at_least=tuple(statistics.median(m.rejections[i].at_least for m in found) for i in range(n)),
        few=tuple(any(m.rejections[i].few for m in found) for i in range(n)),
        calibration_error=_spread([m.calibration_error.value for m in found]),
    )


def _spread(values: Sequence[float]) -> ConfidenceInterval:
    return ConfidenceInterval(statistics.median(values), min(values), max(values))


def _stack(scores: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(scores))


def _flat(name: str, estimate: ConfidenceInterval) -> dict[str, float | None]:
    parts = {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
    return {key: value if math.isfinite(value) else None for key, value in parts.items()}


def _plain(value: Any) -> Any:
    """As strict JSON has it: no infinity, no NaN, no classes of our own."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, ConfidenceInterval):
        return _plain(vars(value))
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return value
