"""What scores of a tagger are worth: accuracy, AUC, background rejection 1/eps_B and calibration, with intervals.

Intervals are central 90 % of a bootstrap over the test jets, stratified by class; draws are the same for all
scores of the same jets and seed, so differences between two taggers are paired. They know nothing of how a
figure changes from one training to the next.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from discover.validation.evidence import Estimate

__all__ = [
    "DRAWS",
    "EFFICIENCIES",
    "FEW",
    "Curve",
    "Measures",
    "Rejection",
    "auc_difference",
    "calibration",
    "measure",
    "roc",
]

EFFICIENCIES = (0.3, 0.5)  # of top jets, where background rejections are quoted
DRAWS = 500
BINS = 15
FEW = 10  # background jets below which a rejection is only bounded
CHUNK = 4_000_000  # numbers of one block of draws


@dataclass(frozen=True, kw_only=True)
class Rejection:
    """1/eps_B where ``efficiency`` of the top jets pass.

    ``estimate`` has infinite parts where no QCD jet passes; ``passed`` of ``background`` QCD jets do. ``at_least``
    is the one-sided 95 % lower bound of Clopper and Pearson (1934), finite always.
    """

    efficiency: float
    estimate: Estimate
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
    accuracy: Estimate
    auc: Estimate
    rejections: tuple[Rejection, ...]
    calibration_error: Estimate


@dataclass(frozen=True, kw_only=True, eq=False)
class Curve:
    """Points of a line, ``x`` and ``y`` (m,)."""

    x: Tensor
    y: Tensor


def measure(scores: Tensor, label: Tensor, *, draws: int = DRAWS, seed: int = 0) -> Measures:
    """All measures of scores (n,), probabilities of top, against labels (n,), 1 for top and 0 for QCD.

    Raises ``ValueError`` for scores that are no probabilities (NaN too), other labels, or one class only;
    ``ImportError`` without scikit-learn.
    """
    scores, label = _checked(scores, label)
    ranked = _Ranked(scores, label)
    exact = ranked.statistics(torch.ones(1, len(label), dtype=torch.float64))
    drawn = [ranked.statistics(counts) for counts in _resampled(label, draws, seed)]
    spread = {name: torch.cat([part[name] for part in drawn], dim=-1) for name in exact}
    curve, area = roc(scores, label), _area(scores, label)
    return Measures(
        jets=len(label),
        accuracy=_estimate(float(exact["accuracy"]), spread["accuracy"]),
        auc=_estimate(area, spread["auc"]),
        rejections=tuple(
            _rejection(efficiency, curve, label, spread["background"][i])
            for i, efficiency in enumerate(EFFICIENCIES)
        ),
        calibration_error=_reflected(float(exact["calibration_error"]), spread["calibration_error"]),
    )


def auc_difference(
    scores: Tensor, others: Tensor, label: Tensor, *, draws: int = DRAWS, seed: int = 0
) -> Estimate:
    """AUC of ``scores`` minus AUC of ``others`` on the same jets, with the interval of a paired bootstrap.

    Both (n,), or (s, n) of s trainings each, whose mean AUCs are compared. Raises as ``measure``.
    """
    label = _checked(scores.reshape(-1, len(label))[0], label)[1]
    sides = [
        [_Ranked(*_checked(row, label)) for row in side.reshape(-1, len(label))] for side in (scores, others)
    ]

    def difference(counts: Tensor) -> Tensor:
        mine, theirs = (torch.stack([ranked.area(counts) for ranked in side]).mean(0) for side in sides)
        return mine - theirs

    value = difference(torch.ones(1, len(label), dtype=torch.float64))
    spread = torch.cat([difference(counts) for counts in _resampled(label, draws, seed)])
    return _estimate(float(value), spread)


def roc(scores: Tensor, label: Tensor) -> Curve:
    """Efficiency of top (x) and of QCD (y) at every threshold from the highest down; ties pass together."""
    scores, label = _checked(scores, label)
    false, true, _ = _metrics().roc_curve(label.numpy(), scores.numpy(), drop_intermediate=False)
    return Curve(x=torch.from_numpy(true), y=torch.from_numpy(false))


def calibration(scores: Tensor, label: Tensor, bins: int = BINS) -> Curve:
    """Mean score (x) and share of top jets (y) in ``bins`` equal intervals of the score; empty ones are left out."""
    _metrics()
    from sklearn.calibration import calibration_curve

    scores, label = _checked(scores, label)
    share, mean = calibration_curve(label.numpy(), scores.numpy(), n_bins=bins, strategy="uniform")
    return Curve(x=torch.from_numpy(mean), y=torch.from_numpy(share))


class _Ranked:
    """Scores put in falling order once, so that statistics of resampled jets are cumulative sums."""

    def __init__(self, scores: Tensor, label: Tensor):
        self.order = scores.argsort(descending=True, stable=True)
        ranked = scores[self.order]
        last = torch.ones(len(ranked), dtype=torch.bool)
        last[:-1] = ranked[1:] != ranked[:-1]
        self.ends = last.nonzero()[:, 0]  # jets of like score pass together
        self.top = label[self.order].double()
        self.right = ((scores > 0.5) == label.bool()).double()
        inside = (scores * BINS).long().clamp(max=BINS - 1)
        self.excess = torch.zeros(len(scores), BINS, dtype=torch.float64)
        self.excess[torch.arange(len(scores)), inside] = label - scores

    def statistics(self, counts: Tensor) -> dict[str, Tensor]:
        """Of jets taken ``counts`` (d, n) times each; (d,), and background efficiencies (e, d)."""
        top, qcd = self._efficiencies(counts)
        n = counts.sum(1)
        passing = [self._background(top, qcd, efficiency) for efficiency in EFFICIENCIES]
        return {
            "accuracy": counts @ self.right / n,
            "auc": _trapezoids(top, qcd),
            "background": torch.stack(passing),
            "calibration_error": (counts @ self.excess).abs().sum(1) / n,
        }

    def area(self, counts: Tensor) -> Tensor:
        """AUC (d,) of jets taken ``counts`` (d, n) times each."""
        return _trapezoids(*self._efficiencies(counts))

    def _efficiencies(self, counts: Tensor) -> tuple[Tensor, Tensor]:
        """Of top and QCD (d, m) at every threshold from the highest down."""
        ranked = counts[:, self.order]
        top = (ranked * self.top).cumsum(1)
        every = ranked.cumsum(1)
        qcd = every - top
        return top[:, self.ends] / top[:, -1:], qcd[:, self.ends] / qcd[:, -1:]

    @staticmethod
    def _background(top: Tensor, qcd: Tensor, efficiency: float) -> Tensor:
        wanted = torch.full_like(top[:, :1], efficiency - 1e-12)
        first = torch.searchsorted(top.contiguous(), wanted)
        return qcd.gather(1, first)[:, 0]


def _trapezoids(top: Tensor, qcd: Tensor) -> Tensor:
    """Area under top efficiency against QCD efficiency (d, m), both rising from 0."""
    width = qcd.diff(dim=1, prepend=torch.zeros_like(qcd[:, :1]))
    before = torch.cat([torch.zeros_like(top[:, :1]), top[:, :-1]], dim=1)
    return (width * (top + before)).sum(1) / 2


def _resampled(label: Tensor, draws: int, seed: int) -> Iterator[Tensor]:
    """How often each jet is drawn, blocks of (d, n) float64; every draw has as many of a class as there are."""
    if draws < 1:
        raise ValueError(f"draws must be at least 1, got {draws}")
    random = torch.Generator().manual_seed(seed)
    members = [(label == kind).nonzero()[:, 0] for kind in (0, 1)]
    size = max(1, min(50, CHUNK // len(label)))
    for begin in range(0, draws, size):
        counts = torch.zeros(min(size, draws - begin), len(label), dtype=torch.float64)
        for own in members:
            drawn = own[torch.randint(len(own), (len(counts), len(own)), generator=random)]
            counts.scatter_add_(1, drawn, torch.ones_like(drawn, dtype=torch.float64))
        yield counts


def _rejection(efficiency: float, curve: Curve, label: Tensor, spread: Tensor) -> Rejection:
    from scipy.stats import beta

    background = int((label == 0).sum())
    share = float(curve.y[int((curve.x >= efficiency - 1e-12).nonzero()[0, 0])])
    passed = round(share * background)
    most = 1.0 if passed == background else float(beta.ppf(0.95, passed + 1, background - passed))
    low, high = spread.quantile(torch.tensor([0.05, 0.95]).to(spread)).tolist()
    return Rejection(
        efficiency=efficiency,
        estimate=Estimate(*(1 / part if part else float("inf") for part in (share, high, low))),
        passed=passed,
        background=background,
        at_least=1 / most,
    )


def _estimate(value: float, spread: Tensor) -> Estimate:
    low, high = spread.quantile(torch.tensor([0.05, 0.95]).to(spread)).tolist()
    return Estimate(value, low, high)


def _reflected(value: float, spread: Tensor) -> Estimate:
    """The basic bootstrap: draws of an absolute value lie above it by as much as it lies above the truth."""
    plain = _estimate(value, spread)
    return Estimate(value, max(0.0, 2 * value - plain.high), max(value, 2 * value - plain.low))


def _area(scores: Tensor, label: Tensor) -> float:
    return float(_metrics().roc_auc_score(label.numpy(), scores.numpy()))


def _metrics() -> Any:
    try:
        from sklearn import metrics
    except ImportError as error:
        raise ImportError(
            f"measures of taggers need scikit-learn ({error}); pip install 'liesmith[train]'"
        ) from None
    return metrics


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
