"""Generated jets compared with a sample of known properties: ``python -m`` this file, with ``--help``."""

import itertools
import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from cyclopts import App, Parameter
from safetensors.torch import load_file
from torch import Tensor

from tasks.common.results import environment
from tasks.top_tagging.data.jets import CAP, Jets
from tasks.top_tagging.data.shards import load_jets, read_shard
from tasks.top_tagging.simulation.detector import Detector
from tasks.top_tagging.simulation.pythia import Kind, collisions
from tasks.top_tagging.simulation.selection import Selection
from tasks.top_tagging.tagging.metrics import accuracy, auc
from tasks.top_tagging.tagging.models import published_tagger
from tasks.top_tagging.tagging.trainer import tagger_scores

__all__ = ["Fidelity", "bootstrap_errors", "describe_jets", "published_scores"]

# Measured on a sample that the published network classifies as it does the reference set; (value, tolerance).
EXPECTED = {
    "top.constituents": (53.7, 1.5),
    "top.constituents_std": (13.7, 1.0),
    "top.mass_median": (175.7, 2.0),
    "qcd.constituents": (42.3, 1.5),
    "qcd.constituents_std": (20.0, 1.5),
    "qcd.mass_median": (75.0, 4.0),
    "mass_auc": (0.916, 0.015),
    "published.accuracy": (0.9485, 0.0035),
    "published.auc": (0.9895, 0.0015),
    "rates.top.accepted": (0.061, 0.006),
    "rates.qcd.accepted": (0.091, 0.008),
}


@dataclass(kw_only=True)
class Fidelity:
    """Measures jets and, where weights are given, how well the published LorentzNet classifies them.

    Args:
        weights: the published weights, .safetensors.
        other: a second sample to measure in the same way.
        network_jets: number of jets that the network classifies.
        rate_batches: batches of 500 events of each kind, to measure rates; 0 skips them.
        out: file of the result.
    """

    weights: Path | None = None
    other: Path | None = None
    network_jets: int = 2000
    rate_batches: int = 20
    out: Path = Path("results/top_tagging/jets.json")

    def run(self, path: Path) -> dict[str, Any]:
        """Measure the jets in ``path`` and write what was found beside what was expected."""
        found = self._measure(load_jets(path))
        if path.is_dir():
            found["made_by"] = read_shard(min(path.glob("shard-*.safetensors")))[1]
        if self.rate_batches:
            found["rates"] = {kind: rates(kind, self.rate_batches) for kind in ("top", "qcd")}
        result = {"generated": found, "expected": _compared(found), "environment": environment()}
        if self.other is not None:
            result["other"] = {"name": self.other.name} | self._measure(load_jets(self.other))
        self.out.parent.mkdir(parents=True, exist_ok=True)
        self.out.write_text(json.dumps(result, indent=1) + "\n")
        return result

    def _measure(self, jets: Jets) -> dict[str, Any]:
        found = describe_jets(jets)
        if self.weights is not None:
            some = jets[: self.network_jets]
            scores = published_scores(some, load_file(self.weights))
            found["published"] = bootstrap_errors(scores, some.label)
        return found


def describe_jets(jets: Jets) -> dict[str, Any]:
    """Constituents and masses [GeV] of both classes, and the AUC of the mass alone."""
    found: dict[str, Any] = {"jets": len(jets), "digest": jets.digest, "tally": str(jets.tally())}
    mass = jets.masses()
    for name, y in (("top", 1), ("qcd", 0)):
        counts, masses = jets.counts[jets.label == y].double(), mass[jets.label == y]
        found[name] = {
            "jets": len(masses),
            "constituents": float(counts.mean()),
            "constituents_std": float(counts.std()),
            "mass_median": float(masses.median()),
            "mass_quartiles": [float(masses.quantile(q)) for q in (0.25, 0.75)],
        }
    return found | {"mass_auc": auc(mass, jets.label)}


def published_scores(jets: Jets, weights: dict[str, Tensor], size: int = 32) -> Tensor:
    """Probability of top (n,) by the published LorentzNet, with all constituents, ``size`` jets at once."""
    return tagger_scores(published_tagger(weights), jets, cap=CAP, batch_size=size)


def bootstrap_errors(scores: Tensor, label: Tensor, draws: int = 200) -> dict[str, float]:
    """Accuracy and AUC with standard deviations over bootstrap draws."""
    rng = torch.Generator().manual_seed(0)
    again = [torch.randint(len(label), (len(label),), generator=rng) for _ in range(draws)]
    found: dict[str, float] = {"jets": len(label)}
    for name, measure in (("accuracy", accuracy), ("auc", auc)):
        found[name] = measure(scores, label)
        found[f"{name}_std"] = float(np.std([measure(scores[i], label[i]) for i in again]))
    return found


def rates(kind: Kind, n: int, seed: int = 1) -> dict[str, float]:
    """Jets accepted per event and made per second on one core, over ``n`` batches."""
    detector, selection, rng = Detector(), Selection(), np.random.default_rng(seed)
    source = collisions(kind, seed)
    next(source)  # starting Pythia takes its time once
    begun, jets, events = time.perf_counter(), 0, 0
    for batch in itertools.islice(source, n):
        jets += len(selection.jets(detector.simulate(batch, rng), batch, matched=kind == "top"))
        events += batch.n
    return {"accepted": jets / events, "jets_per_second": jets / (time.perf_counter() - begun)}


def _compared(found: dict[str, Any]) -> dict[str, Any]:
    """Every expected value, the one found, and whether they differ by no more than is allowed."""
    compared = {}
    for name, (expected, near) in EXPECTED.items():
        actual: Any = found
        for key in name.split("."):
            actual = actual.get(key) if actual is not None else None
        if actual is not None:
            holds = abs(actual - expected) <= near
            compared[name] = {"expected": expected, "found": actual, "near": near, "holds": holds}
    return compared


app = App(name="fidelity")


@app.default
def main(jets: Path, fidelity: Annotated[Fidelity | None, Parameter(name="*")] = None) -> None:
    """Measure the jets in JETS, a folder of shards or a file."""
    torch.set_num_threads(1)
    print(json.dumps((fidelity or Fidelity()).run(jets)["expected"], indent=1))


if __name__ == "__main__":
    app()
