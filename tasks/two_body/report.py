"""The page and the picture of a two-body run: the generator, orbits before and after g, errors of the forecasters."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from discover.algebra.draw import COLOURS, INK, QUIET
from tasks.common.plots import draw_matrix, draw_spreads, legend, panels
from tasks.common.report import (
    Picture,
    Section,
    algebra_section,
    draw_curves,
    symmetry_headline,
    write_report,
)
from tasks.common.results import Column, ResultTable, Summary, environment
from tasks.two_body.results import LARGEST_DRIFT, TwoBodyDiscovery, TwoBodyResults, energy_drift

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["COLUMNS", "draw_overview", "write_two_body_report"]

COLUMNS = (
    Column(name="model", key="model"),
    Column(name="symmetry", key="symmetry"),
    Column(name="test error", key="test_mse", form=".2e", number=True),
    Column(name="without outliers", key="mse_without_outliers", form=".2e", number=True),
    Column(name="seconds", key="seconds", form=".0f", number=True),
)
SYMMETRY_COLOURS = {"none": INK, "discovered": COLOURS[1], "refined": COLOURS[0], "true": COLOURS[2]}
OVERVIEW = (
    "The generator L as it was learned; orbits of body 1 before and after exp(w L); errors of forecasters on "
    "test orbits, which start at angles that no training orbit starts at."
)


def write_two_body_report(
    path: Path, results: TwoBodyResults, config: dict[str, Any], warning: str = ""
) -> None:
    """Write the report of a run; there must be at least one discovery.

    Args:
        path: of the page.
        results: of the run.
        config: its settings.
        warning: that it was a small run.
    """
    first, orbits = results.discoveries[0], results.orbits
    picture = Picture(
        figure=draw_overview(results), caption=OVERVIEW, narrow=draw_overview(results, columns=1)
    )
    write_report(
        path,
        title="Two bodies: discovered symmetry and forecasts",
        lead=f"{len(orbits.train)} training orbits from {orbits.source}.",
        headline=symmetry_headline(
            first.refined, first.verdict, picture, first.data, gain=_gain(results.table), warning=warning
        ),
        sections=[_models(results), _symmetry(first, results), _training(first, results)],
        details={"settings": config, "environment": environment(), "data": orbits.digest},
    )


def draw_overview(results: TwoBodyResults, columns: int = 3) -> "Figure":
    """Three panels; there must be at least one discovery and one row.

    Args:
        results: of the run.
        columns: panels side by side, 3 or 1.

    Returns:
        The figure.
    """
    size, ratios = (3.6, (1, 1, 1.5)) if columns == 3 else (4.6, None)
    figure, (generator, orbits, errors) = panels(3, columns, width=size, height=3.5, width_ratios=ratios)
    first = results.discoveries[0]
    if first.raw.n_generators:
        draw_matrix(generator, first.raw.basis[0], first.raw.coordinates, rotation=60)
    generator.set_title("generator L" if first.raw.n_generators else "no generator")
    _draw_orbits(orbits, results)
    _draw_errors(errors, results.table.summary())
    legend(errors, title="symmetry", below=columns == 1)
    return figure


def _gain(table: ResultTable) -> str:
    """Test errors of the MLP and of the EMLP with the refined symmetry."""
    errors = {(s.group["model"], s.group["symmetry"]): s["test_mse"] for s in table.summary()}
    plain, equivariant = errors.get(("MLP", "none")), errors.get(("EMLP", "refined"))
    if plain is None or equivariant is None:
        return ""
    return f"Test error: MLP {plain:.1e}, equivariant MLP (EMLP) with the found symmetry {equivariant:.1e}"


def _models(results: TwoBodyResults) -> Section:
    n = results.outliers()
    lines = [
        f"Mean squared error over all {results.future} future steps of test windows, in the data's squared units"
        f"{'; medians over seeds, with their range' if len(results.discoveries) > 1 else ''}. Framed models correct a "
        "linear forecast over the time axis (the row time-linear), which commutes with every linear symmetry."
    ]
    if any(n.values()):
        lines.append(
            f"{n['train']} training and {n['test']} test trajectories are outliers: they jump between two steps, so "
            "their energy changes."
        )
    columns = COLUMNS if n["test"] else [c for c in COLUMNS if c.key != "mse_without_outliers"]
    return Section(
        heading="All forecasters", lines=lines, tables=[results.table.table(columns, best="test_mse")]
    )


def _symmetry(first: TwoBodyDiscovery, results: TwoBodyResults) -> Section:
    part = algebra_section(
        first.raw, first.refined, first.refinement.changes, first.verdict, results.orbits.train
    )
    lines = [f"Seed {found.seed}: {found.against_truth}" for found in results.discoveries]
    return Section(
        heading=part.heading,
        verdicts=[found.verdict for found in results.discoveries if found.verdict],
        lines=[*part.lines, *lines],
        pictures=part.pictures,
        tables=part.tables,
    )


def _training(first: TwoBodyDiscovery, results: TwoBodyResults) -> Section:
    curves = {
        f"{model}, {symmetry}": rows
        for (model, symmetry, seed), rows in results.histories.items()
        if seed == first.seed and rows
    }
    critic = "Loss of the critic during discovery; a critic that tells nothing apart has 0.693."
    return Section(
        heading="Training",
        pictures=[
            Picture(
                figure=draw_curves(curves, "loss", "relative"), caption="Training loss of every forecaster."
            ),
            Picture(
                figure=draw_curves({"critic": first.liegan.history_}, "critic_loss", "nats"), caption=critic
            ),
        ],
    )


def _draw_orbits(axis: "Axes", results: TwoBodyResults, n: int = 12) -> None:
    refined = results.discoveries[0].refined
    g = refined.element(torch.full((refined.n_generators,), 2.2, dtype=refined.basis.dtype))
    orbits = results.orbits.train[energy_drift(results.orbits.train) <= LARGEST_DRIFT]
    before = orbits[:: max(1, len(orbits) // n)][:n]
    for moved, colour, label in ((before, COLOURS[0], "x"), (before @ g.mT, COLOURS[1], "exp(w L) x")):
        for i, orbit in enumerate(moved.numpy()):
            axis.plot(orbit[:, 0], orbit[:, 1], color=colour, lw=1.2, alpha=0.8, label="" if i else label)
    axis.set(xlabel="q1x [length]", ylabel="q1y [length]", aspect="equal", title="orbits of body 1")
    axis.legend(frameon=False, loc="center", handlelength=1.2, fontsize=8)


def _draw_errors(axis: "Axes", summaries: list[Summary]) -> None:
    models = list(dict.fromkeys(s.group["model"] for s in summaries))
    axis.hlines(range(len(models)), 0, 1, color=QUIET, lw=0.6, transform=axis.get_yaxis_transform(), zorder=0)
    for symmetry, colour in SYMMETRY_COLOURS.items():
        chosen = [s for s in summaries if s.group["symmetry"] == symmetry]
        offset = {"discovered": -0.18, "true": 0.18}.get(symmetry, 0.0)
        places = [models.index(s.group["model"]) + offset for s in chosen]
        draw_spreads(axis, places, [s["test_mse"] for s in chosen], color=colour, label=symmetry)
    axis.set_yticks(range(len(models)), models)
    axis.invert_yaxis()
    axis.set(xscale="log", xlabel="test error [squared units of the data]", title="forecasts of test orbits")
    axis.spines["left"].set_visible(False)
    axis.tick_params(axis="y", length=0)
