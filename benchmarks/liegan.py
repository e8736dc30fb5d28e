"""LieGAN on two-body orbits: how exact over seeds, and how fast against a plain loop of the published kind.

    python benchmarks/liegan.py --data two_body_orbits.npz --out results/two_body/discovery.json

For each search space: |cosine| with the true rotation on the span of the data, the verdict, 1 - |cosine| after
``refine``, steps and seconds of the whole ``fit``, verdict included. The baseline is timed in the same process:
the published losses and sizes, one batch at a time through a DataLoader, five epochs, scaled to its hundred.
Seconds are processor seconds of one thread, so that a busy machine does not change the ratio.
An existing result file is continued.
"""

import statistics
from dataclasses import dataclass
from pathlib import Path

import cyclopts
import torch
import torch.nn.functional as F
from common import timed, write_result
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from discover import LieGAN, refine
from equivariant import LieAlgebra, V, catalogue, cosine
from tasks.common.files import read_json
from tasks.two_body.data import COLUMNS, load_orbits, pairs

SPACES = {"2x2 blocks": "blocks:2", "4x4 blocks": "0,1,4,5|2,3,6,7", "free 8x8": "free"}
EPOCHS, TIMED = 100, 5


@dataclass(frozen=True, kw_only=True)
class Run:
    """One discovery, with what it reached and what it cost."""

    space: str
    seed: int
    cosine: float
    passed: bool
    law: str
    map: str
    violation: float
    auc: float
    refined_cosine_error: float
    steps: int
    seconds: float


def discover(space: str, seed: int, train: Tensor, true: LieAlgebra) -> Run:
    """Fit, evaluate and refine on one seed."""
    x, y = pairs(train)
    groups = torch.arange(len(train)).repeat_interleave(train.shape[1] - 1)
    method = LieGAN(search_space=SPACES[space], seed=seed, progress=False)
    estimator, seconds = timed(lambda: method.fit(x, y, y_rep=V, coordinates=COLUMNS, groups=groups))
    refined = refine(estimator.algebra_, x).algebra
    verdict = estimator.verdict_
    return Run(
        space=space,
        seed=seed,
        cosine=cosine(estimator.algebra_, true, data=x),
        passed=verdict.passed,
        law=verdict.distribution,
        map=verdict.map,
        violation=verdict.equivariance_error.value if verdict.equivariance_error else float("nan"),
        auc=verdict.auc.value,
        refined_cosine_error=1 - cosine(refined, true, data=x),
        steps=estimator.steps_,
        seconds=seconds,
    )


def plain_epoch_seconds(train: Tensor, seed: int = 0) -> list[float]:
    """Seconds of each timed epoch of a plain loop: 512-wide critic, batch 64, 229 steps on the published orbits."""
    torch.manual_seed(seed)
    x, y = pairs(train[:, :-1].float())  # the published window leaves out the last pair
    loader = DataLoader(TensorDataset(x, y), batch_size=64, shuffle=True)
    blocks = nn.Parameter(torch.randn(4, 2, 2))
    critic = nn.Sequential(
        nn.Linear(16, 512),
        nn.LeakyReLU(0.2),
        nn.Linear(512, 512),
        nn.LeakyReLU(0.2),
        nn.Linear(512, 1),
        nn.Sigmoid(),
    )
    generators = torch.optim.Adam([blocks], lr=1e-3, betas=(0.5, 0.999))
    critics = torch.optim.Adam(critic.parameters(), lr=2e-4, betas=(0.5, 0.999))

    def epoch() -> list[tuple[float, float]]:
        return [_plain_step(a, b, blocks, critic, generators, critics) for a, b in loader]

    return [timed(epoch)[1] for _ in range(TIMED)]


def _plain_step(
    x: Tensor,
    y: Tensor,
    blocks: Tensor,
    critic: nn.Module,
    generators: torch.optim.Adam,
    critics: torch.optim.Adam,
) -> tuple[float, float]:
    basis = torch.block_diag(*blocks)
    g = torch.matrix_exp(torch.randn(len(x), 1, 1) * basis)
    moved_x, moved_y = (torch.einsum("nij,nj->ni", g, v) for v in (x, y))
    ones, zeros = torch.ones(len(x), 1), torch.zeros(len(x), 1)
    away = F.cosine_similarity(moved_x, x).mean().abs()
    generators.zero_grad()
    generator_loss = F.binary_cross_entropy(critic(torch.cat([moved_x, moved_y], 1)), ones) + away
    generator_loss.backward()
    generators.step()
    critics.zero_grad()
    real = F.binary_cross_entropy(critic(torch.cat([x, y], 1)), ones)
    fake = F.binary_cross_entropy(critic(torch.cat([moved_x, moved_y], 1).detach()), zeros)
    critic_loss = (real + fake) / 2
    critic_loss.backward()
    critics.step()
    return critic_loss.item(), generator_loss.item()


def summary(runs: list[Run], baseline: float) -> dict[str, dict[str, object]]:
    """What the targets ask, for each search space."""
    found: dict[str, dict[str, object]] = {}
    for space in SPACES:
        own = [run for run in runs if run.space == space]
        if not own:
            continue
        cosines, seconds = [run.cosine for run in own], [run.seconds for run in own]
        found[space] = {
            "seeds": len(own),
            "median_cosine": statistics.median(cosines),
            "least_cosine": min(cosines),
            "at_least_0.998": sum(c >= 0.998 for c in cosines),
            "below_0.998_and_passed": sum(r.cosine < 0.998 and r.passed for r in own),
            "at_least_0.998_and_not_passed": sum(r.cosine >= 0.998 and not r.passed for r in own),
            "largest_refined_cosine_error": max(run.refined_cosine_error for run in own),
            "median_seconds": statistics.median(seconds),
            "most_seconds": max(seconds),
            "plain_over_ours": baseline / statistics.median(seconds),
        }
    return found


def main(
    data: Path, out: Path, *, seeds: int = 20, seeds_of_larger_spaces: int = 10, first_seed: int = 100
) -> None:
    """Run the study.

    Args:
        data: published orbits, or a file of that form.
        out: result file (JSON).
        seeds: runs in the 2x2-block space.
        seeds_of_larger_spaces: runs in each of the two others.
        first_seed: seeds count up from here; the settings were chosen on seeds below 100.
    """
    torch.set_num_threads(1)
    train, true = load_orbits(data).train, catalogue.by_name("4*so(2)")
    stored = read_json(out) if out.exists() else {"runs": [], "plain_epoch_seconds": []}
    runs = [Run(**row) for row in stored["runs"]]
    epochs = stored["plain_epoch_seconds"]
    for space in SPACES:
        count = seeds if space == "2x2 blocks" else seeds_of_larger_spaces
        epochs = epochs if len(epochs) >= TIMED * len(SPACES) else epochs + plain_epoch_seconds(train)
        for seed in range(first_seed, first_seed + count):
            if not any((run.space, run.seed) == (space, seed) for run in runs):
                runs.append(discover(space, seed, train, true))
                print(runs[-1], flush=True)
                _write(out, data, runs, epochs)
    _write(out, data, runs, epochs)


def _write(out: Path, data: Path, runs: list[Run], epochs: list[float]) -> None:
    plain = statistics.median(epochs) * EPOCHS
    content = {
        "plain_run_seconds": plain,
        "summary": summary(runs, plain),
        "plain_epoch_seconds": epochs,
        "runs": runs,
    }
    write_result(out, content, f"--data {data.name}")


if __name__ == "__main__":
    cyclopts.run(main)
