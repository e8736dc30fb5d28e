import csv
import json
import re

from matplotlib.figure import Figure

from tasks.common.report import Column, Picture, Section, Table, draw_curves, summary_table, write_report
from tasks.common.results import Row, summarise, text_table, write_results


def row(model="EMLP", symmetry="true", seed=0, error=1.0):
    return Row(model=model, symmetry=symmetry, seed=seed, test_mse=error, unbroken_mse=error / 2, train_mse=error,
               parameters=3, steps=10, seconds=float(seed))  # fmt: skip


ROWS = [row(seed=0, error=3.0), row(seed=1, error=1.0), row(seed=2, error=2.0), row("MLP", "none", 0, 9.0)]


def test_summaries_are_medians_over_seeds():
    emlp, mlp = summarise(ROWS)
    assert (emlp.test_mse, emlp.lowest, emlp.highest, emlp.unbroken_mse, emlp.seeds) == (
        2.0,
        1.0,
        3.0,
        1.0,
        3,
    )
    assert (mlp.model, mlp.test_mse) == ("MLP", 9.0)


def test_results_are_written_twice_alike(tmp_path):
    write_results(tmp_path, ROWS, task="a test", environment={"device": "cpu"})
    content = json.loads((tmp_path / "results.json").read_text())
    with (tmp_path / "results.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert (
        [float(line["test_mse"]) for line in lines]
        == [r["test_mse"] for r in content["rows"]]
        == [3, 1, 2, 9]
    )
    assert content["task"] == "a test"
    assert {line["device"] for line in lines} == {"cpu"}
    assert not list(tmp_path.glob("*.part"))


def test_the_best_model_is_marked():
    table = summary_table(summarise(ROWS))
    assert table.best == 0
    assert table.rows[0][:3] == ["EMLP", "true", "2.00e+00"]
    assert "EMLP" in text_table(summarise(ROWS)).splitlines()[1]


def page(tmp_path, *sections):
    write_report(tmp_path / "page.html", "A <title>", "lead", sections, {"settings": {"a": "<b>"}})
    return (tmp_path / "page.html").read_text()


def test_text_is_escaped(tmp_path):
    table = Table(columns=[Column(name="x & y")], rows=[["<i>"]])
    text = page(tmp_path, Section(heading="1 < 2", lines=["a > b"], tables=[table]))
    assert all(
        word in text for word in ("A &lt;title&gt;", "1 &lt; 2", "x &amp; y", "&lt;i&gt;", "&lt;b&gt;")
    )


def test_pictures_on_one_page_do_not_share_names(tmp_path):
    def picture():
        figure = Figure()
        figure.subplots().plot([0, 1], [0, 1])
        return Picture(figure=figure, caption="a line")

    text = page(tmp_path, Section(heading="two", pictures=[picture(), picture()]))
    names = re.findall(r'\bid="([^"]+)"', text)
    assert len(names) == len(set(names))
    assert set(re.findall(r'href="#([^"]+)"', text)) <= set(names)


def test_curves_show_what_was_logged():
    figure = draw_curves({"a": [{"step": 1.0, "loss": 0.5}, {"step": 2.0, "loss": 0.25}]}, "loss", "nats")
    (line,) = figure.axes[0].lines
    assert list(line.get_ydata()) == [0.5, 0.25]
    assert figure.axes[0].get_ylabel() == "loss [nats]"


def test_no_curves_are_no_error():
    assert not list(draw_curves({}, "loss", "nats").axes[0].lines)
