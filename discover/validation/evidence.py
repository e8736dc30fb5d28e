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

__all__ = ["ConfidenceInterval", "MapEvidence", "distribution_evidence", "map_evidence"]

BATCH, WIDTH = 256, 64
PREDICTOR_BATCH = 512
RESAMPLES = 200
MOST_POINTS = 20_000


@dataclass(frozen=True)
class ConfidenceInterval:
    """A number and the 5th and 95th percentile of its bootstrap over held-out samples (a 90 % interval).

    Args:
        value: the number itself.
        low: lower end of the interval.
        high: upper end of the interval.
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3g} [{self.low:.3g}, {self.high:.3g}]"


def distribution_evidence(
    train: Samples, test: Samples, transformed: Samples, algebra: LieAlgebra, steps: int, rng: torch.Generator
) -> ConfidenceInterval:
    """AUC on held-out samples of a critic trained to tell samples from transformed ones; new g in every batch.

    Args:
        train: whitened samples the critic is trained on.
        test: whitened held-out samples.
        transformed: the held-out samples, each under its own group element.
        algebra: generators on whitened vectors.
        steps: training steps.
        rng: the source of randomness.

    Returns:
        The area under the ROC curve; 0.5 is chance.
    """
    critic = seeded(rng, lambda: Critic(train.flat(), width=WIDTH, classes=max(train.classes, test.classes)))

    def loss(real: Samples) -> Tensor:
        fake = real.map_vectors(algebra.sample(len(real), rng))
        logits = [critic(critic.features(s.flat()), s.labels) for s in (real, fake)]
        return F.softplus(-logits[0]).mean() + F.softplus(logits[1]).mean()

    fit(critic, loss, train, steps=steps, batch=BATCH, rate=3e-3, rng=rng)
    with torch.no_grad():
        scores = [critic(critic.features(s.flat()), s.labels) for s in (test, transformed)]
    return _bootstrap(lambda i: area_under_curve(scores[0][i], scores[1][i]), len(test), rng)


@dataclass(frozen=True, kw_only=True)
class MapEvidence:
    """The fields of ``Verdict`` that concern the map; see there. As made, for data without a target."""

    equivariance_error: ConfidenceInterval | None = None
    explained_variance: float = 0.0
    in_support: float = 0.0
    detection_limit: float = 0.0


def map_evidence(
    train: Samples, test: Samples, transformed: Samples, steps: int, rng: torch.Generator
) -> MapEvidence:
    """How the error of a predictor of y from x grows from held-out to transformed samples.

    Args:
        train: whitened samples the predictor is fitted to.
        test: whitened held-out samples.
        transformed: the held-out samples, each under its own group element.
        steps: training steps.
        rng: the source of randomness.

    Returns:
        The evidence; an empty one without a target.
    """
    if train.y is None:
        return MapEvidence()
    predictor = seeded(rng, lambda: Predictor(train))
    fit(predictor, predictor.loss, train, steps=steps, batch=PREDICTOR_BATCH, rate=4e-3, rng=rng)
    with torch.no_grad():
        before, after = predictor.error(test), predictor.error(transformed)
        reach = predictor.largest_growth(test, transformed, rng)
        explained = predictor.explained_variance(test)
    inside = _in_support(*(predictor.features(s.x) for s in (train, test, transformed)))
    if not inside.any():
        unknown = ConfidenceInterval(1.0, 0.0, float("inf"))
        return MapEvidence(
            equivariance_error=unknown, explained_variance=explained, detection_limit=float("inf")
        )
    growth, reach = (after - before)[inside], reach[inside]
    return MapEvidence(
        equivariance_error=_bootstrap(lambda i: _root_ratio(growth[i], reach[i]), len(growth), rng),
        explained_variance=explained,
        in_support=float(inside.float().mean()),
        detection_limit=float(_root_ratio(before[inside], reach)),
    )


def area_under_curve(positive: Tensor, negative: Tensor) -> Tensor:
    """Area under the ROC curve by the rank-sum statistic; ties count half.

    Args:
        positive: scores (n,) that should be high.
        negative: scores (m,) that should be low.

    Returns:
        The probability, (), that a positive sample scores above a negative one.

    Example:
        >>> area_under_curve(torch.tensor([1.0, 2.0, 2.0]), torch.tensor([0.0, 2.0]))
        tensor(0.6667)
    """
    scores = torch.cat([positive, negative])
    _, inverse, counts = scores.unique(return_inverse=True, return_counts=True)
    ranks = (counts.cumsum(0) - (counts - 1) / 2)[inverse]
    return (ranks[: len(positive)].sum() - len(positive) * (len(positive) + 1) / 2) / (
        len(positive) * len(negative)
    )


def _in_support(train: Tensor, test: Tensor, transformed: Tensor) -> Tensor:
    """Which transformed points (n, d) are no farther from training points than 99 % of the held-out points are."""
    tree = KDTree(train[:MOST_POINTS].cpu().double().numpy())
    limit = torch.as_tensor(tree.query(test.cpu().double().numpy())[0]).quantile(0.99)
    distance = torch.as_tensor(tree.query(transformed.cpu().double().numpy())[0])
    return (distance <= limit).to(transformed.device)


def _root_ratio(error: Tensor, reach: Tensor) -> Tensor:
    """Root of a mean squared error (0 where it shrank) over the mean squared reach; 0 where nothing can move."""
    tiny = torch.finfo(reach.dtype).tiny
    return (error.mean() / reach.mean().clamp_min(tiny)).clamp_min(0).sqrt()


def _bootstrap(statistic: Callable[[Tensor], Tensor], n: int, rng: torch.Generator) -> ConfidenceInterval:
    device = rng.device
    value = statistic(torch.arange(n, device=device))
    draws = torch.stack(
        [statistic(torch.randint(n, (n,), generator=rng, device=device)) for _ in range(RESAMPLES)]
    )
    low, high = draws.quantile(torch.tensor([0.05, 0.95], device=device).to(draws))
    return ConfidenceInterval(float(value), float(low), float(high))
