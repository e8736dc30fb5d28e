"""``JetMetric``: the metric found on training jets, on disk as ``metric-N-SEED.safetensors`` beside its algebra."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from equivariant.files import read_tensors, write_tensors
from tasks.common.files import fingerprint, to_plain
from tasks.top_tagging.data.jets import Jets
from tasks.top_tagging.discovery.jet_algebra import JetAlgebra, JetDiscovery, minkowski_cosine

__all__ = ["JetMetric", "find_metric"]

FORMAT = "liesmith-jet-metric/2"


@dataclass(frozen=True, kw_only=True, eq=False)
class JetMetric:
    """What discovery found on the first ``train_jets`` training jets with one seed.

    Args:
        train_jets: how many.
        seed: of the search.
        metric: the invariant form (4, 4); None where no single form is invariant.
        text: the verdict on held-out jets as a sentence.
        passed: whether the distribution of jets is invariant, too.
        n_generators: of the algebra.
        evidence: numbers of the method, and angles to the Lorentz algebra.
    """

    train_jets: int
    seed: int
    metric: Tensor | None
    text: str
    passed: bool
    n_generators: int
    evidence: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """As ``json`` can write it."""
        return to_plain(self) | {"minkowski_cosine": self.cosine}

    @property
    def cosine(self) -> float | None:
        """|cosine| of the metric with Minkowski's; None without a metric."""
        return None if self.metric is None else minkowski_cosine(self.metric)

    def __str__(self) -> str:
        if self.cosine is None:
            return f"{self.n_generators} generators and no metric. {self.text}"
        near = f"a metric of |cosine| {self.cosine:.5f} with Minkowski's"
        return f"{self.n_generators} generators and {near}. {self.text}"


def find_metric(folder: Path, jets: Jets, search: JetDiscovery) -> JetMetric:
    """The metric of training jets, or what an earlier search with the same jets and settings left in ``folder``.

    Args:
        folder: gets ``metric-N-SEED.safetensors`` and ``algebra-N-SEED.safetensors``.
        jets: to search.
        search: with its seed and settings.

    Returns:
        What was found.

    Raises:
        ValueError: for a file of other jets or settings, or a damaged one.
    """
    name = f"{len(jets)}-{search.seed}.safetensors"
    path = folder / f"metric-{name}"
    settings = {key: value for key, value in vars(search).items() if key != "progress"}
    config_hash = fingerprint({"jets": jets.digest, **settings})
    if not path.exists():
        found = search.run(jets)
        folder.mkdir(parents=True, exist_ok=True)
        found.algebra.save(folder / f"algebra-{name}")
        about = {
            "train_jets": len(jets),
            "seed": search.seed,
            "text": _text(found),
            "passed": found.verdict is not None and found.verdict.passed,
            "n_generators": found.algebra.n_generators,
            "evidence": to_plain(found.evidence),
        }
        tensors = {} if found.metric is None else {"metric": found.metric.double()}
        write_tensors(path, FORMAT, tensors, config_hash=config_hash, about=json.dumps(about))
    metadata, tensors = read_tensors(path, FORMAT, "metric", "remove it, and a search with the same settings")
    if metadata["config_hash"] != config_hash:
        raise ValueError(
            f"{path} was found on other jets or with other settings; give another --out, or remove it"
        )
    return JetMetric(metric=tensors.get("metric"), **json.loads(metadata["about"]))


def _text(found: JetAlgebra) -> str:
    refused = found.evidence.get("metric_refused")
    verdict = "Nothing was found." if found.verdict is None else str(found.verdict)
    return verdict if found.metric is not None or refused is None else f"{verdict} No metric: {refused}."
