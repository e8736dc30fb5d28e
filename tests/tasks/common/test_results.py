"""Medians and ranges over seeds, targets, and result files of this version and of 0.1."""

import csv
import json
from pathlib import Path

import pytest

from tasks.common.results import Column, ResultTable, Spread, Target

RESULTS = Path(__file__).resolve().parents[3] / "results"
COLUMNS = [Column(name="model", key="model"), Column(name="error", key="test_mse", form=".1e", number=True),
           Column(name="seeds", key="seeds", number=True)]  # fmt: skip


@pytest.fixture
def table():
    rows = [("EMLP", 0, 3.0), ("EMLP", 1, 1.0), ("EMLP", 2, 2.0), ("MLP", 0, 9.0)]
    return ResultTable(
        by=("model",),
        targets=[Target(measure="test_mse", at_most=2.5)],
        rows=[{"model": m, "seed": s, "test_mse": e, "failed": False, "log": [1]} for m, s, e in rows],
    )


def test_summaries_are_medians_over_seeds(table):
    emlp, mlp = table.summary()
    assert (emlp.group, emlp.seeds, emlp["test_mse"]) == (
        {"model": "EMLP"},
        3,
        Spread(median=2.0, lowest=1.0, highest=3.0, seeds=3),
    )
    assert mlp["test_mse"].median == 9.0
    assert set(emlp.spreads) == {"test_mse"}  # neither seeds nor truth values have a median


def test_one_seed_has_no_range_and_nothing_is_minus_zero():
    assert f"{Spread.of([2.0]):.1e}" == "2.0e+00"
    assert f"{Spread.of([2.0, 4.0]):.1f}" == "3.0 (2.0 to 4.0)"
    assert f"{Spread.of([-0.0]):.2f}" == "0.00"
    assert f"{Spread.of([None, float('nan')]):.2f}" == "-"


def test_the_table_marks_the_best_and_aligns_numbers(table):
    text = table.table(COLUMNS, best="test_mse")
    assert text.best == 0
    assert str(text).splitlines() == [
        "model                         error  seeds",
        "EMLP   2.0e+00 (1.0e+00 to 3.0e+00)      3",
        "MLP                         9.0e+00      1",
    ]


def test_results_are_written_twice_alike_and_read_back(tmp_path, table):
    table.write(tmp_path, task="a test")
    content = json.loads((tmp_path / "results.json").read_text())
    with (tmp_path / "results.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [float(line["test_mse"]) for line in lines] == [row["test_mse"] for row in content["rows"]]
    assert content["task"] == "a test"
    assert {line["device"] for line in lines} == {"cpu"}
    assert "log" not in lines[0]
    assert ResultTable.read(tmp_path / "results.json").rows == table.rows


def test_result_files_of_0_1_are_read():
    orbits = ResultTable.read(RESULTS / "two_body" / "published" / "results.json", by=("model", "symmetry"))
    assert all(s["mse_without_outliers"].median is not None for s in orbits.summary())
    latent = ResultTable.read(RESULTS / "latent" / "pendulum" / "results.json")
    (summary,) = latent.summary()
    assert summary.seeds > 1
    assert summary["cosine_inner"].median is not None


def test_a_file_without_rows_is_refused(tmp_path):
    (tmp_path / "results.json").write_text("{}")
    with pytest.raises(ValueError, match="entry 'rows'"):
        ResultTable.read(tmp_path / "results.json")
