"""The page, the files and the moving picture of a study of a latent symmetry."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from discover.algebra.draw import draw_action, draw_basis, draw_spectrum
from discover.latent.symmetry import LatentSymmetry
from tasks.common.report import Column, Picture, Section, Table, draw_curves, write_report
from tasks.common.results import environment
from tasks.latent.data import Trajectories
from tasks.latent.forecasting import FITTED
from tasks.latent.plots import animate_orbit, draw_forecasts, draw_group_action, draw_latent_motion
from tasks.latent.results import LatentOutcome, SeedResult
from tasks.latent.systems.presets import SYSTEMS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from tasks.latent.study import LatentStudy

__all__ = ["finish"]

KINDS = (
    "symmetry: freely, in the latent space of the symmetry. constrained: the same within the fields that commute with "
    "its group. free: freely, with the monomials and the settings of the constrained one. baseline: learned beside an "
    "autoencoder that knows no symmetry. refined: fitted once more, to the first part of the trajectory instead of "
    "its rates; whole: to all of it. All but the baseline's are in coordinates of z that suit the group: its coder is "
    "adapted.safetensors."
)
WAYS = (
    "Forecasts are integrated with order 8, and by Euler's method with a step a snapshot, as in the paper. Euler's "
    "method lets an oscillation of frequency w grow by exp(w^2 dt T / 2) whatever the equation, so that targets are "
    "of the former. They start from the first snapshot alone."
)
REFINED = (
    " Refined equations, and the points that their forecasts start from, were fitted to the first 80 % of the "
    "trajectory; forecast unseen is their largest error behind it, forecast end snapshot their error at the end where "
    "the first snapshot is the start. Those named whole were fitted to all of it, as published forecasts are: they "
    "show what the equation can follow, and foretell nothing. Forecast late is the largest error behind the first "
    "tenth."
)
IN_FRAME = ", in coordinates that suit the group"
DASH = "A dash stands where a measure has no value: a forecast ran off, or an equation has no such number."


def finish(study: "LatentStudy", outcome: LatentOutcome) -> Path:
    """Write results, the page, the animation and the forecast of all finished seeds; returns the page's path.

    Pictures are of the first finished seed, whatever it came to.
    """
    folder, first = study.folder(outcome.system), outcome.results[0]
    command = study.command(outcome.system)
    data = study.simulate(outcome.system, first.seed)
    about = {
        "name": data.name,
        "shape": list(data.states.shape),
        "time_step": data.time_step,
        "digest": data.digest,
    }
    outcome.write(folder, study.config(outcome.system), about, command)
    symmetry = LatentSymmetry.load(folder / f"seed-{first.seed}" / "symmetry.safetensors")
    animate_orbit(folder / "orbit.gif", symmetry, data, start=data.states.shape[:2].numel() // 2)
    if forecast := _forecast_figure(first):
        forecast.savefig(folder / "forecast.png", dpi=120, bbox_inches="tight")
    page = folder / "report.html"
    write_report(
        page,
        title=outcome.title,
        lead=f"A symmetry that is linear in a learned latent space, from {_sentence(data)}; {len(outcome.results)} "
        "seeds. Pictures are of the first; orbit.gif beside this page moves.",
        sections=[
            _figures(outcome),
            _symmetry(outcome.system, symmetry, data, first),
            _equations(outcome),
            *_forecast(data, first),
            _training(first),
        ],
        details={"command": command, "settings": study.config(outcome.system), "environment": environment()},
    )
    return page


def _sentence(data: Trajectories) -> str:
    m, steps = data.states.shape[:2]
    size = " x ".join(map(str, data.shape))
    return f"{m} trajectories of {steps} snapshots ({size}: {', '.join(data.coordinates)}), {data.time_step:g} apart"


def _figures(outcome: LatentOutcome) -> Section:
    numbers = ("median", "lowest", "highest")
    columns = [
        Column(name="measure"),
        *(Column(name=name, number=True) for name in numbers),
        Column(name="target"),
    ]
    rows = []
    for row in outcome.summary:
        target = (
            "" if row["target"] is None else f"{row['target']}: met by {row['met']} of {len(outcome.results)}"
        )
        rows.append([row["measure"].replace("_", " "), *(_number(row[name]) for name in numbers), target])
    stages = list(dict.fromkeys(stage for result in outcome.results for stage in result.seconds))
    seconds = [
        [str(r.seed), *(f"{r.seconds.get(stage, 0):.1f}" for stage in stages)] for r in outcome.results
    ]
    head = [
        Column(name="seed", number=True),
        *(Column(name=f"{s.replace('_', ' ')} [s]", number=True) for s in stages),
    ]
    return Section(
        heading="Figures",
        lines=[
            *outcome.verdicts(),
            DASH,
            *(f"Seed {result.seed}: {word}" for result in outcome.results for word in result.words),
        ],
        tables=[Table(columns=columns, rows=rows), Table(columns=head, rows=seconds)],
    )


def _symmetry(system: str, symmetry: LatentSymmetry, data: Trajectories, first: SeedResult) -> Section:
    algebra, learned = symmetry.algebra, data.coefficients is None
    seen = symmetry.adapted() if learned else symmetry
    flat = data.states.float().flatten(0, 1)
    z = seen.encode(flat[:: max(1, len(flat) // 600)]).double()
    energy = SYSTEMS[system].energy
    pictures = [
        Picture(figure=draw_basis(algebra), caption="The generators on the latent space."),
        Picture(figure=draw_spectrum(algebra), caption="Their eigenvalues and singular values."),
        Picture(
            figure=draw_action(seen.algebra, z),
            caption=f"The latent data before and after g = exp(w L){IN_FRAME * learned}.",
        ),
    ]
    for i in range(1 if data.shape == (2,) else algebra.n_generators):
        caption = f"The data under exp(w L{i + 1}), through the decoder."
        pictures.append(Picture(figure=draw_group_action(symmetry, data, energy, i), caption=caption))
    if learned:
        caption = f"Encoded trajectories: in the plane that L turns, and against time{IN_FRAME}."
        pictures.append(Picture(figure=draw_latent_motion(seen, data), caption=caption))
    return Section(heading="The symmetry", pictures=pictures)


def _equations(outcome: LatentOutcome) -> Section:
    rows = [
        [str(result.seed), name, text.replace("\n", "; ")]
        for result in outcome.results
        for name, text in result.equations.items()
    ]
    columns = [Column(name="seed", number=True), Column(name="found"), Column(name="equation of motion")]
    return Section(
        heading="Equations",
        lines=[KINDS] if rows else [],
        tables=[Table(columns=columns, rows=rows)] if rows else [],
    )


def _forecast(data: Trajectories, first: SeedResult) -> list[Section]:
    """The long forecast of the first seed, where there is one."""
    figure = _forecast_figure(first)
    if figure is None:
        return []
    refined = any(name.endswith("refined") for name in first.curves)
    span = data.time_step * (data.states.shape[1] - 1)
    caption = "|x_hat - x| / |x|; the grey line is 1 %. Figures with this error squared show 1e-4 there."
    lines = [
        WAYS + (REFINED if refined else ""),
        f"The first snapshot and the last differ as pictures drift: over time {span:g} the latent radius goes from "
        f"{first.measures['radius_first']:.3g} to {first.measures['radius_last']:.3g}, so no closed orbit, which is "
        "all that a linear skew equation has, follows the whole."
        if _given(first, "radius_first")
        else "",
    ]
    return [
        Section(
            heading="Forecast",
            lines=[line for line in lines if line],
            pictures=[Picture(figure=figure, caption=caption)],
        )
    ]


def _forecast_figure(first: SeedResult) -> "Figure | None":
    errors = {name: curve for name, curve in first.curves.items() if name != "times" and not _repeated(name)}
    if not errors:
        return None
    refined = any(name.endswith("refined") for name in errors)
    return draw_forecasts(first.curves["times"], errors, FITTED if refined else None)


def _given(result: SeedResult, name: str) -> bool:
    return result.measures.get(name) is not None


def _repeated(curve: str) -> bool:
    """The floor of a coder is drawn once."""
    name, way = curve.split(", ")
    return way == "reconstruction" and name not in ("symmetry", "baseline")


def _training(first: SeedResult) -> Section:
    history: list[dict[str, Any]] = [row for row in first.history if row.get("reconstruction") is not None]
    if not history:
        return Section(heading="Training")
    figure = draw_curves({"reconstruction": history}, "reconstruction", "relative, squared")
    caption = "Error of the reconstruction in training."
    return Section(heading="Training", pictures=[Picture(figure=figure, caption=caption)])


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"
