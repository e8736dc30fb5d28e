"""How a notebook shows an algebra: its name, its evidence, and each generator as a heat map, in plain HTML and SVG."""

from html import escape
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:
    from equivariant.algebra import LieAlgebra

__all__ = ["algebra_html", "matrix_svg"]

MOST_GENERATORS, MOST_NUMBERS = 12, 20_000


def algebra_html(algebra: "LieAlgebra") -> str:
    """The algebra as a piece of HTML without scripts, links or styles of its own page.

    Args:
        algebra: what is shown; of many generators the first twelve.
    """
    shown = algebra.basis[:MOST_GENERATORS].double().cpu()
    if shown.numel() > MOST_NUMBERS:
        shown = shown[:0]
    pictures = "".join(
        f'<figure style="display:inline-block;margin:4px;text-align:center">{matrix_svg(L)}'
        f"<figcaption>L{i + 1}</figcaption></figure>"
        for i, L in enumerate(shown)
    )
    rest = algebra.n_generators - len(shown)
    rows = "".join(
        f'<tr><th style="text-align:left">{escape(label)}</th><td style="text-align:left">{escape(text)}</td></tr>'
        for label, text in _facts(algebra).items()
    )
    more = f"<div>and {rest} more generators</div>" if rest else ""
    return f"<div><b>{escape(algebra.name or 'Lie algebra')}</b><table>{rows}</table>{pictures}{more}</div>"


def _facts(algebra: "LieAlgebra") -> dict[str, str]:
    facts = {
        "generators": f"{algebra.n_generators} on vectors of size {algebra.dim}",
        "coordinates": ", ".join(algebra.coordinates),
        "coefficients": algebra.distribution.kind,
    }
    if 0 < algebra.basis.numel() <= MOST_NUMBERS:
        facts["closure error"] = f"{algebra.closure_error():.1e}"
    verdict = algebra.provenance.get("verdict")
    if verdict is not None:
        facts["verdict"] = str(verdict.get("text", verdict) if isinstance(verdict, dict) else verdict)
    if "method" in algebra.provenance:
        facts["found by"] = str(algebra.provenance["method"])
    return facts | {"digest": algebra.digest[:16]}


def matrix_svg(matrix: Tensor, side: int = 120) -> str:
    """A heat map: red above zero, blue below, white at zero, each entry with its number as a tooltip.

    Args:
        matrix: shape (k, k).
        side: width and height [px].
    """
    k, largest = len(matrix), float(matrix.abs().max()) or 1.0
    cells = []
    for i, row in enumerate(matrix.tolist()):
        for j, value in enumerate(row):
            pale = round(255 * (1 - abs(value) / largest))
            red, green, blue = (255, pale, pale) if value > 0 else (pale, pale, 255)
            cells.append(
                f'<rect x="{j}" y="{i}" width="1" height="1" fill="rgb({red},{green},{blue})">'
                f"<title>{value:.4g}</title></rect>"
            )
    return (
        f'<svg width="{side}" height="{side}" viewBox="0 0 {k} {k}" style="border:1px solid #888">'
        f"{''.join(cells)}</svg>"
    )
