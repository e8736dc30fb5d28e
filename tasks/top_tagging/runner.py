"""``TaggerRunner``: one training at a time, each a file in the study's folder that is not made twice."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from equivariant.files import read_safetensors
from tasks.common.files import fingerprint
from tasks.top_tagging.data.jets import CAP, Jets
from tasks.top_tagging.data.split import Split
from tasks.top_tagging.discovery.jet_algebra import JetDiscovery
from tasks.top_tagging.discovery.metric_file import JetMetric, find_metric
from tasks.top_tagging.plan import Plan
from tasks.top_tagging.runs import TaggerRun, run_name
from tasks.top_tagging.tagging.boosts import boosted_scores
from tasks.top_tagging.tagging.models import PUBLISHED, Tagger, build_tagger, published_tagger
from tasks.top_tagging.tagging.trainer import TaggerTrainer, tagger_scores

__all__ = ["NoMetricError", "TaggerRunner"]

LEARNED = "LieGNN"  # the tagger whose metric is discovered
REFERENCE_TRAINING = 1_200_000  # jets the published network was trained on
COMMON = ("epochs", "batch_size", "learning_rate", "warmup", "cap", "precision", "hidden", "layers", "dropout",
          "boosted")  # fmt: skip
TRAINING = ("batch_size", "learning_rate", "warmup", "cap", "precision")  # what a trainer takes from the plan
SCORED_AT_ONCE = 128
PUBLISHED_BOOSTED = 500  # jets at most: this network is fifty times larger than ours


class NoMetricError(Exception):
    """Discovery found no single metric, so a LieGNN cannot be built."""


@dataclass(kw_only=True, eq=False)
class TaggerRunner:
    """Trains the taggers of one study, or reads those that are there.

    Args:
        split: the jets.
        plan: sizes and schedules.
        out: the study's folder.
        leading: as for ``JetDiscovery``.
        accelerator: as for ``TaggerTrainer``.
        devices: as for ``TaggerTrainer``.
        progress: show bars.
    """

    split: Split
    plan: Plan
    out: Path
    leading: int = 10
    accelerator: str = "cpu"
    devices: int = 1
    progress: bool = False
    _metrics: dict[tuple[int, int], JetMetric] = field(default_factory=dict)

    def train(self, row: str, size: int, seed: int) -> tuple[TaggerRun, bool]:
        """One training on the first ``size`` jets.

        Args:
            row: name of the tagger.
            size: number of training jets.
            seed: of discovery, weights and the order of jets.

        Returns:
            The training, and whether it was there already.

        Raises:
            NoMetricError: where discovery found no metric.
            ValueError: for a file of other jets or settings.
        """
        train, path = self.split.train[:size], self.path(row, size, seed)
        metric = self._metric(train, seed) if row == LEARNED else None
        form = None if metric is None else metric.tolist()
        config = {"study": self.study, "row": row, "seed": seed, "train": train.digest, "metric": form}
        config_hash = fingerprint(config | {"epochs": self.plan.epochs_of(size)})
        if path.exists():
            return _own(path, config_hash), True
        model = build_tagger(row, self.plan.size, metric=metric, seed=seed)
        about = self._fit(model, train, seed, f"{row} {size} {seed}")
        if metric is not None:
            about["metric"] = metric.flatten().tolist()
        boosted = self.plan.boosted if size == max(self.plan.curve) else 0
        run = TaggerRun(row=row, seed=seed, train_jets=size, config_hash=config_hash, study=self.study, about=about,
                        **self._scores(model, self.plan.cap, boosted, failed="failure" in about))  # fmt: skip
        run.write(path)
        return run, False

    def published(self, weights: Path) -> tuple[TaggerRun, bool]:
        """The published network's scores of the same jets with all their constituents; it is not trained here."""
        path, tensors = self.path(PUBLISHED, REFERENCE_TRAINING, 0), read_safetensors(weights)[1]
        sums = {
            n: float(tensor.double().sum()) for n, tensor in tensors.items() if tensor.is_floating_point()
        }
        config_hash = fingerprint({"study": self.test_study, "weights": sums})
        if path.exists():
            return _own(path, config_hash), True
        model = published_tagger(tensors).to(self.device)
        about = {"parameters": _size(model), "device": self.device.type}
        boosted = min(self.plan.boosted, PUBLISHED_BOOSTED)
        run = TaggerRun(row=PUBLISHED, seed=0, train_jets=REFERENCE_TRAINING, config_hash=config_hash,
                        study=self.test_study, about=about, **self._scores(model, CAP, boosted))  # fmt: skip
        run.write(path)
        return run, False

    def metric(self, train: Jets, seed: int) -> JetMetric:
        """What discovery finds on training jets; kept in ``out/discovery``."""
        key = (len(train), seed)
        if key not in self._metrics:
            search = JetDiscovery(leading=self.leading, seed=seed, progress=self.progress)
            self._metrics[key] = find_metric(self.out / "discovery", train, search)
        return self._metrics[key]

    def runs(self) -> Iterator[TaggerRun]:
        """All trainings in ``out`` that belong to this study, whichever process made them."""
        for path in sorted((self.out / "scores").glob("*.safetensors")):
            run = TaggerRun.read(path)
            if run.study in (self.study, self.test_study):
                yield run

    def metrics(self, runs: list[TaggerRun]) -> list[JetMetric]:
        """The discoveries that trainings used, and those that found no metric."""
        keys = {(run.train_jets, run.seed) for run in runs if run.row == LEARNED}
        keys |= {key for key, found in self._metrics.items() if found.metric is None}
        return [self.metric(self.split.train[:size], seed) for size, seed in sorted(keys)]

    def path(self, row: str, size: int, seed: int) -> Path:
        """The file of a training."""
        return self.out / "scores" / f"{run_name(row, size, seed)}.safetensors"

    @property
    def study(self) -> str:
        """Fingerprint of what all trainings of a study share."""
        digests = {name: self.split.digests()[name] for name in ("validation", "test")}
        common = {name: getattr(self.plan, name) for name in COMMON} | {"largest": max(self.plan.curve)}
        return fingerprint({"common": common, **digests})

    @property
    def test_study(self) -> str:
        """Fingerprint of the test jets alone."""
        return fingerprint({"test": self.split.digests()["test"], "boosted": self.plan.boosted})

    @property
    def device(self) -> torch.device:
        """Where scores are computed: under torchrun every process computes them on its own GPU."""
        if self.accelerator in ("cuda", "auto") and torch.cuda.is_available():
            return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        return torch.device("cpu")

    def _metric(self, train: Jets, seed: int) -> Tensor:
        found = self.metric(train, seed)
        if found.metric is None:
            raise NoMetricError(f"discovery found no metric. {found.text}")
        return found.metric

    def _fit(self, model: Tagger, train: Jets, seed: int, label: str) -> dict[str, Any]:
        """Train; returns what is written about it, with a ``failure`` where the loss was not finite."""
        trainer = TaggerTrainer(
            epochs=self.plan.epochs_of(len(train)),
            accelerator=self.accelerator,  # type: ignore[arg-type]
            devices=self.devices,
            seed=seed,
            folder=self.out / "checkpoints",
            progress=self.progress,
            **{name: getattr(self.plan, name) for name in TRAINING},
        )
        about = {"parameters": _size(model), "epochs": trainer.epochs, "precision": trainer.precision,
                 "device": self.device.type, "torch": torch.__version__, "train_digest": train.digest}  # fmt: skip
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

    def _scores(self, model: Tagger, cap: int, boosted: int, *, failed: bool = False) -> dict[str, Tensor]:
        """Scores of the test jets, and of the first ``boosted`` of them after boosts."""
        test, some = self.split.test, self.split.test[:boosted]
        if failed:
            return {"scores": torch.full((len(test),), float("nan"))}
        scores = {
            "scores": tagger_scores(model, test, cap=cap, batch_size=SCORED_AT_ONCE, device=self.device)
        }
        if len(some):
            both = [boosted_scores(model, some, beams=beams, cap=cap) for beams in (True, False)]
            scores["boosted_scores"] = torch.stack(both)
        return scores


def _own(path: Path, config_hash: str) -> TaggerRun:
    run = TaggerRun.read(path)
    if run.config_hash != config_hash:
        raise ValueError(f"{path} was made with other jets or settings; give another --out, or --overwrite")
    return run


def _size(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())
