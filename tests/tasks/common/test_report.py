import re

import pytest
import torch
from matplotlib.figure import Figure

from equivariant import LieAlgebra, catalogue
from tasks.common.report import (
    Column,
    Headline,
    Picture,
    Section,
    Table,
    algebra_in_words,
    draw_curves,
    write_report,
)


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


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("so(2)", "Rotation in the plane, so(2)"),
        ("4*so(2)", "Rotation in the plane, so(2), 4 copies"),
        ("so(1,3)", "Lorentz transformations, so(1,3)"),
        ("so(3)", "Rotations in space, so(3)"),
        ("so(5)", "Rotations, so(5)"),
        ("so(1,2)", "So(1,2)"),
    ],
)
def test_an_algebra_is_named_in_words(name, words):
    assert algebra_in_words(catalogue.by_name(name)) == words


def test_what_the_catalogue_does_not_have_is_said_so():
    strange = LieAlgebra(torch.diag(torch.tensor([1.0, 2.0, -5.0]))[None])
    assert algebra_in_words(strange) == "A symmetry with one generator that the catalogue does not have"
    assert algebra_in_words(LieAlgebra(torch.zeros(0, 3, 3))) == "No symmetry"


def test_the_headline_comes_first_and_details_fold(tmp_path):
    headline = Headline(found="A rotation", sure="Sure.", gain="1 to 2", warning="A small run.")
    write_report(tmp_path / "p.html", "T", "lead", [Section(heading="More", lines=["x"])], {}, headline)
    text = (tmp_path / "p.html").read_text()
    body = text[text.index("<body>") :]
    order = [body.index(word) for word in ("A small run.", "A rotation", "1 to 2", "Sure.", "<summary>More")]
    assert order == sorted(order)
