"""The page of a two-body run: the symmetry, the table of models, and the curves of their training."""

from pathlib import Path
from typing import Any

from tasks.report import Picture, Section, algebra_section, draw_curves, summary_table, write_report
from tasks.results import environment, summarise
from tasks.two_body.outcome import Finding, Outcome

__all__ = ["write_two_body_report"]


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
