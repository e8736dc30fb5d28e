"""The page of a two-body run: the symmetry, the table of models, and the curves of their training."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from discover.algebra.draw import COLOURS, INK, QUIET, SIGNS, STYLE
from tasks.common.report import Picture, Section, algebra_section, draw_curves, summary_table, write_report
from tasks.common.results import Summary, environment, summarise
from tasks.two_body.results import LARGEST_DRIFT, Finding, Outcome, energy_drift

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_overview", "write_two_body_report"]


def write_two_body_report(path: Path, outcome: Outcome, config: dict[str, Any]) -> None:
    """Write the report of what a run has come to; there must be at least one finding."""
    first = outcome.findings[0]
    symmetry = algebra_section(
        first.raw, first.refined, first.refinement.changes, first.verdict, outcome.orbits.train
    )
    write_report(
        path,
        title="Two bodies: a symmetry found, and what it is worth",
        lead=f"{len(outcome.orbits.train)} training orbits from {outcome.orbits.source}; training orbits start on "
        "one half circle, test orbits on the other.",
        sections=[symmetry, _against_truth(outcome), _models(outcome), _training(first, outcome)],
        details={"settings": config, "environment": environment(), "data": outcome.orbits.digest},
    )


def _against_truth(outcome: Outcome) -> Section:
    lines = [f"Seed {found.seed}: {found.against_truth}" for found in outcome.findings]
    return Section(
        heading="Against the true rotation", lines=lines, verdicts=[f.verdict for f in outcome.findings[1:]]
    )


def _models(outcome: Outcome) -> Section:
    broken = outcome.broken()
    lines = [
        f"Mean squared error over all {outcome.future} future steps of test windows, in the data's own units; medians "
        "over seeds. Framed models correct a linear forecast over the time axis, which is the row time-linear; it "
        "commutes with every linear symmetry, so it favours none."
    ]
    if any(broken.values()):
        lines.append(
            f"{broken['train']} training and {broken['test']} test trajectories jump between two steps and solve no "
            "equation of motion; the last errors leave them out."
        )
    return Section(heading="Forecasters", lines=lines, tables=[summary_table(summarise(outcome.rows))])


def _training(first: Finding, outcome: Outcome) -> Section:
    curves = {
        f"{model}, {symmetry}": rows
        for (model, symmetry, seed), rows in outcome.histories.items()
        if seed == first.seed and rows
    }
    game = {"critic": first.liegan.history_}
    return Section(
        heading="Training",
        pictures=[
            Picture(
                figure=draw_curves(curves, "loss", "relative"), caption="Training loss of every forecaster."
            ),
            Picture(
                figure=draw_curves(game, "critic_loss", "nats"),
                caption="Loss of the critic during discovery; 0.693 is a critic that sees no difference.",
            ),
        ],
    )


SYMMETRY_COLOURS = {"none": INK, "discovered": COLOURS[1], "refined": COLOURS[0], "true": COLOURS[2]}


def draw_overview(outcome: Outcome) -> "Figure":
    """Three panels; there must be at least one finding and one row."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(11, 3.5), layout="constrained")
        generator, orbits, errors = figure.subplots(1, 3, width_ratios=(1, 1, 1.5))
    _draw_generator(generator, outcome)
    _draw_orbits(orbits, outcome)
    _draw_errors(errors, summarise(outcome.rows))
    return figure


def _draw_generator(axis: "Axes", outcome: Outcome) -> None:
    raw = outcome.findings[0].raw
    matrix = raw.basis[0] / raw.basis[0].abs().max()
    axis.imshow(matrix.numpy(), cmap=SIGNS, vmin=-1, vmax=1)
    names = [name.split(" ")[0] for name in raw.coordinates]
    axis.set_xticks(range(len(names)), names, rotation=60)
    axis.set_yticks(range(len(names)), names)
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0)
    axis.set_title("found: a generator L")


def _draw_orbits(axis: "Axes", outcome: Outcome, n: int = 12) -> None:
    refined = outcome.findings[0].refined
    g = refined.element(torch.full((refined.n_generators,), 2.2, dtype=refined.basis.dtype))
    intact = outcome.orbits.train[energy_drift(outcome.orbits.train) <= LARGEST_DRIFT]
    before = intact[:: max(1, len(intact) // n)][:n]
    for orbits, colour, label in ((before, COLOURS[0], "x"), (before @ g.mT, COLOURS[1], "exp(w L) x")):
        for i, orbit in enumerate(orbits.numpy()):
            axis.plot(orbit[:, 0], orbit[:, 1], color=colour, lw=1.2, alpha=0.8, label="" if i else label)
    axis.set(xlabel="q1x [length]", ylabel="q1y [length]", aspect="equal", title="orbits of body 1")
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False, loc="center", handlelength=1.2)


def _draw_errors(axis: "Axes", summaries: Sequence[Summary]) -> None:
    models = list(dict.fromkeys(s.model for s in summaries))
    axis.hlines(range(len(models)), 0, 1, color=QUIET, lw=0.6, transform=axis.get_yaxis_transform(), zorder=0)
    for symmetry, colour in SYMMETRY_COLOURS.items():
        chosen = [s for s in summaries if s.symmetry == symmetry]
        offset = {"discovered": -0.18, "true": 0.18}.get(symmetry, 0.0)
        places = [models.index(s.model) + offset for s in chosen]
        axis.plot([s.test_mse for s in chosen], places, "o", ms=6, color=colour, label=symmetry)
        axis.hlines(places, [s.lowest for s in chosen], [s.highest for s in chosen], color=colour, lw=1.5)
    axis.set_yticks(range(len(models)), models)
    axis.invert_yaxis()
    axis.set(
        xscale="log", xlabel="test error [squared units of the data]", title="forecasts on unseen angles"
    )
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.tick_params(axis="y", length=0)
    axis.legend(frameon=False, title="symmetry", loc="center left", bbox_to_anchor=(1, 0.5))
