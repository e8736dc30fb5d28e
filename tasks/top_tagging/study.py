"""The study of top tagging: find a metric on training jets, train every tagger, measure all on the same test jets."""

import itertools
import logging
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from tasks.common.files import RunFolder
from tasks.top_tagging.data.jets import Jets
from tasks.top_tagging.data.shards import shard_path
from tasks.top_tagging.data.split import Split, read_split
from tasks.top_tagging.plan import FULL, QUICK, USUAL, Plan, parse_curve, parse_rows
from tasks.top_tagging.results import TaggingResults
from tasks.top_tagging.runner import NoMetricError, TaggerRunner
from tasks.top_tagging.runs import TaggerRun
from tasks.top_tagging.simulation.generate import JetGenerator, check_extra
from tasks.top_tagging.tagging.metrics import DRAWS, auc

__all__ = ["TopTagging"]

log = logging.getLogger(__name__)
PRODUCTS = (
    "scores",
    "discovery",
    "histories.json",
    "overview.png",
)  # what --overwrite removes, with the usual files
PLANNED = {f.name for f in fields(Plan)} - {"curve"}


@dataclass(kw_only=True)
class TopTagging:
    """Discovery, training and measures of taggers. Settings left out are those of --quick, --full, or in between.

    Several processes may work on one ``out`` side by side, each with seeds or rows of its own; every finished
    training is one file there and is not repeated. A last call with all of them, or --collect, gathers. Another
    sample of jets or other settings are refused there, unless --overwrite.

    Args:
        jets: folder of shards, one file, or a folder with train, val and test of the reference set (.h5, or
            shards of each); generated into out/jets when left out (extra jets).
        out: folder of this study; an unfinished one found there is continued.
        overwrite: remove what another study left in ``out``; jets generated there stay.
        quick: a few thousand jets and one seed: minutes on two cores.
        full: networks of 6 x 72, 200,000 training jets, all constituents, bfloat16: for a GPU, hours.
        train: training jets, the first of the sample.
        validation: the next ones, by which each training's best epoch is chosen; a training uses no more of them than
            it has training jets.
        test: the next ones, used only to measure.
        curve: sizes of training sets such as 1000,5000,20000; the first jets of train.
        rows: taggers, such as liegnn,lorentznet,lorentznet-raw,egnn,transformer; all is all of them.
        seed: the first seed, of discovery, weights and the order of jets.
        seeds: how many.
        epochs: passes over the largest training set; smaller ones get more, by the root of the ratio.
        batch_size: jets of a step.
        learning_rate: highest rate.
        cap: constituents a tagger takes at most, the hardest.
        leading: hardest constituents of each jet that discovery uses.
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
    overwrite: bool = False
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

    def run(self) -> TaggingResults:
        """Everything, in order; results, pictures and report go to ``out``, and each step is logged.

        Returns:
            What was measured.

        Raises:
            ImportError: without the extras.
            FileNotFoundError: for jets or weights that are not there.
            ValueError: for settings or jets that do not fit, or another study's folder.
            BlockingIOError: when ``overwrite`` finds another process in the folder.
        """
        from tasks.top_tagging.report import write_tagging_report

        self._check()
        split = None if self.jets is None else self._split(self.jets)
        # generated jets do not exist yet, but their settings name them as well as a digest
        jets = split.digests() if split else f"generated, {self._jets_per_shard} a shard"
        plan = self.plan()
        shared = {name: value for name, value in asdict(plan).items() if name not in ("curve", "seeds")}
        settings = {
            "task": "top-tagging",
            "jets": jets,
            "largest": max(plan.curve),
            "leading": self.leading,
            **shared,
        }
        with RunFolder(self.out, settings, overwrite=self.overwrite, shared=True, products=PRODUCTS):
            split = split or self._split(self._generated())
            log.info("%s.", split)
            if split.repeated:
                log.warning("%d of these jets are in more than one of the three sets.", split.repeated)
            hardware = {"accelerator": self._accelerator, "devices": self.devices, "progress": self.progress}
            runner = TaggerRunner(split=split, plan=plan, out=self.out, leading=self.leading, **hardware)
            if not self.collect:
                self._train_all(runner)
            results = self._gathered(runner)
            results.write(self.out, self.config())
            write_tagging_report(self.out, results, self.config(), self._warning())
        return results

    def plan(self) -> Plan:
        """All sizes and schedules, as they were given or as the preset has them."""
        preset = QUICK if self.quick else FULL if self.full else USUAL
        given = {f.name: getattr(self, f.name) for f in fields(self) if f.name in PLANNED}
        plan = replace(preset, **{name: value for name, value in given.items() if value is not None})
        if self.curve is not None:
            return replace(plan, curve=parse_curve(self.curve))
        return replace(plan, curve=(*(size for size in plan.curve if size < plan.train), plan.train))

    def config(self) -> dict[str, Any]:
        """Every setting that decides a figure, as ``json`` can write it."""
        paths = {"jets": self.jets, "weights": self.weights}
        given = {name: None if path is None else path.name for name, path in paths.items()}
        others = {name: getattr(self, name) for name in ("rows", "seed", "draws", "devices", "leading")}
        others |= {"accelerator": self._accelerator, "command": self._command()}
        return given | others | asdict(self.plan())

    def _command(self) -> str:
        """What to type for this study; of paths only the names."""
        words = ["liesmith top-tagging"]
        for f in fields(self):
            value = getattr(self, f.name)
            if value != f.default and f.name not in ("out", "overwrite", "progress", "workers", "collect"):
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
            raise ValueError("several devices need --jets; make them by liesmith jets")
        if self.leading < 1:
            raise ValueError(f"leading must be at least 1, got {self.leading}")
        if find_spec("lightning_fabric") is None and not self.collect:
            raise ImportError("taggers need lightning-fabric: pip install 'liesmith[train]'")
        for name in ("draws", "workers"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name, path in (("weights", self.weights), ("jets", self.jets)):
            if path is not None and not path.exists():
                raise FileNotFoundError(f"no {name} at {path}")
        if self.jets is None and not self._all_generated():
            check_extra()

    def _split(self, path: Path) -> Split:
        plan = self.plan()
        return read_split(path, plan.train, plan.validation, plan.test)

    @property
    def _generated_jets(self) -> int:
        plan = self.plan()
        return plan.train + plan.validation + plan.test

    @property
    def _jets_per_shard(self) -> int:
        return 250 if self._generated_jets < 10_000 else 1000

    def _all_generated(self) -> bool:
        shards = -(-self._generated_jets // self._jets_per_shard)
        return all(shard_path(self.out / "jets", number).exists() for number in range(shards))

    def _generated(self) -> Path:
        """The folder of generated jets; those that are missing are made."""
        folder, each = self.out / "jets", self._jets_per_shard
        shards = -(-self._generated_jets // each)
        workers = os.cpu_count() or 1 if self.workers is None else self.workers
        if not self._all_generated():
            log.info(
                "Generating %d jets, about 25 a second and core; --jets uses those you have.", shards * each
            )
        JetGenerator(out=folder, shards=f"0..{shards - 1}", workers=workers, jets_per_shard=each,
                     progress=self.progress).run()  # fmt: skip
        return folder

    def _warning(self) -> str:
        """What a reader must know before the figures of a small run."""
        plan = self.plan()
        if plan.train >= USUAL.train and plan.test >= USUAL.test and plan.epochs >= USUAL.epochs:
            return ""
        return (
            f"A {'quick' if self.quick else 'small'} run: {plan.train:,} training jets, {plan.test:,} test jets, "
            f"{plan.epochs} epochs. It shows that everything works; the taggers are not trained to the end, so neither "
            "their figures nor their order mean much."
        )

    def _train_all(self, runner: TaggerRunner) -> None:
        """Make every training that is not there; one that cannot be made is logged and left out."""
        if self.weights is not None:
            log.info(_sentence(*runner.published(self.weights), runner.split.test))
        for row, size, seed in self._trainings():
            try:
                log.info(_sentence(*runner.train(row, size, seed), runner.split.test))
            except NoMetricError as error:
                log.warning("%s, %d jets, seed %d: %s", row, size, seed, error)

    def _gathered(self, runner: TaggerRunner) -> TaggingResults:
        """The results of all runs in ``out``."""
        runs, split = list(runner.runs()), runner.split
        missing = [f"{row}, {size} jets, seed {seed}" for row, size, seed in self._trainings()
                   if not runner.path(row, size, seed).exists()]  # fmt: skip
        if missing:
            more = " ..." if missing[3:] else ""
            log.warning("%d trainings are missing: %s%s", len(missing), "; ".join(missing[:3]), more)
        data = {"source": str(split), "digests": split.digests(), "repeated": split.repeated}
        return TaggingResults(label=split.test.label.long(), runs=runs, metrics=runner.metrics(runs), missing=missing,
                              draws=self.draws, about={"data": data})  # fmt: skip

    def _trainings(self) -> Iterator[tuple[str, int, int]]:
        """Tagger, size and seed of every training that was asked for."""
        plan, rows = self.plan(), parse_rows(self.rows)
        for seed, size, row in itertools.product(range(self.seed, self.seed + plan.seeds), plan.curve, rows):
            yield row, size, seed


def _sentence(run: TaggerRun, was_there: bool, test: Jets) -> str:
    if run.failed:
        return f"{run}: no finite scores. {run.about.get('failure', '')}"
    seconds = run.about.get("seconds")
    how = "already there" if was_there else "not trained here" if seconds is None else f"{seconds:.0f} s"
    return f"{run}: AUC {auc(run.scores, test.label):.4f} ({how})."
