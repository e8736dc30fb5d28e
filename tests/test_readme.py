"""README keeps its word: the example runs, the links lead somewhere, the figures are those on file."""

import json
import os
import re
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "README.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", TEXT, flags=re.DOTALL)


def test_the_example_runs_as_it_is_printed(tmp_path):
    (example,) = blocks("python")
    assert len(example.strip().splitlines()) <= 15
    single = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", example], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, **single},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Symmetry found" in done.stdout
    assert (tmp_path / "rotation.safetensors").exists()


def test_the_two_commands_are_one_line_each():
    install, test = blocks("bash")
    assert install.strip().count("\n") == test.strip().count("\n") == 0
    assert install.split()[-2:] == ["liesmith", "two-body"] or install.strip().endswith("liesmith two-body")
    assert test.strip().endswith("pytest")


def test_ci_runs_the_test_command_of_readme():
    command = blocks("bash")[1].strip().split("/")[-1]  # python -m pytest
    assert command in (ROOT / ".ci" / "run").read_text().splitlines()


def test_links_lead_to_files():
    for target in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert (ROOT / target).exists(), target


def test_the_file_map_names_what_is_there():
    for path in re.findall(r"^\| `([a-z_/]+)`", TEXT, flags=re.MULTILINE):
        assert (ROOT / path).is_dir(), path


def test_the_figures_are_those_on_file():
    summary = json.loads((ROOT / "results/two_body/published/results.json").read_text())["summary"]
    rows = re.findall(r"^\| ([\w, -]+) \| (\w+) \| (\S+) \| (\S+) \| (\d+) \|$", TEXT, flags=re.MULTILINE)
    printed = [(model, symmetry, float(test), float(intact)) for model, symmetry, test, intact, _ in rows]
    on_file = [(s["model"], s["symmetry"], s["test_mse"], s["unbroken_mse"]) for s in summary]
    assert [p[:2] for p in printed] == [f[:2] for f in on_file]
    for p, f in zip(printed, on_file, strict=True):
        assert p[2:] == pytest.approx(f[2:], rel=6e-3)


def test_the_discovery_figures_are_those_on_file():
    summary = json.loads((ROOT / "results/two_body/discovery.json").read_text())["summary"]
    rows = re.findall(r"^\| LieGAN \| ([\w ]+) \| (\d+) \| ([\d.]+) \| ([\d.]+) \|.*\| ([\d.]+) \| (\d+) \|$", TEXT,
                      flags=re.MULTILINE)  # fmt: skip
    assert [row[0] for row in rows] == list(summary)
    for space, seeds, median, least, seconds, ratio in rows:
        told = summary[space]
        assert int(seeds) == told["seeds"]
        assert [float(median), float(least)] == pytest.approx(
            [told["median_cosine"], told["least_cosine"]], abs=6e-6
        )
        assert float(seconds) == pytest.approx(told["median_seconds"], abs=0.06)
        assert int(ratio) == pytest.approx(told["plain_over_ours"], abs=0.6)


def test_the_spectral_figures_are_those_on_file():
    runs = json.loads((ROOT / "results/spectral.json").read_text())
    ((seeds, median, least),) = re.findall(r"^\| Spectral \|[^|]*\| (\d+) \| ([\d.]+) \| ([\d.]+)", TEXT,
                                           flags=re.MULTILINE)  # fmt: skip
    cosines = sorted(run["cosine"] for run in runs["orbits"])
    assert int(seeds) == len(cosines)
    assert [float(median), float(least)] == pytest.approx([statistics.median(cosines), cosines[0]], abs=6e-6)
    (error,) = re.findall(r"scaling within ([\d.]+) rad", TEXT)
    told = max(run["subspace_error_to_lorentz_and_scaling"] for run in runs["jets"])
    assert float(error) == pytest.approx(told, abs=6e-5)


def test_the_ratios_of_speed_are_those_on_file():
    told = json.loads((ROOT / "results/benchmarks/models.json").read_text())
    seconds = {(r["kind"], r["batch"], r["nodes"], r["hidden"]): r["seconds"] for r in told["liegnn"]}
    (ours,) = {kind for kind, *_ in seconds} - {"plain"}
    expected = {
        "EMLP, training step": [row["step_ratio"] for row in told["emlp"]],
        "EMLP, evaluation": [row["evaluation_ratio"] for row in told["emlp"]],
        "published EMLP": [row["ratio"] for row in told["published_emlp"]],
        "block written plainly": [seconds["plain", 16, 50, 72] / seconds[ours, 16, 50, 72]],
        "the same, 100": [seconds["plain", 16, 100, 72] / seconds[ours, 16, 100, 72]],
        "`torch.matrix_exp`": [row["ratio"] for row in told["elements"] if row["closed"]],
    }
    for name, ratios in expected.items():
        (cell,) = re.findall(rf"^\| {re.escape(name)}[^|]*\| ([^|]+) \|$", TEXT, flags=re.MULTILINE)
        printed = [float(word) for word in cell.split(" to ")]
        assert [printed[0], printed[-1]] == pytest.approx([min(ratios), max(ratios)], abs=6e-3)
