"""Figures of an algebra: the entries of L, the eigenvalues of L, and data before and after g = exp(w L).

matplotlib is imported when a figure is drawn, not before. The colours suit colour-blind readers: a diverging
violet-orange map for signs, and the palette of Okabe and Ito for series.
"""

import math
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from equivariant import LieAlgebra, data_span

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["COLOURS", "draw_action", "draw_basis", "draw_evidence", "draw_spectrum", "planes"]

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
SIGNS = "PuOr_r"
QUIET = "#B8BEC7"
INK = "#2B2F36"
STYLE: Any = {
    "font.size": 9,
    "axes.edgecolor": QUIET,
    "axes.labelcolor": INK,
    "axes.titlesize": 10,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "figure.dpi": 120,
    "svg.fonttype": "none",
}
LARGEST_ANNOTATED = 10  # entries are written into the cells up to this size


def draw_basis(algebra: LieAlgebra, title: str = "") -> "Figure":
    """Heat map of every generator, one colour scale for all, rows and columns named by the coordinates.

    Args:
        algebra: whose generators are shown.
        title: of the figure.

    Returns:
        A figure with one panel for each generator.

    Example:
        >>> from equivariant import catalogue
        >>> len(draw_basis(catalogue.rotation(3)).axes)  # and the colour bar
        4
    """
    figure, axes = _panels(max(algebra.n_generators, 1), size=0.42 * algebra.dim + 1.2, title=title)
    if algebra.n_generators == 0:
        return _nothing(figure, axes[0])
    largest = float(algebra.basis.abs().max()) or 1.0
    image = None
    for i, axis in enumerate(axes):
        image = axis.imshow(algebra.basis[i].double().cpu().numpy(), cmap=SIGNS, vmin=-largest, vmax=largest)
        _name_cells(axis, algebra)
        _write_cells(axis, algebra.basis[i], largest)
        axis.set_title(f"$L_{{{i + 1}}}$")
    if image is not None:
        figure.colorbar(image, ax=axes, shrink=0.8, label="entry of L: rate of row\nper unit of column")
    return figure


def draw_spectrum(algebra: LieAlgebra, title: str = "", data: Tensor | None = None) -> "Figure":
    """Left: eigenvalues of every generator in the complex plane. Right: singular values, which show its rank.

    An eigenvalue a + b i is growth at rate a and rotation at angular frequency b.

    Args:
        algebra: whose generators are shown.
        title: of the figure.
        data: points (..., k); generators are then restricted to their span.

    Returns:
        The figure.

    Example:
        >>> from equivariant import catalogue
        >>> [axis.get_title() for axis in draw_spectrum(catalogue.rotation(2)).axes]
        ['eigenvalues', 'singular values']
    """
    figure, (plane, sizes) = _panels(2, size=3.6, title=title)
    basis = _restricted(algebra, data)
    if not len(basis):
        sizes.remove()
        return _nothing(figure, plane)
    for i, generator in enumerate(basis):
        colour, label = COLOURS[i % len(COLOURS)], f"$L_{{{i + 1}}}$"
        values = torch.linalg.eigvals(generator).numpy()
        plane.scatter(values.real, values.imag, s=60, color=colour, alpha=0.55, linewidths=0, label=label)
        singular = torch.linalg.svdvals(generator).numpy()
        sizes.plot(range(1, len(singular) + 1), singular, "o-", color=colour, alpha=0.8, label=label)
    _cross_hairs(plane)
    plane.set(
        xlabel="real part: growth [per unit of w]", ylabel="imaginary part: rotation [rad per unit of w]"
    )
    plane.set_title("eigenvalues")
    sizes.set(xlabel="number", ylabel="singular value [per unit of w]", title="singular values")
    sizes.set_ylim(0, 1.15 * max(sizes.get_ylim()[1], 1e-12))
    sizes.set_xticks(range(1, basis.shape[-1] + 1))
    if len(basis) > 1:
        plane.legend(frameon=False)
    return figure


def draw_action(
    algebra: LieAlgebra,
    data: Tensor,
    *,
    generator: int = 0,
    w: float | None = None,
    names: Sequence[tuple[int, int]] | None = None,
    title: str = "",
    points: int = 120,
) -> "Figure":
    """Data before and after g = exp(w L), in two-dimensional projections; dotted lines lead from x to g x.

    Args:
        algebra: the algebra that acts.
        data: points (n, k) or trajectories (n, steps, k).
        generator: index of the generator L.
        w: coefficient; by default that of a third of a full rotation, or of growth by a half if nothing rotates.
        names: pairs of coordinates to show; by default those that L mixes most, see `planes`.
        title: of the figure.
        points: at most so many rows of data are drawn, evenly chosen.

    Returns:
        A figure with one panel for each pair.

    Raises:
        ValueError: for data of another shape, or empty.

    Example:
        >>> from equivariant import catalogue
        >>> len(draw_action(catalogue.by_name("2*so(2)"), torch.eye(4)).axes)
        2
    """
    chosen = _thinned(data.detach().double().cpu(), points)
    pairs = list(names or planes(algebra, generator))
    figure, axes = _panels(len(pairs), size=3.4, title=title)
    if algebra.n_generators == 0:
        for axis, pair in zip(axes, pairs, strict=True):
            _points(axis, chosen, pair, COLOURS[0], "x")
            _label(axis, algebra, pair)
        return figure
    w = _visible_coefficient(algebra.basis[generator]) if w is None else w
    path = _flow(algebra.to("cpu", torch.float64), chosen, generator, w)
    for axis, pair in zip(axes, pairs, strict=True):
        _trails(axis, path, pair)
        _points(axis, chosen, pair, COLOURS[0], "before: x")
        _points(axis, path[-1], pair, COLOURS[1], f"after: exp(w L) x, w = {w:.2g}")
        _label(axis, algebra, pair)
    _legend_below(figure, axes[0])
    return figure


def draw_evidence(spectrum: Tensor, found: int, noise: float) -> "Figure":
    """The singular values that decide the number of generators, and where they were cut.

    Args:
        spectrum: relative singular values, ascending.
        found: number of generators.
        noise: level below which values are not told apart from zero.

    Returns:
        The figure.

    Example:
        >>> draw_evidence(torch.tensor([0.001, 0.3, 0.5]), found=1, noise=0.01).axes[0].get_yscale()
        'log'
    """
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(8, 3.4), layout="constrained")
        axis = figure.subplots()
    places = range(1, len(spectrum) + 1)
    axis.axhspan(1e-4, noise, color=QUIET, alpha=0.3, lw=0, label="noise")
    axis.plot(places[:found], spectrum[:found], "o", color=COLOURS[1], label=f"{found} generators")
    axis.plot(places[found:], spectrum[found:], "o", color=COLOURS[0], label="violated")
    axis.set(xlabel="matrix of the search space", ylabel="violation [relative]", yscale="log")
    axis.set_ylim(bottom=min(noise / 3, float(spectrum.clamp(min=1e-4).min()) / 2))
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def planes(algebra: LieAlgebra, generator: int = 0, largest: int = 4) -> list[tuple[int, int]]:
    """Disjoint pairs of coordinates (i, j) that a generator mixes most; neighbours where nothing is mixed.

    Args:
        algebra: the algebra.
        generator: index of the generator.
        largest: at most so many pairs.

    Returns:
        Pairs in ascending order.

    Example:
        >>> from equivariant import catalogue
        >>> planes(catalogue.by_name("2*so(2)"))
        [(0, 1), (2, 3)]
    """
    k = algebra.dim
    if k == 1:
        return [(0, 0)]
    free, pairs = set(range(k)), []
    strength = torch.zeros(k, k)
    if algebra.n_generators:
        matrix = algebra.basis[generator].abs().cpu()
        strength = (matrix + matrix.mT).float()
    least = 0.1 * float(strength.fill_diagonal_(0).max())
    for flat in strength.triu(1).flatten().argsort(descending=True, stable=True).tolist():
        i, j = divmod(flat, k)
        if float(strength[i, j]) > least and {i, j} <= free:
            pairs.append((i, j))
            free -= {i, j}
    pairs = pairs or [(i, i + 1) for i in range(0, k - 1, 2)]
    return sorted(pairs)[:largest]


def _panels(n: int, size: float, title: str) -> tuple["Figure", list["Axes"]]:
    """A figure outside of pyplot's global state, with n square panels in rows of at most four."""
    import matplotlib
    from matplotlib.figure import Figure

    columns = min(n, 4)
    rows = math.ceil(n / columns)
    with matplotlib.rc_context(STYLE):
        figure = Figure(
            figsize=(size * columns + 0.8, size * rows + (0.4 if title else 0)), layout="constrained"
        )
        axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    for axis in axes[n:]:
        axis.remove()
    if title:
        figure.suptitle(title, fontsize=11)
    return figure, axes[:n]


def _name_cells(axis: "Axes", algebra: LieAlgebra) -> None:
    short = [_short(name) for name in algebra.coordinates]
    axis.set_xticks(range(algebra.dim), short, rotation=60, ha="right", rotation_mode="anchor")
    axis.set_yticks(range(algebra.dim), short)
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0)


def _write_cells(axis: "Axes", matrix: Tensor, largest: float) -> None:
    if len(matrix) > LARGEST_ANNOTATED:
        return
    for (i, j), value in np.ndenumerate(matrix.double().cpu().numpy()):
        if abs(value) > 5e-4 * largest:
            colour = "white" if abs(value) > 0.6 * largest else INK
            axis.text(j, i, f"{value:.2g}", ha="center", va="center", fontsize=6.5, color=colour)


def _cross_hairs(axis: "Axes") -> None:
    axis.axhline(0, color=QUIET, lw=0.8, zorder=0)
    axis.axvline(0, color=QUIET, lw=0.8, zorder=0)
    reach = max(1.25 * max(map(abs, (*axis.get_xlim(), *axis.get_ylim()))), 0.1)
    axis.set(xlim=(-reach, reach), ylim=(-reach, reach), aspect="equal")


def _restricted(algebra: LieAlgebra, data: Tensor | None) -> Tensor:
    basis = algebra.basis.double().cpu()
    if data is None or not len(basis):
        return basis
    rows = data_span(data).basis.cpu()
    return rows @ basis @ rows.mT


def _visible_coefficient(matrix: Tensor) -> float:
    """The coefficient of a third of a full rotation, else of growth by a half."""
    values = torch.linalg.eigvals(matrix.double().cpu())
    frequency, growth = float(values.imag.abs().max()), float(values.real.abs().max())
    if frequency > 1e-6:
        return 2 * math.pi / (3 * frequency)
    return math.log(1.5) / growth if growth > 1e-6 else 1.0 / max(float(matrix.abs().max()), 1e-12)


def _flow(algebra: LieAlgebra, data: Tensor, generator: int, w: float, steps: int = 25) -> Tensor:
    """exp(t L) x for t from 0 to w, shape (steps, *data.shape)."""
    amounts = torch.zeros(steps, algebra.n_generators, dtype=torch.float64)
    amounts[:, generator] = torch.linspace(0, w, steps, dtype=torch.float64)
    shifted = data - algebra.origin
    moved = shifted.flatten(0, -2) @ algebra.element(amounts).mT
    return moved.reshape(steps, *data.shape) + algebra.origin


def _trails(axis: "Axes", path: Tensor, pair: tuple[int, int], most: int = 12) -> None:
    """The path from x to g x of a few points; of one, where the data are trajectories already."""
    rows = path.flatten(1, -2).numpy()
    most = 1 if path.ndim == 4 else most
    for point in range(0, rows.shape[1], math.ceil(rows.shape[1] / most)):
        x, y = (rows[:, point, i] for i in pair)
        axis.plot(x, y, ":", color=INK, lw=0.9, zorder=3)
        axis.annotate(
            "", (x[-1], y[-1]), (x[-2], y[-2]), arrowprops={"arrowstyle": "->", "color": INK}, zorder=3
        )


def _points(axis: "Axes", data: Tensor, pair: tuple[int, int], colour: str, label: str) -> None:
    """Single points, or trajectories as lines that begin with a dot."""
    x, y = (data[..., i].numpy() for i in pair)
    if data.ndim == 2:
        axis.scatter(x, y, s=7, color=colour, alpha=0.7, linewidths=0, label=label)
        return
    for i in range(len(data)):
        axis.plot(x[i], y[i], color=colour, lw=1.4, alpha=0.8, label="" if i else label)
    axis.scatter(x[:, 0], y[:, 0], s=14, color=colour, linewidths=0, zorder=2)


def _legend_below(figure: "Figure", axis: "Axes") -> None:
    figure.legend(*axis.get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)


def _label(axis: "Axes", algebra: LieAlgebra, pair: tuple[int, int]) -> None:
    axis.set(xlabel=algebra.coordinates[pair[0]], ylabel=algebra.coordinates[pair[1]])
    axis.set_aspect("equal", adjustable="datalim")


def _thinned(data: Tensor, points: int) -> Tensor:
    if data.ndim not in (2, 3) or len(data) == 0:
        raise ValueError(f"data must have shape (n, k) or (n, steps, k) with n > 0, got {tuple(data.shape)}")
    rows = max(1, points // (data.shape[1] if data.ndim == 3 else 1))
    return data[:: max(1, math.ceil(len(data) / rows))]


def _nothing(figure: "Figure", axis: "Axes") -> "Figure":
    axis.set_axis_off()
    axis.text(0.5, 0.5, "no generators:\nno symmetry", ha="center", va="center", transform=axis.transAxes)
    return figure


def _short(name: str) -> str:
    """A coordinate's name without its unit."""
    return re.sub(r"\s*\[.*\]$", "", name)
