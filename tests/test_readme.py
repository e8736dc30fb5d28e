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
    (error,) = re.findall(r"it leaves (\S+) rad at the worst", TEXT)
    told = max(run["subspace_error_to_lorentz_and_scaling"] for run in runs["jets"])
    assert float(error) == pytest.approx(told, rel=0.06)


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


def table(*header):
    """Rows of cells below a header."""
    head = re.escape("| " + " | ".join(header) + " |")
    (body,) = re.findall(rf"^{head}\n\|[-|]+\|\n((?:\|.*\|\n)+)", TEXT, flags=re.MULTILINE)
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in body.splitlines()]


def numbers(text):
    return [float(word) for word in re.findall(r"[-+]?\d[\d.]*(?:e-?\d+)?", text)]


def test_the_symmetries_of_jets_are_those_on_file():
    summary = json.loads((ROOT / "results/top_tagging/discovery.json").read_text())["summary"]
    rows = table("what is looked at", "generators", "error", "least cosine", "seconds")
    assert [row[0] for row in rows] == list(summary)
    for name, generators, error, cosine, seconds in rows:
        told = summary[name]
        assert float(generators) == told["n_generators"]["median"]
        assert float(seconds) == pytest.approx(told["seconds"]["median"], abs=0.06)
        if told["found_none"] == len(told["seeds"]):
            assert error == "none found"
            continue
        angles = told["subspace_error_to_lorentz_and_scaling"]
        assert numbers(error) == pytest.approx([angles["median"], angles["least"], angles["most"]], rel=0.06)
        assert float(cosine) == pytest.approx(told["metric_cosine"]["least"], abs=6e-7)


def test_the_taggers_are_those_on_file():
    told = json.loads((ROOT / "results/top_tagging/cpu/results.json").read_text())
    of = {s["row"]: s for s in told["summary"] if s["train_jets"] in (20_000, 1_200_000)}
    boosted = {name: [] for name in of}
    for curve in told["boosts"]:
        if curve["measure"] == "auc":
            boosted[curve["run"].rsplit(", ", 2)[0]].append(curve["with_beams"][-1])
    rows = table("tagger", "parameters", "accuracy", "AUC", "range", "1/eB at 0.5", "at 0.3", "boosted")
    assert [row[0] for row in rows] == list(of)
    for name, parameters, accuracy, auc, between, half, _, boost in rows:
        s = of[name]
        assert int(parameters) == s["parameters"]
        known = [s["accuracy"]["value"], s["auc"]["value"], s["auc"]["low"], s["auc"]["high"]]
        printed = [float(accuracy), float(auc), *numbers(between)]
        assert [*printed, float(boost)] == pytest.approx([*known, statistics.median(boosted[name])], abs=6e-5)
        assert float(half) == pytest.approx(s["rejections"][1]["value"], abs=0.6)
    (pair,) = re.findall(r"paired:\s+(.*?) AUC", TEXT, flags=re.DOTALL)
    differences = [d["value"] for d in told["auc_minus_lorentznet"] if d["row"] == "LieGNN"]
    assert numbers(pair) == pytest.approx(differences, abs=6e-5)


def test_the_latent_symmetries_are_those_on_file():
    rows = table("system", "measure", "wanted", "median", "range", "met by")
    assert {row[0] for row in rows} == {path.name for path in (ROOT / "results/latent").iterdir()}
    for system, measure, wanted, median, between, met in rows:
        told = json.loads((ROOT / "results/latent" / system / "results.json").read_text())
        (row,) = [row for row in told["summary"] if row["measure"] == measure.replace(" ", "_")]
        assert wanted == (row["target"] or "")
        assert met == (f"{row['met']} of {len(told['seeds'])}" if row["target"] else "")
        known = [row["median"], row["lowest"], row["highest"]]
        printed = numbers(median) + numbers(between)
        assert printed == pytest.approx([value for value in known if value is not None], rel=6e-4)
    assert all(
        row["measure"].replace("_", " ") in {m for s, m, *_ in rows if s == system}
        for system in {row[0] for row in rows}
        for row in json.loads((ROOT / "results/latent" / system / "results.json").read_text())["summary"]
        if row["target"]
    ), "a target that README does not tell"


def test_what_a_constraint_is_worth_is_on_file():
    summary = json.loads((ROOT / "results/constrained_sindy.json").read_text())["summary"]
    keys = ("system", "trajectories", "noise", "sector")
    errors = {(*(row[key] for key in keys), row["method"]): row["coefficient_error"] for row in summary}
    (text,) = re.findall(r"error of its coefficients is (.*?): with plenty", TEXT, flags=re.DOTALL)
    known = []
    for trajectories in (1, 4, 20):
        ratios = [
            error / errors[(*key, "learned")]
            for (*key, method), error in errors.items()
            if method == "pysindy" and key[1] == trajectories
        ]
        known += [min(ratios), max(ratios)]
    assert numbers(text) == pytest.approx(known, rel=0.03)
