"""The two measurements behind a verdict: a fresh critic's AUC, and the growth of a fitted predictor's error."""

from collections.abc import Callable
from dataclasses import dataclass
from math import cos, pi
from typing import TypeVar

import torch
import torch.nn.functional as F
from scipy.spatial import KDTree
from torch import Tensor, nn

from discover.critic import Critic, multilayer_perceptron
from discover.samples import Part, Samples
from equivariant.algebra import LieAlgebra

__all__ = ["Estimate", "MapEvidence", "law_evidence", "map_evidence"]

Model = TypeVar("Model", bound=nn.Module)
BATCH, WIDTH = 256, 64
PREDICTOR_BATCH, PREDICTOR_WIDTH = 512, 128
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
    critic = _seeded(
        random, lambda: Critic(fitted.flat(), width=WIDTH, classes=max(fitted.classes, kept.classes))
    )

    def loss(real: Samples) -> Tensor:
        fake = real.map_vectors(algebra.sample(len(real), random))
        logits = [critic(critic.features(s.flat()), s.labels) for s in (real, fake)]
        return F.softplus(-logits[0]).mean() + F.softplus(logits[1]).mean()

    _fit(critic, loss, fitted, steps, BATCH, 3e-3, random)
    with torch.no_grad():
        scores = [critic(critic.features(s.flat()), s.labels) for s in (kept, moved)]
    return _bootstrap(lambda i: _auc(scores[0][i], scores[1][i]), len(kept), random)


@dataclass(frozen=True, kw_only=True)
class MapEvidence:
    """``violation``, ``skill``, ``support`` and ``hidden`` as in ``discover.certify.Verdict``."""

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
    predictor = _seeded(random, lambda: Predictor(fitted))
    _fit(predictor, predictor.loss, fitted, steps, PREDICTOR_BATCH, 4e-3, random)
    with torch.no_grad():
        still, after = predictor.error(kept), predictor.error(moved)
        blind, reach = predictor.blind_error(kept), predictor.reach(kept, moved, random)
    among = _among(predictor.features(fitted.x), predictor.features(kept.x), predictor.features(moved.x))
    skill = 1 - float(still.mean() / blind.mean())
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


class Predictor(nn.Module):
    """An MLP for the part of y that is no fixed combination of the vectors of x.

    Combinations A x over copies commute with every linear group, so they say nothing about any; taking them
    off leaves what does. Scalars are standardised; labels are predicted as probabilities (Brier score).
    """

    def __init__(self, samples: Samples):
        super().__init__()
        x, y = samples.x, _target_of(samples)
        self.classes = samples.classes
        self.combination = nn.Buffer(_combination(x.vectors, y.vectors))
        rest = self._rest(samples)
        self.center, self.scale = nn.Buffer(_centers(rest, y)), nn.Buffer(_scales(rest, y))
        self.whitening = nn.Buffer(Critic(x.flat(), width=1).whitening)
        size_out = rest.shape[1] + self.classes
        self.network = multilayer_perceptron(x.flat().shape[1], PREDICTOR_WIDTH, size_out, nn.SiLU).to(rest)

    def features(self, x: Part) -> Tensor:
        """Whitened inputs (n, d)."""
        return x.flat() @ self.whitening

    def forward(self, x: Part) -> Tensor:
        """Predictions (n, o): what is left of y, standardised, then the probabilities of the classes."""
        out = self.network(self.features(x))
        numbers = out.shape[1] - self.classes
        return torch.cat([out[:, :numbers], out[:, numbers:].softmax(dim=1)], dim=1)

    def error(self, samples: Samples) -> Tensor:
        """Squared error (n,)."""
        return (self(samples.x) - self._target(samples)).square().sum(1)

    def loss(self, samples: Samples) -> Tensor:
        """Mean squared error (Brier score for labels)."""
        return self.error(samples).mean()

    def blind_error(self, samples: Samples) -> Tensor:
        """Squared error (n,) of the best constant."""
        target = self._target(samples)
        return (target - target.mean(0)).square().sum(1)

    def reach(self, samples: Samples, moved: Samples, random: torch.Generator) -> Tensor:
        """What the error would grow by if prediction and target parted ways (n,).

        For vectors, how far g moves the target. Invariant targets do not move: there, how far the predictions
        for two samples differ.
        """
        there, here = self._target(moved), self._target(samples)
        vectors = _target_of(samples).vectors.flatten(1).shape[1]
        prediction = self(samples.x)
        shuffle = torch.randperm(len(here), generator=random, device=random.device)
        swapped = (prediction[shuffle] - prediction)[:, vectors:].square().sum(1)
        return (there - here)[:, :vectors].square().sum(1) + swapped

    def _rest(self, samples: Samples) -> Tensor:
        y = _target_of(samples)
        rest = y.vectors - torch.einsum("ts,nsk->ntk", self.combination, samples.x.vectors)
        return torch.cat([rest.flatten(1), y.scalars], dim=1)

    def _target(self, samples: Samples) -> Tensor:
        rest = (self._rest(samples) - self.center) / self.scale
        labels = samples.labels
        return rest if labels is None else torch.cat([rest, F.one_hot(labels, self.classes).to(rest)], dim=1)


def _target_of(samples: Samples) -> Part:
    if samples.y is None:
        raise ValueError("a predictor needs a target y, got none")
    return samples.y


def _combination(x: Tensor, y: Tensor) -> Tensor:
    """A (t, s) by least squares: y_t = sum_s A_ts x_s for vectors x (n, s, k), y (n, t, k)."""
    inputs, outputs = (v.double().transpose(1, 2).flatten(0, 1) for v in (x, y))
    return (torch.linalg.pinv(inputs) @ outputs).mT.to(x)


def _centers(rest: Tensor, y: Part) -> Tensor:
    """Zero for vectors, whose origin the group keeps; the mean for scalars."""
    centers = rest.mean(0)
    centers[: y.vectors.flatten(1).shape[1]] = 0
    return centers


def _scales(rest: Tensor, y: Part) -> Tensor:
    """One scale for all entries of all vectors, so that it commutes with the group; one for each scalar."""
    vectors = y.vectors.flatten(1).shape[1]
    scales = (rest - rest.mean(0)).square().mean(0).sqrt()
    scales[:vectors] = rest[:, :vectors].square().mean().sqrt() if vectors else 1
    return torch.where(scales > 0, scales, 1)


def _fit(
    model: nn.Module, loss: Callable[[Samples], Tensor], samples: Samples, steps: int, batch: int, rate: float,
    random: torch.Generator,
) -> None:  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters(), lr=rate, fused=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 0.5 * (1 + cos(pi * step / steps)))
    for _ in range(steps):
        index = torch.randint(len(samples), (batch,), generator=random, device=random.device)
        optimizer.zero_grad()
        loss(samples[index]).backward()
        optimizer.step()
        schedule.step()


def _seeded(random: torch.Generator, make: Callable[[], Model]) -> Model:
    """Build a module whose initial weights come from this generator, not from torch's global one."""
    seed = int(torch.randint(2**31, (), generator=random, device=random.device))
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return make()


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
