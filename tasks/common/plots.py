"""What the pictures of all tasks are drawn with: panels, curves, medians with their range, matrices, legends."""

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from discover.algebra.draw import COLOURS, INK, SIGNS, STYLE
from equivariant.files import write_file
from tasks.common.results import Spread

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from torch import Tensor

__all__ = ["colour", "draw_curves", "draw_matrix", "draw_spreads", "legend", "panels", "save_figure"]


def panels(
    n: int, columns: int = 0, *, width: float = 3.6, height: float = 3.6, margin: float = 0.0, **ratios: Any
) -> tuple["Figure", list["Axes"]]:
    """A figure that no global state knows of, with n axes.

    Args:
        n: number of axes.
        columns: how many stand side by side; all of them when 0.
        width: of one [inches].
        height: of one [inches].
        margin: further width for a legend on the right [inches].
        **ratios: ``width_ratios`` or ``height_ratios``, as ``Figure.subplots`` takes them.

    Returns:
        The figure and its axes, row after row.
    """
    import matplotlib
    from matplotlib.figure import Figure

    columns = columns or n
    rows = math.ceil(n / columns)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width * columns + margin, height * rows), layout="constrained")
        axes = list(figure.subplots(rows, columns, squeeze=False, **ratios).flat)
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes


def colour(i: int) -> str:
    """The i-th colour; they repeat.

    Args:
        i: number of a series, from 0.

    Returns:
        A colour that colour-blind readers can tell from its neighbours.
    """
    return COLOURS[i % len(COLOURS)]


def legend(axis: "Axes", title: str | None = None, *, below: bool = False) -> None:
    """A legend to the right of the axes, if there is anything to name.

    Args:
        axis: whose labels it shows.
        title: above it.
        below: put it below the axes, for narrow pictures.
    """
    place: dict[str, Any] = {"loc": "center left", "bbox_to_anchor": (1, 0.5)}
    if below:
        place = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.2), "ncols": 4, "columnspacing": 1.0}
    if axis.get_legend_handles_labels()[0]:
        axis.legend(frameon=False, title=title, **place)


def draw_curves(histories: Mapping[str, Sequence[Mapping[str, float]]], quantity: str, unit: str) -> "Figure":
    """One quantity of training logs against the step, on a logarithmic axis.

    Args:
        histories: logs by label; one line each.
        quantity: entry of each row, beside ``step``.
        unit: for the axis.

    Returns:
        The figure.
    """
    figure, (axis,) = panels(1, width=8, height=3.4)
    for i, (label, rows) in enumerate(histories.items()):
        steps, values = ([row[name] for row in rows] for name in ("step", quantity))
        style = ("-", "--", ":")[i // len(COLOURS) % 3]
        axis.plot(steps, values, style, color=colour(i), lw=1.2, label=label)
    axis.set(xlabel="step", ylabel=f"{quantity.replace('_', ' ')} [{unit}]", yscale="log")
    legend(axis)
    return figure


def draw_spreads(axis: "Axes", places: Sequence[float], spreads: Sequence[Spread], **style: Any) -> None:
    """Medians as dots with a bar from the lowest to the highest seed, one on each line of the axes.

    Args:
        axis: to draw on.
        places: heights, one each.
        spreads: medians and ranges; those without a value are left out.
        **style: ``color``, ``label`` and the like.
    """
    for place, spread in zip(places, spreads, strict=True):
        if spread.median is not None and spread.lowest is not None and spread.highest is not None:
            axis.plot(spread.median, place, "o", ms=6, **style)
            axis.hlines(place, spread.lowest, spread.highest, color=style.get("color"), lw=1.5)
            style["label"] = "_"


def draw_matrix(
    axis: "Axes", matrix: "Tensor", names: Sequence[str], *, form: str = "", rotation: float = 0
) -> None:
    """Entries of a matrix as colours, violet below zero and orange above.

    Args:
        axis: to draw on.
        matrix: (k, k).
        names: of rows and columns; units are left out.
        form: format of the entries, such as ``".2f"``; empty leaves them out.
        rotation: of the names below [degrees].
    """
    size = float(matrix.abs().max()) or 1.0
    short = [name.split(" ")[0] for name in names]
    axis.imshow(matrix.numpy(), cmap=SIGNS, vmin=-size, vmax=size)
    axis.set_xticks(range(len(short)), short, rotation=rotation)
    axis.set_yticks(range(len(short)), short)
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0)
    for i, row in enumerate(matrix.tolist() if form else ()):
        for j, value in enumerate(row):
            shade = "white" if abs(value) > 0.6 * size else INK
            axis.text(j, i, format(value, f"z{form}"), ha="center", va="center", fontsize=8, color=shade)


def save_figure(figure: "Figure", path: str | Path, **options: Any) -> None:
    """Write a figure whole or not at all.

    Args:
        figure: to write.
        path: of the file; its suffix says the format.
        **options: of ``Figure.savefig``.

    Raises:
        OSError: with a sentence, when it cannot be written.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format=Path(path).suffix.removeprefix("."), **{"dpi": 150, **options})
    write_file(path, buffer.getvalue())
