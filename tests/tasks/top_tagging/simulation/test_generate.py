"""Shards and the command that makes them; the tests that generate skip without the extra ``jets``."""

import math
from importlib.util import find_spec
from queue import Queue
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from tasks import cli
from tasks.top_tagging import load_jets, read_shard
from tasks.top_tagging.data.shards import shard_path, write_shard
from tasks.top_tagging.simulation import generate as generator_module
from tasks.top_tagging.simulation.detector import Objects
from tasks.top_tagging.simulation.generate import NEEDED, JetGenerator, Recipe, parse_shards
from tasks.top_tagging.simulation.pythia import Events, collisions
from tasks.top_tagging.simulation.selection import Selection

needs_extra = pytest.mark.skipif(
    any(find_spec(name) is None for name in NEEDED), reason="generating needs pip install 'liesmith[jets]'"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A small shard, made by the command in another process."""
    out = tmp_path_factory.mktemp("jets")
    cli.main(["jets", "--out", str(out), "--shards", "1", "--jets-per-shard", "4", "--no-progress"])
    return out


@pytest.mark.parametrize(("text", "numbers"), [("0..2", [0, 1, 2]), ("7", [7]), ("5..5", [5])])
def test_a_range_holds_both_ends(text, numbers):
    assert list(parse_shards(text)) == numbers


@pytest.mark.parametrize("text", ["", "3..1", "-1..2", "a..b", "1..2..3", "0-9", "1.5", "1_0", "3.."])
def test_another_range_is_refused(text):
    with pytest.raises(ValueError, match=r"0\.\.9"):
        parse_shards(text)


def test_a_range_beyond_the_last_shard_is_refused_at_once(tmp_path, capsys):
    with pytest.raises(SystemExit):
        cli.main(["jets", "--out", str(tmp_path), "--shards", "0..99999999999"])
    assert "numbered 0 to 99999" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "says"), [({"jets": 5}, "even"), ({"jets": 0}, "even"), ({"seed": -1}, "seed")]
)
def test_recipes_that_cannot_be_are_refused(change, says):
    with pytest.raises(ValueError, match=says):
        Recipe(**change)


def test_without_the_extra_the_install_line_is_given(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(generator_module, "find_spec", lambda name: None)
    with pytest.raises(SystemExit) as end:
        cli.main(["jets", "--out", str(tmp_path)])
    said = capsys.readouterr().err
    assert end.value.code == 2
    assert "pip install 'liesmith[jets]'" in said
    assert len(said.strip().splitlines()) == 1


def test_no_workers_are_refused(tmp_path):
    with pytest.raises(ValueError, match="worker"):
        JetGenerator(out=tmp_path, workers=0).run()


def jets_of(*towers, partons=None):
    """Objects (pT, eta, phi) of one event, and the event."""
    pt, eta, phi = np.array(towers).T
    p3 = np.column_stack([pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)]).astype(np.float32)
    none = np.zeros((0, 3))
    truth = np.zeros((0, 4, 4)) if partons is None else np.array([[_p4(*p) for p in partons]])
    events = Events(n=1, event=np.zeros(0, int), pdg=np.zeros(0, int), charge=np.zeros(0), p4=np.zeros((0, 4)),
                    vertex=none, top_event=np.zeros(len(truth), int), partons=truth)  # fmt: skip
    return Objects(event=np.zeros(len(p3), int), p3=p3), events


def _p4(eta, phi):
    p3 = np.array([math.cos(phi), math.sin(phi), math.sinh(eta)])
    return [np.linalg.norm(p3), *p3]


@needs_extra
def test_the_leading_jet_holds_what_is_near_and_is_sorted():
    near = [(100, 0.2, 0.3), (400, 0.0, 0.0), (90, -0.2, 0.1)]
    (jet,) = Selection().jets(*jets_of(*near, (200, 0.0, 2.0), (1.0, 0.9, 0.0)), matched=False)
    assert jet.dtype == np.float32
    assert np.hypot(*jet[:, :2].T) == pytest.approx([400, 100, 90])
    (jet,) = Selection(most=2).jets(*jets_of(*near), matched=False)
    assert len(jet) == 2


@needs_extra
@pytest.mark.parametrize(
    ("towers", "why"),
    [
        ([(540, 0, 0), (300, 0, 2.5)], "too soft"),
        ([(655, 0, 0)], "too hard"),
        ([(700, 0, 0), (600, 0, 3.0)], "only the leading one counts"),
        ([(600, 2.05, 0)], "too far forward"),
        ([(300, 0, 0), (300, 0, 0.9)], "two jets"),
    ],
)
def test_jets_outside_the_window_are_left_out(towers, why):
    assert Selection().jets(*jets_of(*towers), matched=False) == [], why


@needs_extra
@pytest.mark.parametrize(
    ("partons", "accepted"),
    [
        ([(0.1, 3.1), (0.5, 3.0), (0, -2.9), (-0.3, 3.0)], 1),
        ([(0.1, 3.1), (0.9, 3.0), (0, -2.9), (-0.3, 3.0)], 0),
        ([(0.1, 3.1), (0.5, 3.0), (0, -2.9), (-0.3, 2.2)], 0),
        ([(0.1, 2.0), (0.5, 3.0), (0, -2.9), (-0.3, 3.0)], 0),
        (None, 0),
    ],
)
def test_a_top_jet_holds_its_top_and_three_partons(partons, accepted):
    objects, events = jets_of((600, 0, 3.1), partons=partons)
    assert len(Selection().jets(objects, events, matched=True)) == accepted
    assert len(Selection().jets(objects, events, matched=False)) == 1


@needs_extra
def test_events_are_seeded_and_hold_what_they_should():
    first, again, other = (next(collisions("top", seed, 20)) for seed in (5, 5, 6))
    assert np.array_equal(first.p4, again.p4)
    assert first.p4.shape != other.p4.shape
    assert not np.isin(np.abs(first.pdg), (12, 14, 16, 111, 6, 24)).any()
    assert np.isin(310, first.pdg)
    assert set(first.charge) == {-1.0, 0.0, 1.0}
    assert len(first.top_event) == 40
    top, b, q1, q2 = np.moveaxis(first.partons, 1, 0)
    mass = np.sqrt(np.maximum(top[:, 0] ** 2 - np.square(top[:, 1:]).sum(axis=1), 0))
    assert np.median(mass) == pytest.approx(172.5, abs=2)
    assert np.median(np.abs((b + q1 + q2 - top)[:, 0] / top[:, 0])) < 0.05
    both = np.square(first.p4[:, 1:]).sum(axis=1) <= first.p4[:, 0] ** 2 * (1 + 1e-9)
    assert both.all()
    assert len(next(collisions("qcd", 5, 20)).partons) == 0


@needs_extra
def test_wrong_events_are_refused():
    with pytest.raises(ValueError, match="qcd"):
        next(collisions("higgs", 1))
    with pytest.raises(ValueError, match="seed"):
        next(collisions("top", 0))


@needs_extra
def test_a_refused_setting_is_named(monkeypatch):
    from tasks.top_tagging.simulation import pythia as events

    monkeypatch.setitem(events.SETTINGS, "qcd", ("Print:quiet = on", "HardQCD:everything = on"))
    with pytest.raises(ValueError, match="HardQCD:everything"):
        next(collisions("qcd", 1))


@needs_extra
def test_a_shard_is_as_stated(folder):
    jets, about = read_shard(shard_path(folder, 1))
    assert len(jets) == 4
    assert int(jets.label.sum()) == 2
    momenta = jets.momenta()
    pt = momenta[:, 1:3].norm(dim=1)
    assert ((pt > 549.9) & (pt < 650.1)).all()
    assert (torch.asinh(momenta[:, 3] / pt).abs() < 2).all()
    for i in range(4):
        assert (jets[i].p3[:, :2].norm(dim=1).diff() <= 0).all()
    assert jets.counts.max() <= 200
    assert (about["shard"], about["settings"]["seed"]) == (1, 0)
    assert "PartonLevel:MPI = off" in about["settings"]["pythia"]["qcd"]
    assert about["settings"]["detector"]["field"] == 2.0
    assert set(about["versions"]) >= {"pythia8mc", "fastjet"}


@needs_extra
def test_the_same_shard_is_the_same_bytes_whoever_makes_it(folder, tmp_path):
    Recipe(jets=4).make(tmp_path, 1)
    assert shard_path(tmp_path, 1).read_bytes() == shard_path(folder, 1).read_bytes()


@needs_extra
def test_another_shard_is_other_jets_and_they_are_counted(folder, tmp_path):
    counted = []
    Recipe(jets=4).make(tmp_path, 0, counted.append)
    assert sum(counted) == 4
    assert sorted(load_jets(tmp_path).masses().tolist()) != sorted(load_jets(folder).masses().tolist())


def test_shards_are_known_by_their_state(tmp_path, jets):
    recipe = Recipe(jets=4)
    assert recipe.state(tmp_path, 0) == "missing"
    pytest.importorskip("pythia8mc", reason="its version is written down: pip install 'liesmith[jets]'")
    path = shard_path(tmp_path, 0)
    write_shard(path, jets[:4], recipe.about(0))
    assert recipe.state(tmp_path, 0) == "done"
    with pytest.raises(ValueError, match="other settings"):
        Recipe(jets=4, seed=1).state(tmp_path, 0)
    path.write_bytes(path.read_bytes()[:-5])
    assert recipe.state(tmp_path, 0) == "damaged"


class Inline:
    """Stands for a process: works at once, in this one."""

    exitcode = 0

    def __init__(self, target, args, daemon):
        self.start = lambda: target(*args)

    def is_alive(self):
        return False

    def terminate(self):
        pass


@pytest.fixture
def inline(monkeypatch, jets):
    """A generator that writes the same jets at once; returns the numbers of shards it was asked for."""
    asked = []

    def make(self, folder, number, made):
        asked.append(number)
        write_shard(shard_path(folder, number), jets[:4], self.about(number))
        made(4)

    context = SimpleNamespace(Queue=Queue, Process=Inline)
    monkeypatch.setattr(generator_module.multiprocessing, "get_context", lambda name: context)
    monkeypatch.setattr(generator_module, "_isolate", lambda: None)
    monkeypatch.setattr(Recipe, "make", make)
    monkeypatch.setattr("tasks.top_tagging.simulation.generate.version", lambda name: "1")
    monkeypatch.setattr(generator_module, "find_spec", lambda name: True)
    return asked


def test_only_what_is_missing_or_damaged_is_made(tmp_path, inline, caplog):
    caplog.set_level("INFO")

    def run(shards):
        caplog.clear()
        JetGenerator(out=tmp_path, shards=shards, jets_per_shard=4, progress=False).run()
        return caplog.messages

    run("0..2")
    assert inline == [0, 1, 2]
    assert run("0..2") == [f"0 of 3 shards made, the others were there: {tmp_path}"]
    shard_path(tmp_path, 1).write_bytes(b"broken")
    shard_path(tmp_path, 7).with_suffix(".part").write_bytes(b"left by a run that was killed")
    messages = run("1..3")
    assert inline == [0, 1, 2, 1, 3]
    assert "shard-00001.safetensors is damaged" in messages[0]
    assert len(load_jets(tmp_path)) == 16


def test_a_folder_of_other_settings_is_refused_before_work(tmp_path, inline):
    JetGenerator(out=tmp_path, shards="0", jets_per_shard=4, progress=False).run()
    with pytest.raises(ValueError, match="other settings"):
        JetGenerator(out=tmp_path, shards="0..1", jets_per_shard=4, seed=1, progress=False).run()
    assert inline == [0]


def test_what_goes_wrong_in_a_worker_is_raised(tmp_path, inline, monkeypatch):
    def broken(self, folder, number, made):
        raise ValueError("no events today")

    monkeypatch.setattr(Recipe, "make", broken)
    with pytest.raises(ValueError, match="no events today"):
        JetGenerator(out=tmp_path, shards="0", jets_per_shard=4, progress=False).run()


def test_a_worker_that_is_killed_is_noticed(tmp_path, inline, monkeypatch):
    monkeypatch.setattr(Inline, "exitcode", -9)
    with pytest.raises(OSError, match="code -9; run again"):
        JetGenerator(out=tmp_path, shards="0..1", jets_per_shard=4, workers=2, progress=False).run()
