"""A self-contained HTML page: what was found, how sure, what it gains and one picture; everything else folds."""

import base64
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from discover import Change, Verdict, identify
from discover.algebra.draw import draw_action, draw_basis, draw_spectrum
from equivariant import LieAlgebra
from equivariant.files import write_file
from tasks.common.files import to_plain
from tasks.common.plots import draw_curves
from tasks.common.results import Column, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor

__all__ = [
    "NOTHING",
    "Column",
    "Headline",
    "Picture",
    "Section",
    "Table",
    "algebra_in_words",
    "algebra_section",
    "draw_curves",
    "symmetry_headline",
    "verdict_in_words",
    "write_report",
]

NOTHING = "No generator: nothing in the search space satisfies the equations of a symmetry."
FAMILIES = {
    "so(2)": "rotation in the plane",
    "so(3)": "rotations in space",
    "so(1,3)": "Lorentz transformations",
    "so": "rotations",
    "scaling": "scaling of all coordinates",
    "translation": "translations",
    "se": "rotations and translations",
    "sl": "linear maps of determinant 1",
    "gl": "all linear maps",
    "sp": "symplectic maps",
    "aff": "affine maps",
}


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A figure and what it shows.

    Args:
        figure: of matplotlib, or the content of a GIF file.
        caption: one or two sentences.
        narrow: the same for narrow screens, if ``figure`` would be too small there.
    """

    figure: "Figure | bytes"
    caption: str
    narrow: "Figure | None" = None

    @property
    def wide(self) -> bool:
        """Whether it needs the whole width of the page."""
        if isinstance(self.figure, bytes):
            return True
        width, height = self.figure.get_size_inches()
        return bool(width > 1.5 * height)


@dataclass(frozen=True, kw_only=True)
class Headline:
    """The first screen of a page, readable in ten seconds.

    Args:
        found: what was found, such as "Rotation in the plane, so(2), 4 copies".
        sure: how sure that is, in plain words.
        gain: what it gains, such as "Test error: MLP 2.0e-02, EMLP 4.4e-09"; empty where nothing was compared.
        picture: the one that shows it.
        passed: whether a symmetry is established; colours the headline.
        warning: that figures mean little, after a small or quick run.
    """

    found: str
    sure: str = ""
    gain: str = ""
    picture: Picture | None = None
    passed: bool = True
    warning: str = ""


@dataclass(frozen=True, kw_only=True)
class Section:
    """A part of the page, folded below a headline; what is empty is left out.

    Args:
        heading: its title.
        folded: whether a reader has to open it, below a headline.
        verdicts: set off from the text.
        lines: paragraphs.
        pictures: side by side where they fit.
        tables: below them.
    """

    heading: str
    folded: bool = True
    verdicts: Sequence[Verdict] = ()
    lines: Sequence[str] = ()
    pictures: Sequence[Picture] = ()
    tables: Sequence[Table] = ()


def write_report(
    path: str | Path,
    title: str,
    lead: str,
    sections: Sequence[Section],
    details: Mapping[str, Any],
    headline: Headline | None = None,
) -> None:
    """Write the page, whole or not at all.

    Args:
        path: of the file.
        title: of the page.
        lead: one sentence on the data.
        sections: in order; folded below a headline, open without one.
        details: settings and versions, shown as JSON at the end.
        headline: the first screen.

    Raises:
        OSError: with a sentence, when it cannot be written.
    """
    environment = Environment(
        loader=PackageLoader("tasks.common", "."), autoescape=True, undefined=StrictUndefined
    )
    number = count()
    top = None
    if headline is not None:
        top = vars(headline) | {"picture": headline.picture and _drawn(headline.picture, number)}
    page = environment.get_template("report.html").render(
        title=title,
        lead=lead,
        headline=top,
        sections=[_rendered(section, number) for section in sections],
        details={name: json.dumps(to_plain(value), indent=1) for name, value in details.items()},
    )
    write_file(path, page)


def algebra_in_words(algebra: LieAlgebra, data: "Tensor | None" = None) -> str:
    """What an algebra is, for a headline.

    Args:
        algebra: to name.
        data: points (..., k); generators are then compared by what they do to their span.

    Returns:
        Its family, name and number of copies, or that the catalogue does not have it.

    Example:
        >>> from equivariant import catalogue
        >>> algebra_in_words(catalogue.by_name("4*so(2)"))
        'Rotation in the plane, so(2), 4 copies'
    """
    if not algebra.n_generators:
        return "No symmetry"
    match = identify(algebra, data)
    if not match.known:
        many = "one generator" if algebra.n_generators == 1 else f"{algebra.n_generators} generators"
        return f"A symmetry with {many} that the catalogue does not have"
    text = " and ".join(_part_in_words(part) for part in match.name.split(" with "))
    return text[0].upper() + text[1:]


def symmetry_headline(
    algebra: LieAlgebra, verdict: Verdict | None, picture: Picture, data: "Tensor | None" = None, **more: str
) -> Headline:
    """The headline of a discovered symmetry.

    Args:
        algebra: refined.
        verdict: of held-out data; None where nothing was found.
        picture: the one that shows it.
        data: points (..., k) on whose span the algebra is named.
        **more: ``gain`` and ``warning`` of the headline.

    Returns:
        The headline; an algebra whose verdict has not passed is called a candidate.
    """
    words, passed = algebra_in_words(algebra, data), verdict is not None and verdict.passed
    found = words if passed or verdict is None else f"Not established: {words[0].lower()}{words[1:]}"
    return Headline(found=found, sure=verdict_in_words(verdict), picture=picture, passed=passed, **more)


def verdict_in_words(verdict: Verdict | None) -> str:
    """How sure a symmetry is, in plain words.

    Args:
        verdict: of held-out data; None where there is none.

    Returns:
        One to three sentences.
    """
    if verdict is None:
        return "Nothing was tested on held-out data."
    if not verdict.passed:
        return "Held-out data do not show this symmetry: do not use it without more evidence."
    invariant = verdict.distribution == "holds"
    critic = f"a critic tells transformed from original data with AUC {verdict.auc.value:.2f} (chance 0.5)"
    if verdict.equivariance_error is None:
        return f"Sure: on held-out data the distribution is invariant; {critic}."
    kind = "invariant" if verdict.invariant_target else "equivariant"
    error = verdict.equivariance_error
    also = (
        "The data distribution is invariant too"
        if invariant
        else "The data distribution is not shown to be invariant"
    )
    return (
        f"Sure: on held-out data the map from x to y is {kind}, with an error of {error.value:.1%}, at most "
        f"{error.high:.1%} (up to 5% passes). {also}: {critic}."
    )


def algebra_section(
    raw: LieAlgebra, refined: LieAlgebra, changes: Sequence[Change], verdict: Verdict | None, data: "Tensor"
) -> Section:
    """The generators before and after refinement, their spectrum, and data before and after g.

    Args:
        raw: as it was learned.
        refined: as it was refined.
        changes: what refinement did.
        verdict: of held-out data, if any.
        data: (n, k) or (n, steps, k).

    Returns:
        The section.
    """
    return Section(
        heading="The symmetry in detail",
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
                caption="Data before and after a group element; the dotted arrow is the path of one point.",
            ),
        ],
        tables=[
            Table(
                columns=[
                    Column(name="step of refinement"),
                    Column(name="generator change [rad]", number=True),
                    Column(name="what"),
                ],
                rows=[[c.step, f"{c.size:.1e}", c.note] for c in changes],
            )
        ],
    )


def _part_in_words(name: str) -> str:
    copies, _, family = name.rpartition("*")
    words = FAMILIES.get(family) or ("" if "," in family else FAMILIES.get(family.split("(")[0]))
    text = f"{words}, {family}" if words else family
    return f"{text}, {copies} copies" if copies else text


def _rendered(section: Section, number: "count[int]") -> dict[str, Any]:
    verdicts = [{"passed": verdict.passed, "text": str(verdict)} for verdict in section.verdicts]
    pictures = [_drawn(picture, number) for picture in section.pictures]
    return vars(section) | {"pictures": pictures, "verdicts": verdicts}


def _drawn(picture: Picture, number: "count[int]") -> dict[str, Any]:
    """A picture as HTML, and its version for narrow screens, if any."""
    narrow = picture.narrow and _svg(picture.narrow, picture.caption, number)
    if isinstance(picture.figure, bytes):
        source = f"data:image/gif;base64,{base64.b64encode(picture.figure).decode()}"
        svg = f'<img alt="{_label(picture.caption)}" src="{source}">'
    else:
        svg = _svg(picture.figure, picture.caption, number)
    return {"svg": svg, "caption": picture.caption, "wide": picture.wide, "narrow": narrow}


def _label(caption: str) -> str:
    return re.sub(r'[<>&"]', "", caption)


def _svg(figure: "Figure", caption: str, number: "count[int]") -> str:
    """A figure as inline SVG; its inner names are made its own, since one page holds many."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r'(id="|url\(#|href="#)', rf"\g<1>p{next(number)}-", text)
    return text.replace("<svg", f'<svg role="img" aria-label="{_label(caption)}"', 1)
