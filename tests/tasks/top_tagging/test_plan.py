from dataclasses import replace

import pytest

from tasks.top_tagging.plan import FULL, QUICK, USUAL, parse_curve, parse_rows
from tasks.top_tagging.tagging.models import TAGGERS


@pytest.mark.parametrize("plan", [QUICK, USUAL, FULL])
def test_presets_hold_together(plan):
    plan.check()
    assert plan.curve[-1] == plan.train
    assert plan.epochs_of(plan.train) == plan.epochs


def test_fewer_jets_are_seen_more_often_but_not_in_more_steps():
    assert USUAL.epochs_of(5_000) == 2 * USUAL.epochs
    steps = [size * USUAL.epochs_of(size) for size in USUAL.curve]
    assert steps == sorted(steps)


def test_rows_are_named_with_or_without_commas_of_their_own():
    assert parse_rows("all") == TAGGERS
    assert parse_rows("transformer, LorentzNet-raw,liegnn") == ("LieGNN", "LorentzNet, raw", "Transformer")
    with pytest.raises(ValueError, match="LorentzNet-raw"):
        parse_rows("liegnn,particlenet")
    with pytest.raises(ValueError, match="rows must be"):
        parse_rows("")


def test_a_curve_is_read_in_any_order():
    assert parse_curve("5000, 1000,5000") == (1000, 5000)
    for text in ("", "a", "0,5", "1.5"):
        with pytest.raises(ValueError, match="curve must be sizes"):
            parse_curve(text)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"test": 0}, "test"),
        ({"epochs": -1}, "epochs"),
        ({"boosted": -1}, "boosted"),
        ({"train": 10}, "curve"),
    ],
)
def test_sizes_that_cannot_be_are_refused(change, says):
    with pytest.raises(ValueError, match=says):
        replace(USUAL, **change).check()
