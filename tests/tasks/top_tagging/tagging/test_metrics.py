import math

import numpy as np
import pytest
import torch
from conftest import EXACT

from tasks.top_tagging.tagging.metrics import EFFICIENCIES, auc, auc_difference, calibration, measure, roc


def sample(n=400, shift=1.0, seed=0, digits=None):
    """Scores and labels of a calibrated test: logit ~ N(+-shift^2/2, shift^2)."""
    random = torch.Generator().manual_seed(seed)
    label = torch.arange(n) % 2
    logit = shift * torch.randn(n, generator=random, dtype=torch.float64) + (label - 0.5) * shift**2
    scores = logit.sigmoid()
    return (scores if digits is None else scores.round(decimals=digits)), label


def brute_auc(scores, label):
    top, qcd = scores[label == 1][:, None], scores[label == 0]
    return float(((top > qcd).double() + 0.5 * (top == qcd).double()).mean())


def brute_background(scores, label, efficiency):
    for threshold in sorted(set(scores.tolist()), reverse=True):
        if float((scores[label == 1] >= threshold).double().mean()) >= efficiency - 1e-12:
            return float((scores[label == 0] >= threshold).double().mean())
    raise AssertionError("the lowest threshold lets all pass")


@pytest.mark.parametrize("digits", [None, 1], ids=["plain", "ties"])
def test_measures_against_brute_force(digits):
    scores, label = sample(digits=digits)
    found = measure(scores, label, draws=20)
    assert found.jets == 400
    assert found.auc.value == pytest.approx(brute_auc(scores, label), abs=EXACT)
    assert found.accuracy.value == pytest.approx(float(((scores > 0.5) == (label == 1)).double().mean()))
    for efficiency, rejection in zip(EFFICIENCIES, found.rejections, strict=True):
        passing = brute_background(scores, label, efficiency)
        assert rejection.estimate.value == pytest.approx(1 / passing)
        assert rejection.passed == round(200 * passing)
        low, high = rejection.estimate.low, rejection.estimate.high
        assert 1 <= low <= rejection.estimate.value <= high
        assert rejection.at_least < rejection.estimate.value


def test_calibration_error_against_brute_force():
    scores, label = sample(shift=2.0)
    scores = scores**2  # no longer calibrated
    error = 0.0
    for i in range(15):
        inside = (scores >= i / 15) & (scores < (i + 1) / 15)
        if inside.any():
            gap = label[inside].double().mean() - scores[inside].mean()
            error += float(gap.abs() * inside.double().mean())
    assert measure(scores, label, draws=5).calibration_error.value == pytest.approx(error, abs=EXACT)
    curve = calibration(scores, label)
    assert bool((curve.y >= curve.x).all())


def test_a_normal_shift_has_the_known_auc():
    scores, label = sample(n=20_000, shift=1.5, seed=1)
    found = measure(scores, label)
    truth = 0.5 * (1 + math.erf(1.5 / 2))  # Phi(shift / sqrt 2)
    assert found.auc.low < truth < found.auc.high
    assert found.calibration_error.low < 0.005  # the truth is 0
    # the standard error of Hanley and McNeil (1982)
    q1, q2 = truth / (2 - truth), 2 * truth**2 / (1 + truth)
    error = math.sqrt((truth * (1 - truth) + 9_999 * (q1 + q2 - 2 * truth**2)) / 1e8)
    assert found.auc.high - found.auc.low == pytest.approx(2 * 1.645 * error, rel=0.2)


@pytest.mark.parametrize("digits", [None, 1], ids=["plain", "ties"])
def test_one_draw_is_the_measure_of_the_jets_that_were_drawn(digits):
    """With one draw the interval is a point: that of as many tops and QCD jets, drawn here in the same order."""
    scores, label = sample(n=200, digits=digits)
    rng = torch.Generator().manual_seed(3)
    classes = [(label == kind).nonzero()[:, 0] for kind in (0, 1)]
    drawn = torch.cat([own[torch.randint(100, (100,), generator=rng)] for own in classes])
    found = measure(scores, label, draws=1, seed=3)
    assert found.auc.low == found.auc.high == pytest.approx(brute_auc(scores[drawn], label[drawn]), abs=EXACT)
    for efficiency, rejection in zip(EFFICIENCIES, found.rejections, strict=True):
        passing = brute_background(scores[drawn], label[drawn], efficiency)
        assert rejection.estimate.low == pytest.approx(1 / passing)


@pytest.mark.parametrize("digits", [None, 1], ids=["plain", "ties"])
def test_curves_and_areas_are_those_of_scikit_learn(digits):
    metrics = pytest.importorskip("sklearn.metrics", reason="scikit-learn is not installed")
    from sklearn.calibration import calibration_curve

    scores, label = sample(digits=digits)
    false, true, _ = metrics.roc_curve(label.numpy(), scores.numpy(), drop_intermediate=False)
    curve = roc(scores, label)
    assert curve.x.tolist() == pytest.approx(true.tolist())
    assert curve.y.tolist() == pytest.approx(false.tolist())
    assert auc(scores, label) == pytest.approx(
        metrics.roc_auc_score(label.numpy(), scores.numpy()), abs=EXACT
    )
    share, mean = calibration_curve(label.numpy(), scores.numpy(), n_bins=7)
    assert calibration(scores, label, 7).x.tolist() == pytest.approx(mean.tolist())
    assert calibration(scores, label, 7).y.tolist() == pytest.approx(share.tolist())


def test_an_auc_needs_both_classes_and_numbers():
    assert math.isnan(auc(torch.rand(9), torch.ones(9)))
    assert math.isnan(auc(torch.tensor([0.1, math.nan]), torch.tensor([0, 1])))
    assert auc(torch.tensor([175.0, 75.0, 80.0]), torch.tensor([1, 0, 1])) == 1  # a mass is a score, too


def test_nothing_passing_is_a_bound_not_infinity():
    label = torch.arange(200) % 2
    rejection = measure(label.double() * 0.8 + 0.1, label, draws=10).rejections[0]
    assert rejection.estimate.value == math.inf
    assert rejection.few
    assert rejection.at_least == pytest.approx(1 / (1 - 0.05 ** (1 / 100)))
    assert str(rejection).startswith("> 34 (0 of 100")


def test_all_passing_is_a_rejection_of_one():
    label = torch.arange(200) % 2
    rejection = measure(torch.full((200,), 0.5), label, draws=10).rejections[0]
    assert (rejection.estimate.value, rejection.at_least) == (1.0, 1.0)
    assert measure(torch.full((200,), 0.5), label, draws=10).auc.value == 0.5


def test_the_same_seed_gives_the_same_intervals():
    scores, label = sample()
    assert measure(scores, label, draws=30) == measure(scores, label, draws=30)
    assert measure(scores, label, draws=30) != measure(scores, label, draws=30, seed=1)


def test_the_paired_difference_is_sharper_than_two_intervals():
    scores, label = sample(n=2000)
    other = (scores.logit() + 0.1 * torch.randn(2000, generator=torch.Generator().manual_seed(5))).sigmoid()
    difference = auc_difference(scores, other, label)
    alone = measure(scores, label).auc
    assert difference.value == pytest.approx(brute_auc(scores, label) - brute_auc(other, label), abs=EXACT)
    assert difference.high - difference.low < 0.4 * (alone.high - alone.low)
    same = auc_difference(scores, scores, label, draws=20)
    assert (same.value, same.low, same.high) == (0, 0, 0)


def test_the_difference_of_several_trainings_is_of_their_means():
    label = sample()[1]
    mine = torch.stack([sample(seed=s)[0] for s in (1, 2)])
    theirs = torch.stack([sample(seed=s, shift=0.5)[0] for s in (3, 4, 5)])
    expected = np.mean([brute_auc(s, label) for s in mine]) - np.mean([brute_auc(s, label) for s in theirs])
    assert auc_difference(mine, theirs, label, draws=5).value == pytest.approx(expected, abs=EXACT)


def test_the_curve_begins_and_ends_at_the_corners():
    curve = roc(*sample())
    assert (float(curve.x[0]), float(curve.y[0])) == (0, 0)
    assert (float(curve.x[-1]), float(curve.y[-1])) == (1, 1)
    assert bool((curve.x.diff() >= 0).all())


NAN = torch.full((4,), float("nan"))
BAD = {
    "NaN": (NAN, torch.tensor([0, 1, 0, 1]), "4 of 4"),
    "logits": (torch.tensor([-3.0, 4.0]), torch.tensor([0, 1]), "probabilities"),
    "one class": (torch.tensor([0.1, 0.2]), torch.tensor([1, 1]), "2 and 0"),
    "no jets": (torch.zeros(0), torch.zeros(0), "0 and 0"),
    "another label": (torch.tensor([0.1, 0.2, 0.3]), torch.tensor([0, 1, 2]), "1 and 1 of 3"),
    "two columns": (torch.rand(3, 2), torch.tensor([0, 1, 1]), r"\(3, 2\)"),
}


@pytest.mark.parametrize(("scores", "label", "says"), BAD.values(), ids=BAD.keys())
def test_what_cannot_be_measured_is_refused(scores, label, says):
    with pytest.raises(ValueError, match=says):
        measure(scores, label)
