"""A self-contained HTML page: verdicts, pictures as inline SVG, tables, settings; nothing is loaded from elsewhere."""

import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from discover import Change, Verdict
from discover.algebra.draw import draw_action, draw_basis, draw_spectrum
from equivariant import LieAlgebra
from tasks.common.results import Summary

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor

__all__ = [
    "NOTHING",
    "Column",
    "Picture",
    "Section",
    "Table",
    "algebra_section",
    "change_table",
    "draw_curves",
    "summary_table",
    "write_report",
]

NOTHING = "No generator: nothing in the search space satisfies the equations of a symmetry."


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A figure and what it shows."""

    figure: "Figure"
    caption: str

    @property
    def wide(self) -> bool:
        """Whether it needs the whole width of the page."""
        width, height = self.figure.get_size_inches()
        return bool(width > 1.5 * height)


@dataclass(frozen=True, kw_only=True)
class Column:
    """A heading; numbers stand to the right."""

    name: str
    number: bool = False


@dataclass(frozen=True, kw_only=True)
class Table:
    """Cells as text; ``best`` is the row to set in bold, if any."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[str]]
    best: int | None = None


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the page; what is empty is left out."""

    heading: str
    verdicts: Sequence[Verdict] = ()
    lines: Sequence[str] = ()
    pictures: Sequence[Picture] = ()
    tables: Sequence[Table] = ()


def write_report(
    path: str | Path, title: str, lead: str, sections: Sequence[Section], details: Mapping[str, Any]
) -> None:
    """Write the page; ``details`` (settings, versions) are shown as JSON at the end."""
    environment = Environment(
        loader=PackageLoader("tasks.common", "."), autoescape=True, undefined=StrictUndefined
    )
    number = count()
    page = environment.get_template("report.html").render(
        title=title,
        lead=lead,
        sections=[_plain(section, number) for section in sections],
        details={name: json.dumps(value, indent=1, default=str) for name, value in details.items()},
    )
    Path(path).write_text(page, encoding="utf-8")


def algebra_section(
    raw: LieAlgebra, refined: LieAlgebra, changes: Sequence[Change], verdict: Verdict | None, data: "Tensor"
) -> Section:
    """What was found, how it was cleaned, its spectrum, and data (n, k) or (n, steps, k) before and after g."""
    return Section(
        heading="The symmetry",
        verdicts=[] if verdict is None else [verdict],
        lines=[] if raw.n_generators else [NOTHING],
        pictures=[
            Picture(figure=draw_basis(raw), caption="The generators as they were learned."),
            Picture(figure=draw_basis(refined), caption="The same, refined."),
            Picture(
                figure=draw_spectrum(refined, data=data),
                caption="Eigenvalues and singular values of the refined generators, on the span of the data.",
            ),
            Picture(
                figure=draw_action(refined, data),
                caption="Data before and after a group element; the dotted arrow is the way of one point.",
            ),
        ],
        tables=[change_table(changes)],
    )


def change_table(changes: Sequence[Change]) -> Table:
    """What refinement did, step by step."""
    columns = [
        Column(name="step of refinement"),
        Column(name="turned by [rad]", number=True),
        Column(name="what"),
    ]
    return Table(columns=columns, rows=[[c.step, f"{c.size:.1e}", c.note] for c in changes])


def summary_table(summaries: Sequence[Summary]) -> Table:
    """Errors of all models, medians over seeds with their range."""
    names = ("test error", "lowest", "highest", "without broken orbits", "seconds", "seeds")
    columns = [
        Column(name="model"),
        Column(name="symmetry"),
        *(Column(name=name, number=True) for name in names),
    ]
    errors = [[s.test_mse, s.lowest, s.highest, s.unbroken_mse] for s in summaries]
    rows = [
        [s.model, s.symmetry, *(f"{e:.2e}" for e in row), f"{s.seconds:.0f}", str(s.seeds)]
        for s, row in zip(summaries, errors, strict=True)
    ]
    best = min(range(len(rows)), key=lambda i: errors[i][0]) if rows else None
    return Table(columns=columns, rows=rows, best=best)


def draw_curves(histories: Mapping[str, Sequence[Mapping[str, float]]], quantity: str, unit: str) -> "Figure":
    """One quantity of the logs against the step, one line for each label, on a logarithmic axis."""
    import matplotlib
    from matplotlib.figure import Figure

    from discover.algebra.draw import COLOURS, STYLE

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8, 3.4), layout="constrained")
        axis = figure.subplots()
    for i, (label, rows) in enumerate(histories.items()):
        steps, values = ([row[name] for row in rows] for name in ("step", quantity))
        style = ("-", "--", ":")[i // len(COLOURS) % 3]
        axis.plot(steps, values, style, color=COLOURS[i % len(COLOURS)], lw=1.2, label=label)
    axis.set(xlabel="step", ylabel=f"{quantity.replace('_', ' ')} [{unit}]", yscale="log")
    axis.spines[["top", "right"]].set_visible(False)
    if histories:
        axis.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def _plain(section: Section, number: "count[int]") -> dict[str, Any]:
    pictures = [
        {"svg": _svg(p.figure, next(number), p.caption), "caption": p.caption, "wide": p.wide}
        for p in section.pictures
    ]
    verdicts = [{"passed": verdict.passed, "text": str(verdict)} for verdict in section.verdicts]
    return vars(section) | {"pictures": pictures, "verdicts": verdicts}


def _svg(figure: "Figure", number: int, caption: str) -> str:
    """The picture as an element; its inner names are made its own, since one page holds many."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r'(id="|url\(#|href="#)', rf"\g<1>p{number}-", text)
    label = re.sub(r'[<>&"]', "", caption)
    return text.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
