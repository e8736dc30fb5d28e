import csv
import json
import math
import re

import pytest
import torch

from tasks.top_tagging.discovery.metric_file import JetMetric
from tasks.top_tagging.plots import (
    draw_boosts,
    draw_calibration,
    draw_learning,
    draw_metric,
    draw_overview,
    draw_rejection,
)
from tasks.top_tagging.report import write_tagging_report
from tasks.top_tagging.results import TaggingResults, tagger_table
from tasks.top_tagging.runs import TaggerRun
from tasks.top_tagging.tagging.boosts import RAPIDITIES
from tasks.top_tagging.tagging.models import PUBLISHED

N = 300
LABEL = torch.arange(N) % 2
DRAWS = 20


def run(row, seed=0, size=100, sharpness=2.0, moved=False, **changes):
    random = torch.Generator().manual_seed(1000 * size + 10 * len(row) + seed)
    logit = (LABEL - 0.5) * sharpness + torch.randn(N, generator=random, dtype=torch.float64)
    scores = logit.sigmoid()
    settings = {
        "row": row,
        "seed": seed,
        "train_jets": size,
        "config_hash": "",
        "study": "",
        "scores": scores,
    }
    if moved:
        settings["boosted_scores"] = scores[:40].expand(2, len(RAPIDITIES), 40)
    settings["about"] = {
        "parameters": 7,
        "seconds": 2.0 + seed,
        "jets_per_second": 10.0,
        "history": [{"epoch": 1}],
    }
    return TaggerRun(**settings | changes)


def outcome(*runs, **settings):
    return TaggingResults(label=LABEL, runs=runs, draws=DRAWS, **settings)


def finding(metric=None):
    return JetMetric(train_jets=100, seed=0, metric=metric, text="Said.", passed=True, n_generators=6)


def whole():
    runs = [run(row, seed, size, sharpness, moved=size == 100) for seed in (0, 1) for size in (50, 100)
            for row, sharpness in (("LieGNN", 2.0), ("LorentzNet", 2.2), ("EGNN", 1.0))]  # fmt: skip
    published = run(PUBLISHED, size=1_200_000, sharpness=4.0, moved=True, about={"parameters": 9})
    metric = torch.diag(torch.tensor([1.0, -1, -1, -0.9], dtype=torch.float64)) - 1e-9
    return outcome(*runs, published, metrics=[finding(metric)], about={"data": {"source": "here"}})


def test_summaries_are_medians_and_ranges_over_seeds():
    found = outcome(*(run("EGNN", seed) for seed in range(3)), run("LieGNN", size=50))
    few, many = found.table.summary()
    assert (few.group, few.seeds) == ({"row": "LieGNN", "train_jets": 50}, 1)
    values = sorted(row["auc"] for row in found.table.rows if row["row"] == "EGNN")
    assert [many["auc"].lowest, many["auc"].median, many["auc"].highest] == values
    assert (many.seeds, many["seconds"].median, many["parameters"].median) == (3, 3.0, 7)


def test_the_order_of_files_does_not_matter():
    runs = [run(row, seed) for seed in (1, 0) for row in ("Transformer", "LieGNN")]
    names = [(row["row"], row["seed"]) for row in outcome(*runs).table.rows]
    assert names == [("LieGNN", 0), ("LieGNN", 1), ("Transformer", 0), ("Transformer", 1)]


def test_differences_are_of_the_same_seeds_and_sizes():
    found = outcome(run("LieGNN", 0), run("LieGNN", 1), run("LorentzNet", 1), run("EGNN", 0, sharpness=0.5))
    assert set(found.differences) == {(100, "LieGNN")}
    aucs = {(row["row"], row["seed"]): row["auc"] for row in found.table.rows}
    assert found.differences[100, "LieGNN"].value == pytest.approx(aucs["LieGNN", 1] - aucs["LorentzNet", 1])


def test_scores_that_are_no_numbers_cost_one_row_only(tmp_path):
    broken = run("LieGNN", scores=torch.full((N,), float("nan")), about={"failure": "the loss is nan"})
    found = outcome(broken, run("LorentzNet"))
    assert ["auc" in row for row in found.table.rows] == [False, True]
    assert list(found.final()) == ["LorentzNet"]
    write_tagging_report(tmp_path, found, {})
    assert "Without finite scores: LieGNN" in (tmp_path / "report.html").read_text()
    found.write(tmp_path, {})
    assert json.loads((tmp_path / "results.json").read_text())["rows"][0]["failure"] == "the loss is nan"


def test_results_are_strict_json_and_one_line_a_training(tmp_path):
    perfect = run("LorentzNet", scores=LABEL * 0.8 + 0.1)
    outcome(perfect, run("LieGNN", moved=True), metrics=[finding()], missing=["a"]).write(
        tmp_path, {"seed": 0}
    )

    def refuse(name):
        raise AssertionError(name)

    content = json.loads((tmp_path / "results.json").read_text(), parse_constant=refuse)
    assert content["rows"][1]["rejection_0.3"] is None
    assert math.isfinite(content["rows"][1]["rejection_0.3_at_least"])
    assert content["missing"] == ["a"]
    assert len(content["boosts"]) == 2
    assert content["boosts"][0]["with_beams"] == pytest.approx([content["boosts"][0]["with_beams"][0]] * 8)
    assert content["environment"]["versions"]["torch"] == torch.__version__
    with (tmp_path / "results.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["row"] for line in lines] == ["LieGNN", "LorentzNet"]
    assert {"auc", "auc_low", "auc_high", "rejection_0.5_passed", "calibration_error", "seconds"} <= set(
        lines[0]
    )
    assert "history" not in lines[0]
    histories = json.loads((tmp_path / "histories.json").read_text(), parse_constant=refuse)
    assert histories["LieGNN, 100 jets, seed 0"] == {"epoch": [1.0]}


def test_the_table_bounds_what_it_cannot_measure():
    found = outcome(run("LorentzNet", scores=LABEL * 0.8 + 0.1), run("EGNN", sharpness=0.1))
    bounded, measured = tagger_table(found.table.summary()).rows
    assert bounded[5:7] == ["> 51", "> 51"]
    assert not any(cell.startswith(">") for cell in measured)


def test_one_seed_has_no_range():
    one, three = (outcome(*(run("EGNN", seed) for seed in range(n))) for n in (1, 3))
    assert " to " not in str(tagger_table(one.table.summary()))
    assert " to " in str(tagger_table(three.table.summary()))


def test_pictures_show_what_was_measured():
    found = whole()
    axis = draw_learning(found).axes[0]
    assert axis.get_legend_handles_labels()[1] == ["LieGNN", "LorentzNet", "EGNN"]
    line = axis.lines[0]
    assert list(line.get_xdata()) == [50, 100]
    medians = [s["auc"].median for s in found.table.summary() if s.group["row"] == "LieGNN"]
    assert list(line.get_ydata()) == pytest.approx([1 - m for m in medians])
    rejection = draw_rejection(found).axes[0]
    assert max(max(line.get_ydata()) for line in rejection.lines) <= 150 / 9.5
    assert len(rejection.lines) == 2 * 3 + 1
    assert len(draw_boosts(found).axes) == 2
    assert len(draw_calibration(found).axes[0].lines) == 1 + 2 * 3 + 1
    assert [t.get_text() for t in draw_metric(found).axes[0].texts][::5] == [
        "1.00",
        "-1.00",
        "-1.00",
        "-0.90",
    ]


def page_of(found, folder, warning=""):
    write_tagging_report(folder, found, {"seed": 0}, warning)
    return (folder / "report.html").read_text()


def test_a_study_of_nothing_still_has_a_page(tmp_path):
    found = outcome(missing=["LieGNN, 100 jets, seed 0"], metrics=[finding()])
    found.write(tmp_path, {})
    page = page_of(found, tmp_path)
    assert "Missing: LieGNN, 100 jets, seed 0" in page
    assert "No metric was found" in page
    assert len(draw_overview(found).axes) == 4


def test_the_first_screen_has_the_metric_the_taggers_and_the_boosts(tmp_path):
    first = page_of(whole(), tmp_path, "A small run.").split("<details>")[0]
    assert first.index("A small run.") < first.index("A metric was found")
    assert first.count("<svg") == 2
    for text in ("with the metric found (LieGNN); ", "LorentzNet, published", "1/eB at eS 0.5", "rapidity"):
        assert text in first
    assert (tmp_path / "overview.png").stat().st_size > 10_000


def test_the_page_explains_and_keeps_the_rest_folded(tmp_path):
    page = page_of(whole(), tmp_path)
    folded = page.split("<details>", 1)[1]
    assert "Why a metric is used although jets are not distributed symmetrically" in folded
    assert "6 generators and a metric of |cosine| 0.99" in folded
    assert "Compared with LorentzNet" in folded
    assert page.count("<svg") == 7
    assert not re.search(r">\s*-0\.0+\s*<", page)  # nor in a picture


def test_a_metric_is_named_by_its_angle_to_minkowskis(tmp_path):
    exact = torch.diag(torch.tensor([1.0, -1, -1, -1], dtype=torch.float64))
    found = outcome(run("LieGNN"), metrics=[finding(exact)])
    assert "Minkowski&#39;s metric, diag(1, -1, -1, -1), was found" in page_of(found, tmp_path)
    other = outcome(run("LieGNN"), metrics=[finding(torch.eye(4).double())])
    assert "60 degrees from Minkowski&#39;s" in page_of(other, tmp_path)
