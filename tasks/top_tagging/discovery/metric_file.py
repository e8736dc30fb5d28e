"""A metric found on training jets, on disk: an algebra file with the form J it keeps and what was said of it."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from tasks.top_tagging.data.jets import Jets
from tasks.top_tagging.discovery.benchmark import JetAlgebra
from tasks.top_tagging.runs import fingerprint, write_blob

__all__ = ["Finding", "find", "minkowski_cosine"]

FORMAT = "liesmith-jet-metric/1"
MINKOWSKI = torch.diag(torch.tensor([1.0, -1.0, -1.0, -1.0], dtype=torch.float64))


@dataclass(frozen=True, kw_only=True, eq=False)
class Finding:
    """What discovery said of the first ``train_jets`` training jets with one seed.

    ``metric`` (4, 4) is None where no single form is kept; ``text`` is the verdict as a sentence.
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
        metric = None if self.metric is None else self.metric.tolist()
        return vars(self) | {"metric": metric, "minkowski_cosine": self.cosine}

    @property
    def cosine(self) -> float | None:
        """|cosine| of the metric with Minkowski's; None without a metric."""
        return None if self.metric is None else minkowski_cosine(self.metric)

    def __str__(self) -> str:
        if self.cosine is None:
            return f"{self.n_generators} generators and no metric. {self.text}"
        near = f"a metric of |cosine| {self.cosine:.5f} with Minkowski's"
        return f"{self.n_generators} generators and {near}. {self.text}"


def minkowski_cosine(metric: Tensor) -> float:
    """|cosine| between a form (4, 4) and diag(1, -1, -1, -1), by their entries."""
    metric = metric.double()
    return float((metric * MINKOWSKI).sum().abs() / (metric.norm() * MINKOWSKI.norm()))


def find(
    folder: Path, jets: Jets, seed: int, discover: Callable[[Jets], JetAlgebra], settings: dict[str, Any]
) -> Finding:
    """Discovery on ``jets``, or what an earlier one with the same jets, seed and settings left in ``folder``.

    Writes ``metric-N-SEED.safetensors`` and ``algebra-N-SEED.safetensors``. Raises ``ValueError`` for a file of
    something else.
    """
    path = folder / f"metric-{len(jets)}-{seed}.safetensors"
    owner = fingerprint({"jets": jets.digest, "seed": seed, **settings})
    if path.exists():
        return _read(path, owner)
    found = discover(jets)
    folder.mkdir(parents=True, exist_ok=True)
    found.algebra.save(folder / f"algebra-{len(jets)}-{seed}.safetensors")
    about = {
        "train_jets": len(jets),
        "seed": seed,
        "text": _text(found),
        "passed": found.verdict is not None and found.verdict.passed,
        "n_generators": found.algebra.n_generators,
        "evidence": found.evidence,
    }
    tensors = {} if found.metric is None else {"metric": found.metric.double().contiguous()}
    text = json.dumps(about, default=str)
    write_blob(path, save(tensors, {"format": FORMAT, "owner": owner, "about": text}))
    return _read(path, owner)


def _text(found: JetAlgebra) -> str:
    refused = found.evidence.get("metric_refused")
    said = "Nothing was found." if found.verdict is None else str(found.verdict)
    return said if found.metric is not None or refused is None else f"{said} No metric: {refused}."


def _read(path: Path, owner: str) -> Finding:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            metric = file.get_tensor("metric") if "metric" in file.keys() else None  # noqa: SIM118
        if metadata["format"] != FORMAT:
            raise KeyError("format")
        about = json.loads(metadata["about"])
    except (SafetensorError, KeyError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is no whole {FORMAT} file ({error}); remove it to discover again") from None
    if metadata["owner"] != owner:
        raise ValueError(
            f"{path} was found on other jets or with other settings; give another --out, or remove it"
        )
    return Finding(metric=metric, **about)
