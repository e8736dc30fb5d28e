import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import SINGLE

from tasks.top_tagging import Pad, write_shard
from tasks.top_tagging.tagging.models import TaggerSize, build_tagger
from tasks.top_tagging.tagging.trainer import TaggerTrainer

pytest.importorskip("lightning_fabric", reason="training needs the extra train")
pytestmark = pytest.mark.slow  # torchrun starts two processes that import everything

TWO = """
import sys, torch
from pathlib import Path
from tasks.top_tagging import load_jets
from tasks.top_tagging.tagging.engine import TaggerState
from tasks.top_tagging.tagging.models import TaggerSize, build_tagger
from tasks.top_tagging.tagging.trainer import TaggerTrainer
torch.set_num_threads(1)
folder, plain = Path(sys.argv[1]), TaggerState.step
train, validation = (load_jets(folder / f"{name}.safetensors") for name in ("train", "validation"))
for name in ("LorentzNet", "Transformer"):
    seen = []
    def watched(self, batch, *rest):
        seen.append(batch.p4[:, 2, 1].clone())
        plain(self, batch, *rest)
    TaggerState.step = watched
    model = build_tagger(name, TaggerSize(hidden=4, layers=2, heads=2))
    trainer = TaggerTrainer(epochs=2, batch_size=16, learning_rate=1e-2, cap=8, progress=False, devices=2)
    trainer.fit(model, train, validation)
    torch.save({"weights": model.state_dict(), "history": trainer.history_, "seen": torch.cat(seen)},
               folder / f"{name}-{torch.distributed.get_rank()}.pt")

def cut_off(self, batch, jets, number, rate):
    if number == 8:
        raise KeyboardInterrupt
    plain(self, batch, jets, number, rate)
trainer = TaggerTrainer(epochs=2, batch_size=16, learning_rate=1e-2, cap=8, progress=False, devices=2,
                        folder=folder / "cut", checkpoint_every=3)
for TaggerState.step in (cut_off, plain):
    model = build_tagger("LorentzNet", TaggerSize(hidden=4, layers=2, heads=2))
    try:
        trainer.fit(model, train, validation)
    except KeyboardInterrupt:
        print("cut off")
torch.save({"weights": model.state_dict(), "history": trainer.history_},
           folder / f"resumed-{torch.distributed.get_rank()}.pt")
"""


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory, train, validation):
    """What each of two processes started by torchrun ends with, by the tagger's name."""
    if not (torch.distributed.is_available() and torch.distributed.is_gloo_available()):
        pytest.skip("this torch has no gloo")
    folder = tmp_path_factory.mktemp("two")
    for name, jets in (("train", train), ("validation", validation)):
        write_shard(folder / f"{name}.safetensors", jets, {})
    script = folder / "two.py"
    script.write_text(TWO)
    root = Path(__file__).resolve().parents[4]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*command, str(script), str(folder)],
        capture_output=True,
        text=True,
        cwd=root,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(root)},
    )
    assert done.returncode == 0, done.stderr[:2000]
    assert done.stdout.count("cut off") == 2
    names = ("LorentzNet", "Transformer", "resumed")
    return {n: [torch.load(folder / f"{n}-{rank}.pt", weights_only=True) for rank in (0, 1)] for n in names}


@pytest.mark.parametrize("name", ["LorentzNet", "Transformer"])
def test_two_processes_share_every_batch_and_end_alike(name, two_processes, train):
    first, second = two_processes[name]
    assert all(torch.equal(first["weights"][key], second["weights"][key]) for key in first["weights"])
    assert [row["loss"] for row in first["history"]] == [row["loss"] for row in second["history"]]
    assert len(first["seen"]) == len(second["seen"]) == 70  # 35 of 70 jets in each of two epochs
    seen = torch.cat([first["seen"].view(2, 35), second["seen"].view(2, 35)], 1)
    every = Pad(cap=8, dtype=torch.float32)(train).p4[:, 2, 1].sort().values
    assert all(torch.equal(row.sort().values, every) for row in seen)


def test_two_processes_that_were_cut_off_go_on_to_the_same_end(two_processes):
    """From the sixth step, in the middle of the second epoch: with dropout and batch norm, to the last bit."""
    for rank in (0, 1):
        whole, resumed = two_processes["LorentzNet"][rank], two_processes["resumed"][rank]
        assert all(torch.equal(whole["weights"][key], resumed["weights"][key]) for key in whole["weights"])
        for one, two in zip(whole["history"], resumed["history"], strict=True):
            assert {k: v for k, v in one.items() if k != "jets_per_second"} == {
                k: v for k, v in two.items() if k != "jets_per_second"
            }


def test_without_batch_norm_two_processes_do_what_one_does(two_processes, train, validation):
    model = build_tagger("Transformer", TaggerSize(hidden=4, layers=2, heads=2))
    settings = {"epochs": 2, "batch_size": 16, "learning_rate": 1e-2, "cap": 8, "progress": False}
    alone = TaggerTrainer(**settings).fit(model, train, validation)
    for one, two in zip(alone.history_, two_processes["Transformer"][0]["history"], strict=True):
        assert two["loss"] == pytest.approx(one["loss"], rel=SINGLE)
        assert two["validation_loss"] == pytest.approx(one["validation_loss"], rel=SINGLE)
