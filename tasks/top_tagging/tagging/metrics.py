"""Measures of a tagger's scores: accuracy, AUC, background rejection 1/eps_B and calibration, with intervals.

``auc`` and ``accuracy`` are the point values, ``roc`` and ``calibration`` the curves, ``measure`` all of it with
intervals, ``auc_difference`` the comparison of two taggers. Intervals are the central 90 % of a bootstrap over the
test jets, stratified by class; the draws are the same for all scores of the same jets and seed, so differences
between two taggers are paired. They do not contain how a figure changes from one training to the next.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from scipy.stats import beta
from torch import Tensor

from discover.validation.evidence import ConfidenceInterval

__all__ = ["DRAWS", "EFFICIENCIES", "FEW", "Curve", "Measures", "Rejection", "accuracy", "auc", "auc_difference",
           "calibration", "measure", "roc"]  # fmt: skip

EFFICIENCIES = (0.3, 0.5)  # of top jets, where background rejections are quoted
DRAWS = 500
BINS = 15
FEW = 10  # background jets below which a rejection is only bounded
CHUNK = 4_000_000  # numbers of one block of draws
ROUNDING = 1e-12  # of an efficiency


@dataclass(frozen=True, kw_only=True)
class Rejection:
    """1/eps_B where ``efficiency`` of the top jets pass.

    Args:
        efficiency: eps_S, the share of top jets that pass.
        estimate: 1/eps_B with its interval; parts are infinite where no QCD jet passes.
        passed: QCD jets that pass.
        background: QCD jets in all.
        at_least: one-sided 95 % lower bound (Clopper and Pearson 1934), always finite.
    """

    efficiency: float
    estimate: ConfidenceInterval
    passed: int
    background: int
    at_least: float

    @property
    def few(self) -> bool:
        """Whether too few QCD jets pass for more than a bound."""
        return self.passed < FEW

    def __str__(self) -> str:
        if self.few:
            return f"> {self.at_least:.0f} ({self.passed} of {self.background} QCD jets pass)"
        return f"{self.estimate.value:.0f} [{self.estimate.low:.0f}, {self.estimate.high:.0f}]"


@dataclass(frozen=True, kw_only=True)
class Measures:
    """Accuracy at score 0.5, AUC, rejections at ``EFFICIENCIES`` and expected calibration error, of ``jets`` jets."""

    jets: int
    accuracy: ConfidenceInterval
    auc: ConfidenceInterval
    rejections: tuple[Rejection, ...]
    calibration_error: ConfidenceInterval


@dataclass(frozen=True, kw_only=True, eq=False)
class Curve:
    """Points of a line, ``x`` and ``y`` (m,)."""

    x: Tensor
    y: Tensor


def accuracy(scores: Tensor, label: Tensor) -> float:
    """Share of scores (n,) on their label's side of 0.5."""
    return float(((scores > 0.5) == label.bool()).double().mean())


def auc(scores: Tensor, label: Tensor) -> float:
    """Area under the ROC curve: the probability that a top jet scores above a QCD jet; ties count half.

    Args:
        scores: any numbers (n,).
        label: 1 for top, 0 for QCD (n,).

    Returns:
        The area; NaN without both classes or for scores that are NaN.

    Example:
        >>> auc(torch.tensor([0.9, 0.4, 0.6, 0.1]), torch.tensor([1, 1, 0, 0]))
        0.75
    """
    if len(label.unique()) < 2 or bool(scores.isnan().any()):
        return float("nan")
    return float(_Ranking(scores, label).auc(_once(label)))


def roc(scores: Tensor, label: Tensor) -> Curve:
    """Efficiency of top (x) and of QCD (y) at every threshold from the highest down; ties pass together."""
    scores, label = _checked(scores, label)
    top, qcd = (
        torch.cat([n.new_zeros(1), n[0] / n[0, -1]]) for n in _Ranking(scores, label).passing(_once(label))
    )
    return Curve(x=top, y=qcd)


def calibration(scores: Tensor, label: Tensor, bins: int = BINS) -> Curve:
    """Mean score (x) and share of top jets (y) in ``bins`` equal intervals of the score; empty ones are left out."""
    scores, label = _checked(scores, label)
    inside = _bins(scores, bins)
    counts, score, top = (
        torch.zeros(bins).double().index_add(0, inside, values)
        for values in (torch.ones_like(scores), scores, label.double())
    )
    there = counts > 0
    return Curve(x=score[there] / counts[there], y=top[there] / counts[there])


def measure(scores: Tensor, label: Tensor, *, draws: int = DRAWS, seed: int = 0) -> Measures:
    """All measures of a tagger's scores.

    Args:
        scores: probabilities of top (n,).
        label: 1 for top, 0 for QCD (n,).
        draws: of the bootstrap.
        seed: of the bootstrap.

    Returns:
        Every measure with its interval.

    Raises:
        ValueError: for scores that are no probabilities (NaN too), other labels, or one class only.
    """
    scores, label = _checked(scores, label)
    ranking = _Ranking(scores, label)
    right = ((scores > 0.5) == label.bool()).double()
    excess = torch.zeros(len(scores), BINS, dtype=torch.float64)
    excess[torch.arange(len(scores)), _bins(scores, BINS)] = label - scores

    def statistics(times: Tensor) -> Tensor:
        n = times.sum(1)
        calibration_error = (times @ excess).abs().sum(1) / n
        return torch.stack(
            [times @ right / n, ranking.auc(times), calibration_error, *ranking.background(times)]
        )

    value = statistics(_once(label))[:, 0].tolist()
    spread = torch.cat([statistics(times) for times in _resampled(label, draws, seed)], dim=1)
    qcd = int((label == 0).sum())
    return Measures(
        jets=len(label),
        accuracy=_estimate(value[0], spread[0]),
        auc=_estimate(value[1], spread[1]),
        calibration_error=_reflected(value[2], spread[2]),
        rejections=tuple(map(_rejection, EFFICIENCIES, value[3:], spread[3:], [qcd] * len(EFFICIENCIES))),
    )


def auc_difference(
    scores: Tensor, others: Tensor, label: Tensor, *, draws: int = DRAWS, seed: int = 0
) -> ConfidenceInterval:
    """AUC of ``scores`` minus AUC of ``others`` on the same jets, with the interval of a paired bootstrap.

    Args:
        scores: probabilities of top (n,), or (s, n) of s trainings, whose mean AUC is taken.
        others: the same of the tagger compared with, (n,) or (s', n).
        label: 1 for top, 0 for QCD (n,).
        draws: of the bootstrap.
        seed: of the bootstrap.

    Returns:
        The difference with its interval.

    Raises:
        ValueError: as ``measure``.
    """
    n = len(label)
    sides = [[_Ranking(*_checked(row, label)) for row in side.reshape(-1, n)] for side in (scores, others)]
    label = label.detach().cpu().long()

    def difference(times: Tensor) -> Tensor:
        mine, theirs = (torch.stack([ranking.auc(times) for ranking in side]).mean(0) for side in sides)
        return mine - theirs

    spread = torch.cat([difference(times) for times in _resampled(label, draws, seed)])
    return _estimate(float(difference(_once(label))), spread)


class _Ranking:
    """Scores in falling order, sorted once, so that statistics of resampled jets are cumulative sums.

    ``times`` (d, n) below is how often each jet is taken in each of d draws.
    """

    def __init__(self, scores: Tensor, label: Tensor):
        self.order = scores.argsort(descending=True, stable=True)
        ranked = scores[self.order]
        last = torch.ones(len(ranked), dtype=torch.bool)
        last[:-1] = ranked[1:] != ranked[:-1]
        self.ends = last.nonzero()[:, 0]  # jets of like score pass together
        self.top = label[self.order].double()

    def passing(self, times: Tensor) -> tuple[Tensor, Tensor]:
        """Numbers of top and QCD jets (d, m) that pass each threshold, from the highest down."""
        ranked = times[:, self.order]
        top, every = (x.cumsum(1)[:, self.ends] for x in (ranked * self.top, ranked))
        return top, every - top

    def auc(self, times: Tensor) -> Tensor:
        """Area (d,) under the ROC curve by the rule of trapezoids; exact, since it counts pairs."""
        top, qcd = self.passing(times)
        zero = torch.zeros_like(top[:, :1])
        pairs = (qcd.diff(dim=1, prepend=zero) * (top + torch.cat([zero, top[:, :-1]], dim=1))).sum(1) / 2
        return pairs / (top[:, -1] * qcd[:, -1])

    def background(self, times: Tensor) -> Tensor:
        """QCD efficiencies (e, d) where ``EFFICIENCIES`` of the top jets pass."""
        top, qcd = (n / n[:, -1:] for n in self.passing(times))
        at = torch.tensor(EFFICIENCIES, dtype=top.dtype).expand(len(top), -1) - ROUNDING
        return qcd.gather(1, torch.searchsorted(top, at.contiguous())).mT


def _once(label: Tensor) -> Tensor:
    return torch.ones(1, len(label), dtype=torch.float64)


def _bins(scores: Tensor, bins: int) -> Tensor:
    return (scores * bins).long().clamp(max=bins - 1)


def _resampled(label: Tensor, draws: int, seed: int) -> Iterator[Tensor]:
    """How often each jet is drawn, blocks of (d, n) float64; every draw has as many of a class as there are."""
    if draws < 1:
        raise ValueError(f"draws must be at least 1, got {draws}")
    rng = torch.Generator().manual_seed(seed)
    members = [(label == kind).nonzero()[:, 0] for kind in (0, 1)]
    size = max(1, min(50, CHUNK // len(label)))
    for begin in range(0, draws, size):
        times = torch.zeros(min(size, draws - begin), len(label), dtype=torch.float64)
        for own in members:
            drawn = own[torch.randint(len(own), (len(times), len(own)), generator=rng)]
            times.scatter_add_(1, drawn, torch.ones_like(drawn, dtype=torch.float64))
        yield times


def _rejection(efficiency: float, share: float, spread: Tensor, background: int) -> Rejection:
    passed = round(share * background)
    most = 1.0 if passed == background else float(beta.ppf(0.95, passed + 1, background - passed))
    bounds = _estimate(share, spread)
    inverse = [1 / part if part else float("inf") for part in (share, bounds.high, bounds.low)]
    return Rejection(efficiency=efficiency, estimate=ConfidenceInterval(*inverse), passed=passed, background=background,
                     at_least=1 / most)  # fmt: skip


def _estimate(value: float, spread: Tensor) -> ConfidenceInterval:
    low, high = spread.quantile(torch.tensor([0.05, 0.95]).to(spread)).tolist()
    return ConfidenceInterval(value, low, high)


def _reflected(value: float, spread: Tensor) -> ConfidenceInterval:
    """The basic bootstrap: draws of an absolute value lie above it by as much as it lies above the truth."""
    plain = _estimate(value, spread)
    return ConfidenceInterval(value, max(0.0, 2 * value - plain.high), max(value, 2 * value - plain.low))


def _checked(scores: Tensor, label: Tensor) -> tuple[Tensor, Tensor]:
    """Scores in float64 and labels in int64, of one length, with both classes."""
    if scores.ndim != 1 or label.shape != scores.shape:
        raise ValueError(
            f"scores and labels must have shape (n,), got {tuple(scores.shape)}, {tuple(label.shape)}"
        )
    scores, label = scores.detach().cpu().double(), label.detach().cpu().long()
    wrong = int((~((scores >= 0) & (scores <= 1))).sum())
    if wrong:
        raise ValueError(f"scores must be probabilities, got {wrong} of {len(scores)} outside of 0..1 or NaN")
    n_top, n_qcd = int((label == 1).sum()), int((label == 0).sum())
    if not n_top or not n_qcd or n_top + n_qcd != len(label):
        raise ValueError(
            f"labels must hold both 1 (top) and 0 (QCD), got {n_top} and {n_qcd} of {len(label)}"
        )
    return scores, label
