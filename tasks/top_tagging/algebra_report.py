"""What was found on jets beside what is known: angles to so(1,3) and scaling, cosine with Minkowski's form."""

import statistics
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from equivariant import LieAlgebra, catalogue
from equivariant.compare import principal_angles

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["against_lorentz", "draw_discovery", "draw_generators", "simple_basis", "summary", "table"]

BEST_PUBLISHED = 0.076  # subspace error [rad] to so(1,3) with scaling
MEASURED = (
    "n_generators", "subspace_error_to_lorentz_and_scaling", "subspace_error_to_lorentz", "metric_cosine",
    "metric_residual", "gap", "leaving", "skill", "seconds",
)  # fmt: skip


def against_lorentz(algebra: LieAlgebra, metric: Tensor | None) -> dict[str, Any]:
    """Principal angles [rad], ascending, and their root sum of squares (the subspace error); |cosine| of the forms.

    Angles are as many as the smaller of the two spans has dimensions; ``None`` without generators or form.
    """
    lorentz = catalogue.lorentz()
    whole = catalogue.union(lorentz, catalogue.scaling(4))
    found: dict[str, Any] = {"metric_cosine": None if metric is None else _cosine(metric)}
    for name, true in (("lorentz", lorentz), ("lorentz_and_scaling", whole)):
        angles = principal_angles(algebra, true)
        found[f"angles_to_{name}"] = angles.tolist()
        found[f"subspace_error_to_{name}"] = float(angles.norm()) if len(angles) else None
    return found


def _cosine(metric: Tensor) -> float:
    minkowski = torch.diag(torch.tensor([1.0, -1.0, -1.0, -1.0], dtype=torch.float64))
    form = metric.double().cpu()
    return float((form * minkowski).sum().abs() / form.norm() / minkowski.norm())


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Median and range over seeds of what was measured, how many runs found something, and how many failed."""
    found: dict[str, Any] = {
        "seeds": [row["seed"] for row in rows],
        "failed": sum("failed" in row for row in rows),
        "found_none": sum(row.get("n_generators") == 0 for row in rows),
        "without_a_metric": sum("failed" not in row and row["metric"] is None for row in rows),
    }
    for name in MEASURED:
        values = [row[name] for row in rows if row.get(name) is not None]
        if values:
            found[name] = {"median": statistics.median(values), "least": min(values), "most": max(values)}
    return found


def table(summaries: dict[str, Any]) -> str:
    """Medians over seeds for the terminal."""
    columns = ("n_generators", "subspace_error_to_lorentz_and_scaling", "metric_cosine", "gap", "seconds")
    lines = [f"{'recipe':<48}{'found':>8}{'error [rad]':>14}{'cosine':>12}{'gap':>8}{'seconds':>10}"]
    for name, of in summaries.items():
        cells = [of[column]["median"] if column in of else float("nan") for column in columns]
        n, error, cosine, gap, seconds = cells
        lines.append(f"{name:<48}{n:>8g}{error:>14.2g}{cosine:>12.6f}{gap:>8.1f}{seconds:>10.1f}")
    return "\n".join(lines)


def draw_discovery(content: dict[str, Any]) -> "Figure":
    """One picture of a result file: spectra, subspace errors over seeds, and the form of each recipe's first run."""
    import matplotlib
    from matplotlib.figure import Figure

    from discover.draw import STYLE

    rows = [row for row in content["rows"] if "failed" not in row]
    names = list(dict.fromkeys(row["recipe"] for row in rows))
    first = {name: next(row for row in rows if row["recipe"] == name) for name in names}
    forms = {name: row for name, row in first.items() if row["metric"] is not None}
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(13, 8.5), layout="constrained")
        above, below = list(figure.subfigures(2, 1, height_ratios=(1.5, 1), squeeze=False).flat)
        left, right = above.subplots(1, 2, width_ratios=(1, 1))
        _draw_spectra(left, first)
        _draw_errors(right, rows, names)
        if forms:
            axes = below.subplots(1, len(forms), squeeze=False)[0]
            for axis, (name, row) in zip(axes, forms.items(), strict=True):
                _draw_form(axis, name, row)
    return figure


def draw_generators(row: dict[str, Any]) -> "Figure":
    """The generators of one run, in the basis of their span that has the fewest large entries."""
    from discover.draw import draw_basis

    algebra = LieAlgebra(
        simple_basis(torch.tensor(row["basis"], dtype=torch.float64)),
        coordinates=catalogue.lorentz().coordinates,
    )
    return draw_basis(algebra, title=f"{row['recipe']}, seed {row['seed']}: a basis of what was found")


def simple_basis(basis: Tensor, rounds: int = 200) -> Tensor:
    """An orthonormal basis (c, k, k) of the same span whose entries are large or small: varimax (Kaiser 1958)."""
    if len(basis) == 0:
        return basis
    columns = torch.linalg.qr(basis.flatten(1).mT).Q
    turn = torch.eye(columns.shape[1], dtype=columns.dtype)
    for _ in range(rounds):
        turned = columns @ turn
        pull = turned**3 - turned * turned.square().mean(0)
        left, _, right = torch.linalg.svd(columns.mT @ pull)
        turn = left @ right
    found = (columns @ turn).mT.unflatten(1, basis.shape[1:])
    largest = found.flatten(1).gather(1, found.flatten(1).abs().argmax(1, keepdim=True))
    return found * largest.sign()[:, :, None]


def _draw_spectra(axis: Any, first: dict[str, dict[str, Any]]) -> None:
    from discover.draw import COLOURS

    shown = [(name, row) for name, row in first.items() if row.get("spectrum")]
    for number, (name, row) in enumerate(shown):
        values, n = row["spectrum"], row["n_generators"]
        turn, place = divmod(number, len(COLOURS))
        colour, mark = COLOURS[place], "os^v"[turn % 4]
        axis.plot(range(1, len(values) + 1), values, "-", color=colour, lw=0.8, alpha=0.6)
        axis.plot(range(1, n + 1), values[:n], mark, color=colour, ms=5, label=f"{name}: {n}")
        axis.plot(range(n + 1, len(values) + 1), values[n:], mark, color=colour, ms=4, mfc="white")
    axis.set(yscale="log", xlabel="matrix of the search space", ylabel="violation [relative]")
    axis.set_title("spectra; filled marks are taken as generators")
    if shown:
        axis.legend(frameon=False, fontsize=7.5, loc="lower right")


def _draw_errors(axis: Any, rows: Sequence[dict[str, Any]], names: Sequence[str]) -> None:
    from discover.draw import COLOURS, INK

    for place, name in enumerate(names):
        own = [row for row in rows if row["recipe"] == name]
        errors = [row["subspace_error_to_lorentz_and_scaling"] for row in own if row["n_generators"]]
        axis.plot(errors, [place] * len(errors), "o", color=COLOURS[0], alpha=0.6, ms=6)
        none = sum(row["n_generators"] == 0 for row in own)
        if none:
            axis.annotate(f"says none ({none} of {len(own)})", (0.02, place), xycoords=("axes fraction", "data"),
                          va="center", color=INK, fontsize=8)  # fmt: skip
    axis.axvline(BEST_PUBLISHED, color=COLOURS[1], lw=1, ls="--", label=f"best published, {BEST_PUBLISHED:g}")
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(len(names) - 0.5, -0.5)
    axis.set(xscale="log", xlim=(1e-9, 5), xlabel="subspace error to so(1,3) with scaling [rad]")
    axis.set_title("every seed")
    axis.legend(frameon=False, fontsize=8)


def _draw_form(axis: Any, name: str, row: dict[str, Any]) -> None:
    from discover.draw import INK, SIGNS

    form = torch.tensor(row["metric"])
    axis.imshow(form.numpy(), cmap=SIGNS, vmin=-1.2, vmax=1.2)
    for i in range(4):
        for j in range(4):
            colour = "white" if abs(float(form[i, j])) > 0.7 else INK
            axis.text(
                j,
                i,
                f"{round(float(form[i, j]), 3) + 0.0:.3f}",
                ha="center",
                va="center",
                fontsize=6.5,
                color=colour,
            )
    axis.set_xticks(range(4), ("E", "px", "py", "pz"))
    axis.set_yticks(range(4), ("E", "px", "py", "pz"))
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0)
    axis.set_title(f"{textwrap.fill(name, 24)}\ncosine {row['metric_cosine']:.6f}", fontsize=8, color=INK)
