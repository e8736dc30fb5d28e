import json
import re
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from equivariant import LieGNN, catalogue
from tasks import cli
from tasks.top_tagging import Jets, runner, write_shard
from tasks.top_tagging import study as study_file
from tasks.top_tagging.data.shards import shard_path
from tasks.top_tagging.discovery.jet_algebra import JetAlgebra
from tasks.top_tagging.study import TopTagging

pytest.importorskip("lightning_fabric", reason="a study needs the extra train: pip install 'liesmith[train]'")

SMALL = {
    "train": 24,
    "validation": 14,
    "test": 18,
    "curve": "12,24",
    "seeds": 2,
    "boosted": 6,
    "hidden": 4,
    "layers": 1,
}


class Trainer:
    """Trains nothing: moves the weights a little, by the seed."""

    made: list["Trainer"] = []  # noqa: RUF012
    broken = ""

    def __init__(self, **settings):
        vars(self).update(settings)

    def fit(self, model, train, validation, label):
        Trainer.made.append((label, train.digest, validation.digest, self.epochs))
        if Trainer.broken and label.startswith(Trainer.broken):
            raise FloatingPointError("the loss is nan at step 3")
        random = torch.Generator().manual_seed(self.seed)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=random))
        self.best_epoch_, self.seconds_, self.jets_per_second_ = 1, 0.5, 9.0
        self.history_ = [{"epoch": 1.0, "loss": 0.5}]


class Discovery:
    """Knows the answer, unless told that there is none."""

    metric = torch.diag(torch.tensor([1.0, -1.0, -1.0, -1.0]))
    asked: list[int] = []  # noqa: RUF012

    def __init__(self, *, leading, seed, progress):
        self.leading, self.seed = leading, seed

    def run(self, jets):
        Discovery.asked.append(len(jets))
        refused = {"metric_refused": "several are kept"} if self.metric is None else {}
        return JetAlgebra(algebra=catalogue.lorentz(), metric=self.metric, verdict=None, evidence=refused)


@pytest.fixture
def jets(tmp_path, some_jets, monkeypatch, caplog):
    """A folder of jets; whatever is trained or searched is a stub, and what is logged is kept."""
    caplog.set_level("INFO")
    monkeypatch.setattr(runner, "TaggerTrainer", Trainer)
    monkeypatch.setattr(runner, "JetDiscovery", Discovery)
    monkeypatch.setattr(Trainer, "made", [])
    monkeypatch.setattr(Trainer, "broken", "")
    monkeypatch.setattr(Discovery, "asked", [])
    write_shard(shard_path(tmp_path / "jets", 0), some_jets, {})
    return tmp_path / "jets"


def a_study(jets, name="out", **changes):
    return TopTagging(jets=jets, out=jets.parent / name, draws=10, progress=False, **SMALL | changes)


def test_every_row_size_and_seed_is_trained_on_training_jets_alone(jets, some_jets):
    outcome = a_study(jets).run()
    assert len(outcome.runs) == len(Trainer.made) == 5 * 2 * 2
    assert {digest for _, digest, _, _ in Trainer.made} == {some_jets[:12].digest, some_jets[:24].digest}
    chosen_by = {some_jets[24:36].digest, some_jets[24:38].digest}  # no more than are learned from
    assert {digest for _, _, digest, _ in Trainer.made} == chosen_by
    assert Discovery.asked == [12, 24, 12, 24]
    assert len(outcome.metrics) == 4
    assert torch.equal(outcome.label, some_jets[38:56].label.long())
    assert not outcome.missing
    moved = {run.train_jets: tuple(run.boosted_scores.shape) for run in outcome.runs}
    assert moved == {12: (2, 0, 0), 24: (2, 8, 6)}
    assert {epochs for _, _, _, epochs in Trainer.made} == {12, 17}


def test_what_is_done_is_not_done_again(jets, caplog):
    first = a_study(jets).run()
    Trainer.made.clear()
    caplog.clear()
    again = a_study(jets).run()
    assert not Trainer.made
    assert Discovery.asked == [12, 24, 12, 24]
    assert again.table.rows == first.table.rows
    assert sum("already there" in line for line in caplog.messages) == 20


def test_a_stopped_study_goes_on_where_it_was(jets, monkeypatch):
    class Stopped(Trainer):
        def fit(self, model, *rest, **named):
            if len(Trainer.made) == 3:
                raise KeyboardInterrupt
            super().fit(model, *rest, **named)

    monkeypatch.setattr(runner, "TaggerTrainer", Stopped)
    with pytest.raises(KeyboardInterrupt):
        a_study(jets).run()
    assert len(list((jets.parent / "out" / "scores").iterdir())) == 3
    monkeypatch.setattr(runner, "TaggerTrainer", Trainer)
    resumed, whole = a_study(jets).run(), a_study(jets, "other").run()
    assert resumed.table.rows == whole.table.rows


def test_processes_share_a_folder_by_seeds_or_rows(jets, caplog):
    a_study(jets, seed=0, seeds=1).run()
    part = a_study(jets, seed=1, seeds=1, rows="liegnn,lorentznet").run()
    assert len(part.runs) == 10 + 4
    gathered = a_study(jets, collect=True).run()
    assert len(gathered.runs) == 14
    assert len(gathered.missing) == 6
    assert any("6 trainings are missing" in line for line in caplog.messages)
    assert not a_study(jets, seed=1, seeds=1, rows="lorentznet-raw,egnn,transformer").run().missing
    whole = a_study(jets, collect=True).run()
    assert whole.table.rows == a_study(jets, "other").run().table.rows


CHANGES = {
    "epochs": ({"epochs": 3}, "epochs 12, not 3"),
    "network": ({"hidden": 8}, "hidden 4, not 8"),
    "discovery": ({"leading": 2}, "leading 10, not 2"),
    "sizes": ({"validation": 10}, "validation 14, not 10"),
}


@pytest.mark.parametrize(("change", "says"), CHANGES.values(), ids=CHANGES.keys())
def test_another_study_in_the_same_folder_is_refused_before_any_work(jets, change, says):
    a_study(jets, rows="egnn").run()
    Trainer.made.clear()
    with pytest.raises(ValueError, match=f"belongs to another run .*{says}.*--overwrite"):
        a_study(jets, rows="egnn", **change).run()
    assert not Trainer.made
    replaced = a_study(jets, rows="egnn", overwrite=True, **change).run()
    assert len(Trainer.made) == len(replaced.runs) == 4


def test_other_jets_in_the_same_folder_are_refused_before_any_work(jets, some_jets):
    a_study(jets, rows="egnn").run()
    Trainer.made.clear()
    swapped = Jets.join([some_jets[1], some_jets[0], some_jets[2:]])  # in the training set alone
    write_shard(shard_path(jets, 0), swapped, {})
    with pytest.raises(ValueError, match=r"belongs to another run .*train"):
        a_study(jets, rows="egnn").run()
    assert not Trainer.made


def test_a_study_that_overwrites_waits_for_nobody(jets):
    a_study(jets, rows="egnn").run()
    lock = (jets.parent / "out" / "run.lock").open()
    fcntl = pytest.importorskip("fcntl", reason="folders are locked on POSIX systems only")
    fcntl.flock(lock, fcntl.LOCK_SH)
    assert len(a_study(jets, rows="egnn").run().runs) == 4  # side by side, as documented
    with pytest.raises(BlockingIOError, match="in use"):
        a_study(jets, rows="egnn", overwrite=True).run()
    lock.close()


def test_without_a_metric_the_others_are_trained(jets, monkeypatch, caplog):
    monkeypatch.setattr(Discovery, "metric", None)
    outcome = a_study(jets).run()
    assert {run.row for run in outcome.runs} == {"LorentzNet", "LorentzNet, raw", "EGNN", "Transformer"}
    assert [line for line in outcome.missing if line.startswith("LieGNN")] == list(outcome.missing)
    assert any("several are kept" in line for line in caplog.messages)
    assert [found.metric for found in outcome.metrics] == [None] * 4


def test_a_training_that_diverges_does_not_stop_the_others(jets, caplog):
    Trainer.broken = "EGNN"
    outcome = a_study(jets).run()
    assert {run.row for run in outcome.runs if run.failed} == {"EGNN"}
    assert any("the loss is nan at step 3" in line for line in caplog.messages)
    assert "EGNN" not in outcome.final()
    Trainer.made.clear()
    a_study(jets).run()
    assert not Trainer.made


def test_the_published_network_is_a_row_of_its_own(jets, lorentznet_weights):
    outcome = a_study(jets, rows="lorentznet", weights=lorentznet_weights).run()
    run = next(run for run in outcome.runs if run.row == "LorentzNet, published")
    assert run.about["parameters"] == 224_072
    assert run.boosted_scores.shape == (2, 8, 6)
    assert torch.allclose(run.boosted_scores[0, 0], run.scores[:6], atol=1e-4)
    assert sum(run.row == "LorentzNet, published" for run in a_study(jets, collect=True).run().runs) == 1


@pytest.fixture
def lorentznet_weights(tmp_path):
    torch.manual_seed(0)
    form = torch.diag(torch.tensor([1.0, -1.0, -1.0, -1.0]))
    state = LieGNN(form, 2, dtype=torch.float64).state_dict()
    names = {"blocks.": "LGEBs.", "readout.": "graph_dec."}
    kept = {name: tensor for name, tensor in state.items() if not name.endswith("metrics")}
    for ours, theirs in names.items():
        kept = {name.replace(ours, theirs): tensor.contiguous() for name, tensor in kept.items()}
    save_file(kept, tmp_path / "weights.safetensors")
    return tmp_path / "weights.safetensors"


def test_presets_are_changed_by_what_is_given(tmp_path):
    quick = TopTagging(quick=True, epochs=3, train=700).plan()
    assert (quick.epochs, quick.train, quick.curve, quick.seeds) == (3, 700, (500, 700), 1)
    full = TopTagging(full=True).plan()
    assert (full.hidden, full.layers, full.precision, full.cap) == (72, 6, "bf16-mixed", 200)
    assert TopTagging(full=True).config()["accelerator"] == "auto"
    asked = TopTagging(quick=True, curve="100,700", jets=tmp_path / "mine", seed=4).config()
    assert asked["command"] == "liesmith top-tagging --jets mine --quick --curve 100,700 --seed 4"


def test_the_command_leaves_everything_in_one_folder(jets, capsys):
    small = [word for name, value in (SMALL | {"seeds": 1}).items() for word in (f"--{name}", str(value))]
    arguments = ["--jets", str(jets), "--out", str(jets.parent / "cli"), "--draws", "10", "--no-progress"]
    cli.main(["top-tagging", *arguments, *small, "--rows", "liegnn,lorentznet"])
    said = capsys.readouterr().out
    assert re.search(r"LorentzNet +24 +1 ", said)
    left = {path.name for path in (jets.parent / "cli").iterdir()}
    files = {"results.json", "results.csv", "histories.json", "report.html", "overview.png"}
    assert left == files | {"scores", "discovery", "run.json", "run.lock"}
    assert json.loads((jets.parent / "cli" / "results.json").read_text())["config"]["curve"] == [12, 24]


BAD = {
    "both presets": ({"quick": True, "full": True}, "exclude each other"),
    "an unknown tagger": ({"rows": "particlenet"}, "rows must be"),
    "no curve": ({"curve": "x"}, "curve must be"),
    "a curve beyond the jets": ({"curve": "12,30"}, "up to train = 24"),
    "no constituents": ({"leading": 0}, "leading must be at least 1"),
    "no test jets": ({"test": 0}, "test must be at least 1"),
    "too few jets": ({"test": 2000}, "leaves only 22 for test"),
    "no weights": ({"weights": Path("none.safetensors")}, "no weights at none"),
}


@pytest.mark.parametrize(("changes", "says"), BAD.values(), ids=BAD.keys())
def test_what_cannot_be_is_refused_before_any_work(jets, changes, says):
    with pytest.raises((ValueError, FileNotFoundError), match=says):
        a_study(jets, **changes).run()
    assert not Trainer.made
    assert not Discovery.asked


def test_test_jets_of_one_class_are_refused(jets, some_jets):
    tops = some_jets[some_jets.label == 1]
    write_shard(shard_path(jets, 0), Jets.join([some_jets[:38], tops[:18]]), {})
    with pytest.raises(ValueError, match="test needs top and QCD jets"):
        a_study(jets).run()


def test_an_absent_extra_is_named(jets, monkeypatch):
    monkeypatch.setattr(
        study_file, "find_spec", lambda name: None if name == "lightning_fabric" else find_spec(name)
    )
    with pytest.raises(ImportError, match=r"lightning-fabric: pip install 'liesmith\[train\]'"):
        a_study(jets).run()


def test_jets_are_generated_where_none_are_given(jets, monkeypatch, some_jets, caplog):
    asked = []

    class Generator:
        def __init__(self, **settings):
            self.settings = settings

        def run(self):
            asked.append((self.settings["shards"], self.settings["jets_per_shard"], self.settings["workers"]))
            write_shard(shard_path(self.settings["out"], 0), some_jets, {})

    monkeypatch.setattr(study_file, "JetGenerator", Generator)
    study = a_study(jets, rows="lorentznet", seeds=1, workers=3)
    study.jets = None
    assert len(study.run().runs) == 2
    assert asked == [("0..0", 250, 3)]
    assert caplog.messages[0].startswith("Generating 250 jets")
