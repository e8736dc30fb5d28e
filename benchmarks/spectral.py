"""Spectral discovery on orbits and on jets: what it finds, how many, how exact, how fast.

    python benchmarks/spectral.py --orbits two_body_orbits.npz --jets jets_15k.npz --out results/spectral.json

Orbits: |cosine| of the span found with the true rotation, on the span of the data. Jets: the leading
constituents without their labels, so the question is which linear maps leave the support of the constituents (the
light cone) invariant; the principal angles to so(1,3) with and without scaling, and the |cosine| of the invariant
metric with Minkowski's. The truth enters the report only. Seconds are processor seconds of one thread.
"""

from pathlib import Path
from typing import Any

import cyclopts
import torch
from common import timed, write_result
from torch import Tensor

from discover import Spectral, refine
from equivariant import V, catalogue, cosine
from equivariant.compare import subspace_error
from tasks.top_tagging.data.shards import load_jets
from tasks.top_tagging.discovery.jet_algebra import discovered_metric, minkowski_cosine
from tasks.two_body.data import COLUMNS, load_orbits, pairs


def on_orbits(train: Tensor, seed: int) -> dict[str, Any]:
    """One step in, one step out, the free 8 x 8 search space."""
    x, y = pairs(train)
    trajectory = torch.arange(len(train)).repeat_interleave(train.shape[1] - 1)
    estimator, seconds = timed(
        lambda: Spectral(seed=seed, progress=False).fit(x, y, y_rep=V, coordinates=COLUMNS, groups=trajectory)
    )
    true = catalogue.by_name("4*so(2)")
    verdict = estimator.verdict_
    return _common(estimator, seed, seconds) | {
        "cosine": cosine(estimator.algebra_, true, data=x),
        "refined_cosine_error": 1 - cosine(refine(estimator.algebra_, x).algebra, true, data=x),
        "skill": estimator.explained_variance_,
        "map": verdict.map if verdict else None,
        "violation": verdict.equivariance_error.value if verdict and verdict.equivariance_error else None,
    }


def on_jets(vectors: Tensor, seed: int) -> dict[str, Any]:
    """The leading constituents (n, m, 4) of each jet, E, px, py, pz [GeV]; no labels."""
    lorentz = catalogue.lorentz()
    method = Spectral(seed=seed, progress=False, evaluation_steps=200)
    estimator, seconds = timed(lambda: method.fit(vectors, coordinates=lorentz.coordinates))
    whole = catalogue.union(lorentz, catalogue.scaling(4))
    found = estimator.algebra_
    return _common(estimator, seed, seconds) | {
        "subspace_error_to_lorentz": subspace_error(found, lorentz),
        "subspace_error_to_lorentz_and_scaling": subspace_error(found, whole),
        "metric_cosine": minkowski_cosine(discovered_metric(found)) if found.n_generators else None,
        "refined": refine(found).match.name,
    }


def _common(estimator: Spectral, seed: int, seconds: float) -> dict[str, Any]:
    return {
        "seed": seed,
        "n_generators": estimator.algebra_.n_generators,
        "spectrum": estimator.spectrum_[:12].tolist(),
        "gap": estimator.gap_,
        "seconds": seconds,
    }


def main(
    orbits: Path, jets: Path, out: Path, *, seeds: int = 10, first_seed: int = 100, leading: int = 2
) -> None:
    """Run the study.

    Args:
        orbits: published orbits, or a file of that form.
        jets: shard or .npz of jets.
        out: result file (JSON).
        seeds: runs of each.
        first_seed: seeds count up from here; the settings were chosen on seeds below 100.
        leading: constituents of each jet that are looked at.
    """
    torch.set_num_threads(1)
    train = load_orbits(orbits).train
    sample = load_jets(jets)
    sample = sample[sample.counts >= leading].leading(leading)
    vectors = sample.p4().reshape(len(sample), leading, 4)
    content = {
        "orbits": [on_orbits(train, seed) for seed in range(first_seed, first_seed + seeds)],
        "jets": [on_jets(vectors, seed) for seed in range(first_seed, first_seed + seeds)],
    }
    write_result(out, content, f"--orbits {orbits.name}", f"--jets {jets.name}")


if __name__ == "__main__":
    cyclopts.run(main)
