"""The command as a user meets it: what it writes, and one sentence and code 2 for whatever is wrong."""

import json
import re

import numpy as np
import pytest
import torch

from equivariant import LieAlgebra, catalogue, cosine
from tasks import cli
from tasks.two_body import pairs, save_orbits, simulated_orbits
from tasks.two_body.data import NAMES
from tasks.two_body.study import TwoBody


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    """Run a command in an empty folder; returns (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def command(*arguments):
        code = 0
        try:
            cli.main([str(argument) for argument in arguments])
        except SystemExit as end:
            code = int(end.code or 0)
        out = capsys.readouterr()
        return code, out.out, out.err

    return command


@pytest.fixture(scope="module")
def two_body_run(tmp_path_factory):
    """One short run, shared by the tests that look at what it left."""
    folder = tmp_path_factory.mktemp("run")
    settings = ["--n-train", 40, "--n-test", 20, "--steps", 30, "--discovery-steps", 400, "--no-progress"]
    cli.main(["two-body", "--out", str(folder), *map(str, settings)])
    return folder


@pytest.fixture(scope="module")
def orbits_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "orbits.npz"
    save_orbits(path, simulated_orbits(30, 5))
    return path


def test_two_body_leaves_everything_in_one_folder(two_body_run):
    left = {path.name for path in two_body_run.iterdir()}
    wanted = {
        "algebra.safetensors",
        "raw.safetensors",
        "checkpoints",
        "results.json",
        "results.csv",
        "report.html",
        "overview.png",
    }
    assert wanted <= left
    assert LieAlgebra.load(two_body_run / "algebra.safetensors").coordinates[0] == "q1x [length]"


def test_two_body_results_can_be_judged(two_body_run):
    results = json.loads((two_body_run / "results.json").read_text())
    kinds = [(row["model"], row["symmetry"]) for row in results["rows"]]
    assert [("augmentation", s) for s in ("discovered", "refined", "true")] == [
        k for k in kinds if k[0] == "augmentation"
    ]
    assert ("EMLP", "refined") in kinds
    assert ("MLP", "none") in kinds
    assert results["environment"]["versions"]["torch"] == torch.__version__
    assert results["config"]["discovery_steps"] == 400
    assert all(np.isfinite(row["test_mse"]) and row["seconds"] >= 0 for row in results["rows"])
    lines = (two_body_run / "results.csv").read_text().splitlines()
    assert len(lines) == 1 + len(kinds)
    assert "seed" in lines[0]
    assert "device" in lines[0]


def test_the_report_stands_alone(two_body_run):
    page = (two_body_run / "report.html").read_text()
    assert page.count("<svg") == 8
    assert not re.findall(r'(?:src|href)="(?!#|data:)', page.replace("xlink:", ""))
    assert "@import" not in page
    assert "<script" not in page
    assert "time-linear" in page
    assert "orthonormalise" in page


def test_a_finished_run_is_read_back_not_repeated(two_body_run, monkeypatch):
    before = json.loads((two_body_run / "results.json").read_text())["rows"]
    results = TwoBody(
        out=two_body_run, n_train=40, n_test=20, steps=30, discovery_steps=400, progress=False
    ).run()
    assert [row["test_mse"] for row in results.table.rows] == [row["test_mse"] for row in before]


def test_a_folder_of_other_settings_is_refused(two_body_run, run):
    code, _, err = run("two-body", "--out", two_body_run, "--n-train", 40, "--n-test", 20, "--steps", 31,
                       "--discovery-steps", 400, "--no-progress")  # fmt: skip
    assert code == 2
    assert "another run (steps 30, not 31)" in err


def test_show_prints_draws_and_names(two_body_run, run, orbits_file, tmp_path):
    path = tmp_path / "turn.safetensors"
    turn = catalogue.by_name("4*so(2)")
    LieAlgebra(turn.basis, coordinates=NAMES).save(path)
    code, out, _ = run("show", path, "--data", orbits_file, "--x", "train")
    assert code == 0
    assert "4*so(2)" in out
    assert "4 of 8 dimensions" in out
    assert "-1.000" in out
    assert (tmp_path / "runs" / "show-turn" / "report.html").read_text().count("<svg") == 3


def test_show_an_algebra_of_nothing(run, tmp_path):
    LieAlgebra(torch.zeros(0, 3, 3)).save(tmp_path / "none.safetensors")
    code, out, _ = run("show", "none.safetensors")
    assert code == 0
    assert "shape (0, 3, 3)" in out


def test_show_refuses_data_of_other_columns(run, orbits_file, tmp_path):
    catalogue.lorentz().save(tmp_path / "lorentz.safetensors")
    code, _, err = run("show", "lorentz.safetensors", "--data", orbits_file, "--x", "train")
    assert code == 2
    assert "(n, 4)" in err


def test_discover_finds_the_rotation_in_trajectories(run, orbits_file, tmp_path):
    code, out, _ = run("discover", orbits_file, "--x", "train", "--next-step", "--search-space", "blocks:2",
                       "--method", "liegan", "--steps", 900, "--no-progress")  # fmt: skip
    assert code == 0
    assert "the map x -> y is equivariant" in out
    folder = tmp_path / "runs" / "discover-orbits"
    found = LieAlgebra.load(folder / "raw.safetensors")
    data, _ = pairs(simulated_orbits(30, 5).train)
    assert cosine(found, catalogue.by_name("4*so(2)"), data) > 0.99
    assert found.coordinates == NAMES
    assert json.loads((folder / "results.json").read_text())["config"]["search_space"] == "blocks:2"
    assert "<svg" in (folder / "report.html").read_text()


def test_discover_reads_columns_of_a_csv(run, tmp_path, generator):
    points = torch.randn(120, 2, generator=generator)
    rows = torch.cat([points, points.norm(dim=1, keepdim=True)], dim=1).tolist()
    (tmp_path / "ring.csv").write_text("a,b,r\n" + "\n".join(",".join(map(str, row)) for row in rows))
    code, _, err = run(
        "discover",
        "ring.csv",
        "--y",
        "r",
        "--y-rep",
        "Scalar",
        "--method",
        "liegan",
        "--steps",
        60,
        "--no-progress",
    )
    assert (code, err) == (0, "")
    assert LieAlgebra.load(tmp_path / "runs/discover-ring/raw.safetensors").coordinates == ("a", "b")


def test_discover_alone_reports_a_tested_symmetry(run, tmp_path, generator):
    points = torch.randn(400, 2, generator=generator)
    ring = points / points.norm(dim=1, keepdim=True)
    (tmp_path / "ring.csv").write_text("a,b\n" + "\n".join(",".join(map(str, row)) for row in ring.tolist()))
    code, out, err = run("discover", "ring.csv", "--no-progress")
    assert (code, err) == (0, "")
    assert out.startswith("so(2): rotation of (a, b).")
    folder = tmp_path / "runs/discover-ring"
    assert LieAlgebra.load(folder / "algebra.safetensors").name == "so(2)"
    assert "rotation of (a, b)" in (folder / "report.html").read_text()
    assert json.loads((folder / "results.json").read_text())["verdict"]["answer"] == "symmetric"


@pytest.mark.parametrize(("target", "found"), [("r", 1), ("b", 0)])
def test_discover_by_the_spectrum_says_how_many(run, tmp_path, generator, target, found):
    a = torch.randn(800, 3, generator=generator)
    radius, bent = a[:, :2].norm(dim=1, keepdim=True), (a[:, :1] ** 3 + a[:, :1] + a[:, 1:2] ** 2)
    table = torch.cat([a[:, :2], radius if target == "r" else bent], dim=1).tolist()
    (tmp_path / "table.csv").write_text("x,y,t\n" + "\n".join(",".join(map(str, row)) for row in table))
    code, out, err = run("discover", "table.csv", "--y", "t", "--y-rep", "Scalar", "--method", "spectral",
                         "--steps", 400, "--no-progress")  # fmt: skip
    assert (code, err) == (0, "")
    assert LieAlgebra.load(tmp_path / "runs/discover-table/raw.safetensors").n_generators == found
    assert ("No generator" in out) == (found == 0)
    assert (tmp_path / "runs/discover-table/report.html").read_text().count("<svg") >= 4


BAD = {
    "unknown option": (["two-body", "--bogus", "1"], "--bogus"),
    "unknown command": (["frobnicate"], "frobnicate"),
    "no number": (["two-body", "--seeds", "x"], "--seeds"),
    "no such range": (["two-body", "--n-train", "0"], "n_train"),
    "both protocols": (["two-body", "--quick", "--paper"], "exclude"),
    "missing orbits": (["two-body", "--data", "none.npz"], "no orbits at none.npz"),
    "missing data": (["discover", "none.csv"], "none.csv"),
    "missing algebra": (["show", "none.safetensors"], "none.safetensors"),
    "foreign algebra": (["show", "text.safetensors"], "not a safetensors file"),
    "foreign orbits": (["two-body", "--data", "text.npz"], "plain arrays"),
    "foreign data": (["discover", "text.npz"], "plain numbers"),
    "NaN": (["discover", "nan.npy"], "nan|NaN|finite"),
    "too large": (["discover", "large.csv"], "1e\\+300|overflow"),
    "one sample": (["discover", "one.npy"], "sample"),
    "wrong representation": (["discover", "good.npy", "--x-rep", "3*V"], "x_rep"),
    "unreadable representation": (["discover", "good.npy", "--x-rep", "open(1)"], "representation"),
    "wrong search space": (["discover", "good.npy", "--search-space", "blocks:3"], "blocks:3|search_space"),
    "a distribution of steps": (
        ["discover", "good.npy", "--method", "spectral", "--distribution", "integer"],
        "distribution normal",
    ),
    "unknown distribution": (["discover", "good.npy", "--distribution", "cauchy"], "cauchy"),
    "no trajectories": (["discover", "good.npy", "--next-step"], "trajectories"),
    "labels that are none": (["discover", "labels.csv", "--y", "b", "--labels"], "whole numbers"),
}


@pytest.mark.parametrize(("arguments", "says"), BAD.values(), ids=BAD.keys())
def test_bad_input_gets_one_sentence_and_code_2(run, tmp_path, arguments, says):
    for name in ("text.safetensors", "text.npz"):
        (tmp_path / name).write_text("this is no such file")
    np.save(tmp_path / "good.npy", np.random.default_rng(0).normal(size=(50, 4)))
    np.save(tmp_path / "nan.npy", np.full((50, 4), np.nan))
    (tmp_path / "large.csv").write_text("a,b\n" + "1,1e300\n2,3\n" * 9)
    np.save(tmp_path / "one.npy", np.ones((1, 4)))
    (tmp_path / "labels.csv").write_text("a,c,b\n" + "1,2,0.5\n3,1,1.5\n" * 9)
    code, _, err = run(*arguments)
    assert code == 2
    assert err.startswith("liesmith: ")
    assert len(err.strip().splitlines()) == 1
    assert "Traceback" not in err
    assert any(word in err for word in says.split("|"))


def test_ctrl_c_says_how_to_go_on(run, monkeypatch):
    def interrupted(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(TwoBody, "run", interrupted)
    code, _, err = run("two-body", "--seed", 4)
    assert code == 130
    assert "liesmith two-body --seed 4" in err


def test_help_and_version(run):
    code, out, _ = run("two-body", "--help")
    assert code == 0
    assert all(flag in out for flag in ("--data", "--paper", "--quick", "--search-space", "--seeds"))
    assert run("--version")[0] == 0


@pytest.mark.parametrize("command", ["two-body", "discover", "show", "latent", "top-tagging", "jets"])
def test_every_help_shows_an_example(run, command):
    code, out, _ = run(command, "--help")
    assert code == 0
    assert f"Example: liesmith {command} " in out


def test_help_shows_representations_as_they_are_typed(run):
    assert '"5*V"' in run("discover", "--help")[1]


def test_the_command_alone_shows_the_way(run):
    code, out, _ = run()
    assert code == 0
    assert "liesmith two-body --quick" in out


def test_a_quick_study_keeps_what_was_given():
    quick = TwoBody(steps=7, seed=3).quick()
    assert (quick.steps, quick.seed, quick.n_train) == (7, 3, 300)
    assert quick.warning
    assert not TwoBody().warning


def test_one_past_step_is_enough(run):
    code, out, err = run("two-body", "--past", 1, "--n-train", 12, "--n-test", 4, "--discovery-steps", 20,
                         "--steps", 3, "--no-progress", "--out", "one")  # fmt: skip
    assert (code, err) == (0, "")
    assert "EMLP" in out


def test_windows_longer_than_the_orbits_are_refused_before_any_work(run, tmp_path):
    code, _, err = run("two-body", "--past", 15, "--future", 15, "--n-train", 4, "--n-test", 4)
    assert code == 2
    assert "windows" in err
    assert not (tmp_path / "runs").exists()


def test_a_refused_run_does_not_claim_its_folder(run, tmp_path):
    np.save(tmp_path / "good.npy", np.random.default_rng(0).normal(size=(50, 4)))
    assert run("discover", "good.npy", "--x-rep", "3*V")[0] == 2
    assert not (tmp_path / "runs" / "discover-good").exists()


def test_other_data_in_the_same_folder_are_refused_unless_overwritten(run, tmp_path):
    random = np.random.default_rng(0)
    arguments = ["discover", "a.npy", "--method", "liegan", "--steps", 20, "--no-progress"]
    np.save(tmp_path / "a.npy", random.normal(size=(50, 2)))
    assert run(*arguments)[0] == 0
    np.save(tmp_path / "a.npy", random.normal(size=(50, 2)))
    code, _, err = run(*arguments)
    assert code == 2
    assert "another run (data_digest" in err
    assert run(*arguments, "--overwrite")[0] == 0
