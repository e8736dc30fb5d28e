"""The two measurements behind a verdict: a fresh critic's AUC, and the growth of a fitted predictor's error."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from scipy.spatial import KDTree
from torch import Tensor

from discover.data.samples import Samples
from discover.networks.critic import Critic
from discover.networks.fitting import fit, seeded
from discover.networks.predictor import Predictor
from equivariant.algebra import LieAlgebra

__all__ = ["Estimate", "MapEvidence", "law_evidence", "map_evidence"]

BATCH, WIDTH = 256, 64
PREDICTOR_BATCH = 512
RESAMPLES = 200
MOST_POINTS = 20_000


@dataclass(frozen=True)
class Estimate:
    """A number with the bounds of its central 90 % bootstrap interval over held-out samples."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3g} [{self.low:.3g}, {self.high:.3g}]"


def law_evidence(
    fitted: Samples, kept: Samples, moved: Samples, algebra: LieAlgebra, steps: int, random: torch.Generator
) -> Estimate:
    """AUC on held-out samples of a critic fitted to tell samples from moved samples; fresh g in every batch."""
    critic = seeded(
        random, lambda: Critic(fitted.flat(), width=WIDTH, classes=max(fitted.classes, kept.classes))
    )

    def loss(real: Samples) -> Tensor:
        fake = real.map_vectors(algebra.sample(len(real), random))
        logits = [critic(critic.features(s.flat()), s.labels) for s in (real, fake)]
        return F.softplus(-logits[0]).mean() + F.softplus(logits[1]).mean()

    fit(critic, loss, fitted, steps=steps, batch=BATCH, rate=3e-3, random=random)
    with torch.no_grad():
        scores = [critic(critic.features(s.flat()), s.labels) for s in (kept, moved)]
    return _bootstrap(lambda i: _auc(scores[0][i], scores[1][i]), len(kept), random)


@dataclass(frozen=True, kw_only=True)
class MapEvidence:
    """``violation``, ``skill``, ``support`` and ``hidden`` as in ``discover.validation.certify.Verdict``."""

    violation: Estimate
    skill: float
    support: float
    hidden: float


def map_evidence(
    fitted: Samples, kept: Samples, moved: Samples, steps: int, random: torch.Generator
) -> MapEvidence | None:
    """How the error of a predictor of y from x grows on moved samples; ``None`` without a target."""
    if fitted.y is None:
        return None
    predictor = seeded(random, lambda: Predictor(fitted))
    fit(predictor, predictor.loss, fitted, steps=steps, batch=PREDICTOR_BATCH, rate=4e-3, random=random)
    with torch.no_grad():
        still, after = predictor.error(kept), predictor.error(moved)
        blind, reach = predictor.blind_error(kept), predictor.reach(kept, moved, random)
    among = _among(predictor.features(fitted.x), predictor.features(kept.x), predictor.features(moved.x))
    # a target that never changes is explained by anything, so it speaks for nothing
    skill = 1 - float(still.mean() / blind.mean()) if blind.any() else 0.0
    if not among.any():
        nothing = Estimate(1.0, 0.0, float("inf"))
        return MapEvidence(violation=nothing, skill=skill, support=0.0, hidden=float("inf"))
    growth, reach = (after - still)[among], reach[among]
    return MapEvidence(
        violation=_bootstrap(lambda i: _root_ratio(growth[i], reach[i]), len(growth), random),
        skill=skill,
        support=float(among.float().mean()),
        hidden=float(_root_ratio(still[among], reach)),
    )


def _among(fitted: Tensor, kept: Tensor, moved: Tensor) -> Tensor:
    """Which moved points (n, d) are no farther from fitted points than 99 % of the held-out points are."""
    tree = KDTree(fitted[:MOST_POINTS].cpu().double().numpy())
    limit = torch.as_tensor(tree.query(kept.cpu().double().numpy())[0]).quantile(0.99)
    distance = torch.as_tensor(tree.query(moved.cpu().double().numpy())[0])
    return (distance <= limit).to(moved.device)


def _auc(real: Tensor, fake: Tensor) -> Tensor:
    """Chance that a real sample scores above a moved one, ties counted half: the rank-sum statistic."""
    scores = torch.cat([real, fake])
    _, inverse, counts = scores.unique(return_inverse=True, return_counts=True)
    ranks = (counts.cumsum(0) - (counts - 1) / 2)[inverse]
    return (ranks[: len(real)].sum() - len(real) * (len(real) + 1) / 2) / (len(real) * len(fake))


def _root_ratio(error: Tensor, reach: Tensor) -> Tensor:
    """Root of a mean squared error (0 where it shrank) over the mean squared reach; 0 where nothing can move."""
    tiny = torch.finfo(reach.dtype).tiny
    return (error.mean() / reach.mean().clamp_min(tiny)).clamp_min(0).sqrt()


def _bootstrap(statistic: Callable[[Tensor], Tensor], n: int, random: torch.Generator) -> Estimate:
    device = random.device
    value = statistic(torch.arange(n, device=device))
    draws = torch.stack(
        [statistic(torch.randint(n, (n,), generator=random, device=device)) for _ in range(RESAMPLES)]
    )
    low, high = draws.quantile(torch.tensor([0.05, 0.95], device=device).to(draws))
    return Estimate(float(value), float(low), float(high))
