"""Where taggers are made: one training at a time, each a file in the study's folder that is not made twice."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from equivariant import LieGNN, load_lorentznet
from tasks.top_tagging.data.jets import CAP, Jets
from tasks.top_tagging.data.split import Split
from tasks.top_tagging.discovery.benchmark import JetDiscovery
from tasks.top_tagging.discovery.metric_file import Finding, find
from tasks.top_tagging.plan import Plan
from tasks.top_tagging.runs import TaggerRun, fingerprint, run_name
from tasks.top_tagging.tagging.boosts import boosted_scores
from tasks.top_tagging.tagging.models import PUBLISHED, GraphTagger, Tagger, build_tagger
from tasks.top_tagging.tagging.trainer import TaggerTrainer, tagger_scores

__all__ = ["NoMetricError", "Workshop"]

LEARNED = "LieGNN"  # the tagger whose metric is discovered
REFERENCE_TRAINING = 1_200_000  # jets the published network was trained on
COMMON = ("epochs", "batch_size", "learning_rate", "warmup", "cap", "precision", "hidden", "layers", "dropout",
          "boosted")  # fmt: skip
SCORED_AT_ONCE = 128
PUBLISHED_BOOSTED = 500  # jets at most: this network is fifty times larger than ours


class NoMetricError(Exception):
    """Discovery left no single metric, so there is nothing to build a LieGNN of."""


@dataclass(kw_only=True, eq=False)
class Workshop:
    """Makes and finds the trainings of one study.

    Args:
        split: the jets. plan: sizes and schedules. out: the study's folder.
        leading: as for ``JetDiscovery``. accelerator, devices: as for ``TaggerTrainer``. progress: show bars.
    """

    split: Split
    plan: Plan
    out: Path
    leading: int = 10
    accelerator: str = "cpu"
    devices: int = 1
    progress: bool = False
    _found: dict[tuple[int, int], Finding] = field(default_factory=dict)

    def train(self, row: str, size: int, seed: int) -> tuple[TaggerRun, bool]:
        """One training on the first ``size`` jets, and whether it was there already.

        Raises ``NoMetricError``, or ``ValueError`` for a file of other jets or settings.
        """
        train, path = self.split.train[:size], self.path(row, size, seed)
        metric = self._metric(train, seed) if row == LEARNED else None
        owner = self._owner(row, train, seed, metric)
        if path.exists():
            return _own(path, owner), True
        model = build_tagger(row, self.plan.size, metric=metric, seed=seed)
        about = self._fit(model, train, seed, f"{row} {size} {seed}")
        if metric is not None:
            about["metric"] = metric.flatten().tolist()
        largest = size == max(self.plan.curve)
        run = TaggerRun(
            row=row,
            seed=seed,
            train_jets=size,
            owner=owner,
            study=self.study,
            scores=self._scores(model, self.plan.cap, about),
            moved=self._moved(model, self.plan.cap, about, self.plan.boosted if largest else 0),
            about=about,
        )
        run.write(path)
        return run, False

    def published(self, weights: Path) -> tuple[TaggerRun, bool]:
        """The published network's scores of the same jets, all their constituents; not trained here."""
        path, tensors = self.path(PUBLISHED, REFERENCE_TRAINING, 0), load_file(str(weights))
        sums = {
            name: float(tensor.double().sum())
            for name, tensor in tensors.items()
            if tensor.is_floating_point()
        }
        owner = fingerprint({"study": self.test_study, "weights": sums})
        if path.exists():
            return _own(path, owner), True
        net: LieGNN = load_lorentznet(tensors).float()
        model = GraphTagger(net).to(self.device)
        about = {"parameters": _size(net), "device": self.device.type}
        run = TaggerRun(
            row=PUBLISHED,
            seed=0,
            train_jets=REFERENCE_TRAINING,
            owner=owner,
            study=self.test_study,
            scores=self._scores(model, CAP, about),
            moved=self._moved(model, CAP, about, min(self.plan.boosted, PUBLISHED_BOOSTED)),
            about=about,
        )
        run.write(path)
        return run, False

    def finding(self, train: Jets, seed: int) -> Finding:
        """What discovery says of training jets; kept in ``out/discovery``."""
        key = (len(train), seed)
        if key not in self._found:
            search = JetDiscovery(leading=self.leading, seed=seed, progress=self.progress)
            settings = {name: value for name, value in vars(search).items() if name != "progress"}
            self._found[key] = find(self.out / "discovery", train, seed, search.run, settings)
        return self._found[key]

    def runs(self) -> Iterator[TaggerRun]:
        """All trainings in ``out`` that belong to this study, whoever made them."""
        for path in sorted((self.out / "scores").glob("*.safetensors")):
            run = TaggerRun.read(path)
            if run.study in (self.study, self.test_study):
                yield run

    def findings(self, runs: list[TaggerRun]) -> list[Finding]:
        """The discoveries that trainings were built on, and those that left no metric."""
        keys = {(run.train_jets, run.seed) for run in runs if run.row == LEARNED}
        keys |= {key for key, finding in self._found.items() if finding.metric is None}
        return [self.finding(self.split.train[:size], seed) for size, seed in sorted(keys)]

    def path(self, row: str, size: int, seed: int) -> Path:
        """The file of a training."""
        return self.out / "scores" / f"{run_name(row, size, seed)}.safetensors"

    @property
    def study(self) -> str:
        """Fingerprint of what all trainings of a study share."""
        common = {name: getattr(self.plan, name) for name in COMMON} | {"largest": max(self.plan.curve)}
        return fingerprint({"common": common, **self._judges})

    @property
    def test_study(self) -> str:
        """Fingerprint of the test jets alone."""
        return fingerprint({"test": self._judges["test"], "boosted": self.plan.boosted})

    @property
    def device(self) -> torch.device:
        """Where scores are computed: under torchrun every process computes them on its own GPU."""
        if self.accelerator in ("cuda", "auto") and torch.cuda.is_available():
            return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        return torch.device("cpu")

    @property
    def _judges(self) -> dict[str, str]:
        digests = self.split.digests()
        return {name: digests[name] for name in ("validation", "test")}

    def _owner(self, row: str, train: Jets, seed: int, metric: Tensor | None) -> str:
        form = None if metric is None else metric.tolist()
        about = {"study": self.study, "row": row, "seed": seed, "train": train.digest, "metric": form}
        return fingerprint(about | {"epochs": self.plan.epochs_of(len(train))})

    def _metric(self, train: Jets, seed: int) -> Tensor:
        finding = self.finding(train, seed)
        if finding.metric is None:
            raise NoMetricError(f"discovery left no metric. {finding.text}")
        return finding.metric

    def _fit(self, model: Tagger, train: Jets, seed: int, label: str) -> dict[str, Any]:
        """Train; returns what can be said of it, with a ``failure`` where the loss was no number."""
        trainer = self._trainer(len(train), seed)
        about: dict[str, Any] = {
            "parameters": _size(model),
            "epochs": trainer.epochs,
            "precision": trainer.precision,
            "device": self.device.type,
            "torch": torch.__version__,
            "train_digest": train.digest,
        }
        try:
            trainer.fit(model, train, self.split.validation[: len(train)], label=label)
        except FloatingPointError as error:
            return about | {"failure": str(error)}
        return about | {
            "best_epoch": trainer.best_epoch_,
            "seconds": round(trainer.seconds_, 1),
            "jets_per_second": round(trainer.jets_per_second_, 1),
            "history": trainer.history_,
        }

    def _trainer(self, size: int, seed: int) -> TaggerTrainer:
        return TaggerTrainer(
            epochs=self.plan.epochs_of(size),
            batch_size=self.plan.batch_size,
            learning_rate=self.plan.learning_rate,
            warmup=self.plan.warmup,
            cap=self.plan.cap,
            precision=self.plan.precision,  # type: ignore[arg-type]
            accelerator=self.accelerator,  # type: ignore[arg-type]
            devices=self.devices,
            seed=seed,
            folder=self.out / "checkpoints",
            progress=self.progress,
        )

    def _scores(self, model: Tagger, cap: int, about: dict[str, Any]) -> Tensor:
        test = self.split.test
        if "failure" in about:
            return torch.full((len(test),), float("nan"))
        return tagger_scores(model, test, cap=cap, batch_size=SCORED_AT_ONCE, device=self.device)

    def _moved(self, model: Tagger, cap: int, about: dict[str, Any], most: int) -> Tensor:
        some = self.split.test[:most]
        if not len(some) or "failure" in about:
            return torch.zeros(2, 0, 0)
        both = [boosted_scores(model, some, beams=beams, cap=cap) for beams in (True, False)]
        return torch.stack(both)


def _own(path: Path, owner: str) -> TaggerRun:
    run = TaggerRun.read(path)
    if run.owner != owner:
        raise ValueError(
            f"{path} was made with other jets or settings; give another --out, or remove it to make it again"
        )
    return run


def _size(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())
