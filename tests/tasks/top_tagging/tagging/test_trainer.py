import signal
import sys
from pathlib import Path

import pytest
import torch
from conftest import SINGLE
from safetensors.torch import load_file

from tasks.top_tagging import Jets, Pad
from tasks.top_tagging.tagging.engine import TaggerState
from tasks.top_tagging.tagging.models import TaggerSize, build_tagger
from tasks.top_tagging.tagging.trainer import TaggerTrainer, tagger_scores

pytest.importorskip("lightning_fabric", reason="training needs the extra train")

SIZE = TaggerSize(hidden=4, layers=2, dropout=0.2, heads=2)


def tagger(name="LorentzNet", seed=0):
    return build_tagger(name, SIZE, seed=seed)


def trainer(**changes):
    settings = {"epochs": 3, "batch_size": 16, "learning_rate": 1e-2, "cap": 8, "progress": False}
    return TaggerTrainer(**(settings | changes))


def timeless(history):
    return [{key: row[key] for key in row if key != "jets_per_second"} for row in history]


def same(one, other):
    one, other = one.state_dict(), other.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("name", ["LorentzNet", "Transformer"])
def test_it_learns_and_keeps_the_best_epoch(name, train, validation):
    model = tagger(name)
    done = trainer(epochs=8).fit(model, train, validation)
    scores = tagger_scores(model, validation, cap=8, batch_size=7)
    right = ((scores > 0.5) == validation.label.bool()).double().mean()
    best = done.history_[done.best_epoch_ - 1]
    assert float(right) == pytest.approx(best["validation_accuracy"])
    assert best["validation_auc"] == max(row["validation_auc"] for row in done.history_) > 0.9
    assert done.history_[-1]["loss"] < done.history_[0]["loss"]
    assert done.seconds_ > 0
    assert done.jets_per_second_ > 0
    assert done.skipped_.jets == 70
    assert not model.training


def test_scores_keep_the_order_of_jets(train):
    model = tagger()
    together = tagger_scores(model, train, cap=8, batch_size=11)
    assert together.dtype == torch.float64
    assert torch.allclose(together, torch.cat([tagger_scores(model, train[i], cap=8) for i in range(70)]))
    assert len(tagger_scores(model, Jets.empty())) == 0
    with pytest.raises(ValueError, match="cap and batch_size must be at least 1, got 0"):
        tagger_scores(model, train, cap=0)


def test_the_same_seed_gives_the_same_weights(train, validation):
    models = [tagger() for _ in range(3)]
    before = torch.random.get_rng_state()
    for model, seed in zip(models, (0, 0, 1), strict=True):
        torch.rand(3)  # what the global generator holds is of no matter
        trainer(seed=seed).fit(model, train, validation)
    assert same(models[0], models[1])
    assert not same(models[0], models[2])
    torch.random.set_rng_state(before)
    trainer().fit(tagger(), train, validation)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("cut", [1, 4, 5, 12])
def test_ctrl_c_waits_for_the_step_and_the_same_call_goes_on(cut, tmp_path, train, validation, monkeypatch):
    whole, again = tagger(), tagger()
    history = trainer().fit(whole, train, validation).history_
    plain, steps = TaggerState.step, []

    def interrupted(self, *arguments):
        steps.append(1)
        if len(steps) == cut:
            signal.raise_signal(signal.SIGINT)
        plain(self, *arguments)

    monkeypatch.setattr(TaggerState, "step", interrupted)
    with pytest.raises(KeyboardInterrupt):
        trainer(folder=tmp_path).fit(again, train, validation)
    assert len(steps) == cut
    resumed = trainer(folder=tmp_path).fit(again, train, validation)
    assert len(steps) == 15  # nothing was done twice
    assert timeless(resumed.history_) == timeless(history)
    assert same(whole, again)


def test_a_run_killed_in_a_step_goes_on_from_its_last_checkpoint(tmp_path, train, validation, monkeypatch):
    whole, again = tagger(), tagger()
    history = trainer().fit(whole, train, validation).history_
    plain, steps = TaggerState.step, []

    def killed(self, *arguments):
        steps.append(1)
        plain(self, *arguments)
        if len(steps) in (2, 9, 16):
            raise KeyboardInterrupt

    monkeypatch.setattr(TaggerState, "step", killed)
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            trainer(folder=tmp_path, checkpoint_every=3).fit(again, train, validation)
    resumed = trainer(folder=tmp_path).fit(again, train, validation)
    assert timeless(resumed.history_) == timeless(history)
    assert same(whole, again)


def test_a_finished_run_is_read_and_a_foreign_one_refused(tmp_path, train, validation):
    done = trainer(folder=tmp_path).fit(tagger(), train, validation)
    other = tagger(seed=1)
    again = trainer(folder=tmp_path, checkpoint_every=7).fit(other, train, validation)
    assert again.history_ == done.history_
    assert again.best_epoch_ == done.best_epoch_
    with pytest.raises(ValueError, match="other settings or data"):
        trainer(folder=tmp_path, ema=0.5).fit(tagger(), train, validation)
    with pytest.raises(ValueError, match="other settings or data"):  # the same shape, another metric
        trainer(folder=tmp_path).fit(tagger("EGNN"), train, validation)


def test_curves_are_written(tmp_path, train, validation):
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    done = trainer(folder=tmp_path).fit(tagger(), train, validation, "LorentzNet, seed 0")
    events = reader.EventAccumulator(str(tmp_path / "LorentzNet-seed-0")).Reload()
    found = [event.value for event in events.Scalars("validation_auc")]
    assert found == pytest.approx([row["validation_auc"] for row in done.history_])


def test_training_ends_when_it_no_longer_gets_better(train, validation):
    early = trainer(epochs=40, patience=2, learning_rate=3e-2).fit(model := tagger(), train, validation)
    assert len(early.history_) == early.best_epoch_ + 2 < 40
    scores = tagger_scores(model, validation, cap=8)
    right = ((scores > 0.5) == validation.label.bool()).double().mean()
    assert float(right) == pytest.approx(early.history_[early.best_epoch_ - 1]["validation_accuracy"])


def test_averaged_weights_follow_the_formula(train):
    """The weights kept are the average over steps, made anew here from the weights after every step."""
    seen, model = [], tagger()
    plain = TaggerState.step

    def watched(self, *arguments):
        plain(self, *arguments)
        seen.append({name: tensor.clone() for name, tensor in self.tagger.state_dict().items()})

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TaggerState, "step", watched)
        trainer(ema=0.4).fit(model, train)
    for name, kept in model.state_dict().items():
        if not kept.is_floating_point():
            continue
        average = seen[0][name]
        for t, state in enumerate(seen[1:], 1):
            past = min(0.4, (1 + t) / (10 + t))
            average = past * average + (1 - past) * state[name]
        assert torch.allclose(kept, average, rtol=SINGLE, atol=SINGLE), name
    assert not torch.allclose(
        model.net.readout[0].weight, seen[-1]["net.readout.0.weight"], rtol=0, atol=1e-6
    )
    trainer(ema=None).fit(other := tagger(), train)
    assert torch.isfinite(tagger_scores(other, train, cap=8)).all()


def test_the_rate_rises_and_falls():
    one = trainer(epochs=10, warmup=2, learning_rate=1.0)
    assert [one.rate(t) for t in (0.5, 1, 2, 6, 10)] == pytest.approx([0.25, 0.5, 1, 0.5, 0])


def test_odd_jets_are_counted_and_odd_sets_have_their_sentence(train, validation, jets):
    both = Jets.join([train, jets])
    done = trainer(epochs=1, batch_size=500, cap=3).fit(tagger(), both, validation)
    assert (done.skipped_.empty, done.skipped_.single) == (1, 1)
    assert done.skipped_.over_cap == int((both.counts > 3).sum())
    same_without = trainer(epochs=1, batch_size=500, cap=3).fit(tagger(), both[both.counts > 0], validation)
    assert timeless(same_without.history_) == timeless(done.history_)
    tops = train[train.label == 1]
    one_class = trainer(patience=1).fit(tagger(), train, tops)
    losses = [row["validation_loss"] for row in one_class.history_]
    assert one_class.best_epoch_ == 1 + losses.index(min(losses))
    assert "validation_loss" not in trainer(patience=1).fit(tagger(), train).history_[-1]
    for bad in (Jets.empty(), tops, jets[[2, 2]]):
        with pytest.raises(ValueError, match="training jets of both classes"):
            trainer().fit(tagger(), bad, validation)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"epochs": 0}, "epochs must be positive, got 0"),
        ({"batch_size": -1}, "batch_size must be positive"),
        ({"warmup": -1.0}, "warmup must not be negative, got -1"),
        ({"clip": 0.0}, "clip must be positive or None"),
        ({"ema": 1.0}, "ema must be at least 0 and below 1"),
        ({"precision": "16"}, "unknown precision '16'; choose from"),
    ],
)
def test_settings_out_of_range_are_told(changes, sentence, train):
    with pytest.raises(ValueError, match=sentence):
        trainer(**changes).fit(tagger(), train)


def test_a_broken_loss_stops_before_the_step_and_its_batch_is_kept(tmp_path, train, validation, monkeypatch):
    plain = Pad.__call__

    def broken(self, jets):
        batch = plain(self, jets)
        batch.p4[1, 3, 0] = float("nan") if len(jets) < 16 else 0.0
        return batch

    monkeypatch.setattr(Pad, "__call__", broken)
    model = tagger()
    with pytest.raises(FloatingPointError, match=r"loss nan.*safetensors.*lower learning_rate") as error:
        trainer(folder=tmp_path).fit(model, train, validation)
    path = next(Path(word.rstrip(";")) for word in str(error.value).split() if ".safetensors" in word)
    kept = load_file(path)
    assert kept.keys() == {"p4", "mask", "scalars", "label"}
    assert torch.isnan(kept["p4"][1, 3, 0])
    assert all(torch.isfinite(parameter).all() for parameter in model.parameters())


def test_a_package_that_is_missing_has_its_extra_named(train, monkeypatch):
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    with pytest.raises(ImportError, match=r"liesmith\[train\]"):
        trainer().fit(tagger(), train)


@pytest.mark.parametrize("precision", ["bf16-mixed", "64-true"])
@pytest.mark.parametrize("name", ["LorentzNet", "LorentzNet, raw", "Transformer"])
def test_other_precisions_come_to_the_same_place(name, precision, train, validation):
    plain = trainer(epochs=6).fit(tagger(name), train, validation)
    other = trainer(epochs=6, precision=precision).fit(model := tagger(name), train, validation)
    assert next(model.parameters()).dtype == (torch.float64 if precision == "64-true" else torch.float32)
    assert tagger_scores(model, validation, cap=8).dtype == torch.float64
    losses = [done.history_[-1]["validation_loss"] for done in (plain, other)]
    assert losses[1] == pytest.approx(losses[0], abs=0.1)
