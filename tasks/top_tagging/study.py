"""The study of top tagging: find a metric on training jets, train every tagger, measure all on the same test jets."""

import logging
import os
from dataclasses import asdict, dataclass, fields, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from tasks.top_tagging.data.jets import Jets
from tasks.top_tagging.data.shards import shard_path
from tasks.top_tagging.data.split import Split, read_split
from tasks.top_tagging.plan import FULL, QUICK, USUAL, Plan, parse_curve, parse_rows
from tasks.top_tagging.results import TaggingOutcome
from tasks.top_tagging.runner import NoMetricError, Workshop
from tasks.top_tagging.runs import TaggerRun
from tasks.top_tagging.simulation.generate import JetGenerator
from tasks.top_tagging.tagging.metrics import DRAWS, auc

__all__ = ["TopTagging"]

log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class TopTagging:
    """Discovery, training and measures of taggers. Settings left out are those of --quick, --full, or in between.

    Several processes may work on one ``out`` side by side, each with seeds or rows of its own; every finished
    training is one file there and is not repeated. A last call with all of them, or --collect, gathers.

    Args:
        jets: folder of shards, one file, or a folder with train, val and test of the reference set (.h5, or
            shards of each); generated into out/jets when left out (extra jets).
        out: folder of this study; an unfinished one found there goes on.
        quick: a few thousand jets and one seed: minutes on two cores.
        full: networks of 6 x 72, 200,000 training jets, all constituents, bfloat16: for a GPU, hours.
        train: jets to learn from, the first of the sample.
        validation: the next ones, by which each training's best epoch is chosen; of them no more than it
            learns from.
        test: the next ones, looked at only to measure.
        curve: sizes of training sets such as 1000,5000,20000; the first jets of train.
        rows: taggers, such as liegnn,lorentznet,lorentznet-raw,egnn,transformer; all is all of them.
        seed: the first seed, of discovery, weights and the order of jets.
        seeds: how many.
        epochs: passes over the largest training set; smaller ones get more, by the root of the ratio.
        batch_size: jets of a step.
        learning_rate: highest rate.
        cap: constituents a tagger sees at most, the hardest.
        leading: hardest constituents of each jet that discovery looks at.
        hidden: width of every network.
        layers: blocks of every network.
        boosted: test jets that are scored after boosts, at the largest training size; 0 leaves boosts out.
        draws: of the bootstrap.
        weights: the published LorentzNet, .safetensors, as a further row.
        accelerator: "auto" takes a GPU where there is one; cpu unless --full.
        devices: how many; start several by torchrun.
        precision: of training; scores are computed in float32.
        workers: processes that generate jets; one for each core when left out.
        collect: train nothing, gather what is there.
        progress: show bars.
    """

    jets: Path | None = None
    out: Path = Path("runs/top-tagging")
    quick: bool = False
    full: bool = False
    train: int | None = None
    validation: int | None = None
    test: int | None = None
    curve: str | None = None
    rows: str = "all"
    seed: int = 0
    seeds: int | None = None
    epochs: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    cap: int | None = None
    leading: int = 10
    hidden: int | None = None
    layers: int | None = None
    boosted: int | None = None
    draws: int = DRAWS
    weights: Path | None = None
    accelerator: Literal["cpu", "cuda", "auto"] | None = None
    devices: int = 1
    precision: Literal["32-true", "bf16-mixed", "64-true"] | None = None
    workers: int | None = None
    collect: bool = False
    progress: bool = True

    def run(self) -> TaggingOutcome:
        """Everything, in order; files go to ``out``, and each step is logged.

        Raises ``ImportError`` without the extras, ``ValueError`` for settings or jets that do not fit.
        """
        self._check()
        split = self._split()
        log.info("%s.", split)
        if split.repeated:
            log.warning("%d of these jets are in more than one of the three sets.", split.repeated)
        workshop = Workshop(
            split=split,
            plan=self.plan(),
            out=self.out,
            leading=self.leading,
            accelerator=self._accelerator,
            devices=self.devices,
            progress=self.progress,
        )
        if not self.collect:
            self._train_all(workshop)
        outcome = self._gathered(workshop)
        outcome.write(self.out, self.config())
        return outcome

    def plan(self) -> Plan:
        """All sizes and schedules, as they were given or as the preset has them."""
        preset = QUICK if self.quick else FULL if self.full else USUAL
        names = {f.name for f in fields(Plan)} - {"curve"}
        given = {f.name: getattr(self, f.name) for f in fields(self) if f.name in names}
        plan = replace(preset, **{name: value for name, value in given.items() if value is not None})
        if self.curve is not None:
            return replace(plan, curve=parse_curve(self.curve))
        return replace(plan, curve=(*(size for size in plan.curve if size < plan.train), plan.train))

    def config(self) -> dict[str, Any]:
        """Every setting that decides a figure, as ``json`` can write it."""
        given = {name: None if path is None else path.name for name, path in
                 (("jets", self.jets), ("weights", self.weights))}  # fmt: skip
        others = {
            "rows": self.rows,
            "seed": self.seed,
            "draws": self.draws,
            "devices": self.devices,
            "leading": self.leading,
        }
        others |= {"accelerator": self._accelerator, "command": self._command()}
        return given | others | asdict(self.plan())

    def _command(self) -> str:
        """What to type for this study; of paths only the names."""
        words = ["liesmith top-tagging"]
        for f in fields(self):
            value = getattr(self, f.name)
            if value != f.default and f.name not in ("out", "progress", "workers", "collect"):
                text = value.name if isinstance(value, Path) else value
                words.append(f"--{f.name.replace('_', '-')}" + ("" if value is True else f" {text}"))
        return " ".join(words)

    @property
    def _accelerator(self) -> str:
        return self.accelerator or ("auto" if self.full else "cpu")

    def _check(self) -> None:
        if self.quick and self.full:
            raise ValueError("--quick and --full exclude each other; give one")
        self.plan().check()
        parse_rows(self.rows)
        if self.devices > 1 and self.jets is None:
            raise ValueError(
                "several processes need jets that are there: make them by liesmith jets, give --jets"
            )
        if self.leading < 1:
            raise ValueError(f"leading must be at least 1, got {self.leading}")
        if find_spec("lightning_fabric") is None:
            raise ImportError("taggers need lightning-fabric: pip install 'liesmith[train]'")
        if self.weights is not None and not self.weights.is_file():
            raise FileNotFoundError(f"no weights at {self.weights}")

    def _split(self) -> Split:
        plan, path = self.plan(), self.jets
        if path is None:
            path = self.out / "jets"
            self._generate(path, plan.train + plan.validation + plan.test)
        return read_split(path, plan.train, plan.validation, plan.test)

    def _generate(self, folder: Path, n: int) -> None:
        each = 250 if n < 10_000 else 1000
        workers = os.cpu_count() or 1 if self.workers is None else self.workers
        shards = -(-n // each)
        if not all(shard_path(folder, number).exists() for number in range(shards)):
            log.info(
                "Generating %d jets, about 25 each second and core; --jets takes those you have.",
                shards * each,
            )
        JetGenerator(
            out=folder,
            shards=f"0..{shards - 1}",
            workers=workers,
            jets_per_shard=each,
            progress=self.progress,
        ).run()

    def _train_all(self, workshop: Workshop) -> None:
        """Make every training that is not there; one that cannot be made is told of and left out."""
        if self.weights is not None:
            log.info(_told(*workshop.published(self.weights), workshop.split.test))
        plan, rows = self.plan(), parse_rows(self.rows)
        for seed in range(self.seed, self.seed + plan.seeds):
            for size in plan.curve:
                for row in rows:
                    try:
                        log.info(_told(*workshop.train(row, size, seed), workshop.split.test))
                    except NoMetricError as error:
                        log.warning("%s, %d jets, seed %d: %s", row, size, seed, error)

    def _gathered(self, workshop: Workshop) -> TaggingOutcome:
        """What all runs in ``out`` have come to."""
        runs, split = list(workshop.runs()), workshop.split
        missing = self._missing(workshop)
        if missing:
            more = " ..." if missing[3:] else ""
            log.warning("%d trainings are missing: %s%s", len(missing), "; ".join(missing[:3]), more)
        return TaggingOutcome(
            label=split.test.label.long(),
            runs=runs,
            findings=workshop.findings(runs),
            missing=missing,
            draws=self.draws,
            about={"data": {"source": str(split), "digests": split.digests(), "repeated": split.repeated}},
        )

    def _missing(self, workshop: Workshop) -> list[str]:
        plan, rows = self.plan(), parse_rows(self.rows)
        return [
            f"{row}, {size} jets, seed {seed}"
            for seed in range(self.seed, self.seed + plan.seeds)
            for size in plan.curve
            for row in rows
            if not workshop.path(row, size, seed).exists()
        ]


def _told(run: TaggerRun, was_there: bool, test: Jets) -> str:
    if run.failed:
        return f"{run}: no finite scores. {run.about.get('failure', '')}"
    seconds = run.about.get("seconds")
    how = "it was there" if was_there else "not trained here" if seconds is None else f"{seconds:.0f} s"
    return f"{run}: AUC {auc(run.scores, test.label):.4f} ({how})."
