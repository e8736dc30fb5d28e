"""The page and the pictures of a study of a latent symmetry."""

from typing import TYPE_CHECKING

from discover.algebra.draw import draw_action, draw_basis, draw_spectrum
from discover.latent.symmetry import LatentSymmetry
from equivariant.files import write_file
from tasks.common.plots import draw_curves, save_figure
from tasks.common.report import Headline, Picture, Section, algebra_in_words, write_report
from tasks.common.results import Column, Spread, Table, environment
from tasks.latent.data import Trajectories
from tasks.latent.forecasting import FITTED
from tasks.latent.plots import (
    animate_orbit,
    draw_forecasts,
    draw_group_action,
    draw_latent_motion,
    shortened,
)
from tasks.latent.results import LatentResults, SeedResult
from tasks.latent.systems.presets import SYSTEMS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from tasks.latent.study import LatentStudy

__all__ = ["describe", "write_latent_report"]

EQUATIONS = (
    "symmetry: sparse regression in the latent space. constrained: the same among the equations that are equivariant "
    "under the group. free: regression with the library of the constrained equation, without a symmetry. baseline: "
    "trained together with an autoencoder, without a symmetry (SINDy autoencoder, Champion et al. 2019). refined: "
    "fitted to the first 80 % of the trajectory instead of its rates; whole: fitted to all of it. All but the "
    "baseline are in coordinates adapted to the group (adapted.safetensors)."
)
FORECASTS = (
    "Forecasts start from the first snapshot. They are integrated with order 8, and by Euler's method with one step a "
    "snapshot, as in the paper, under which an oscillation of frequency w grows by exp(w^2 dt T / 2) whatever the "
    "equation; targets are for order 8."
)
REFINED = (
    "Refined equations and their initial points were fitted to the first 80 % of the trajectory; forecast unseen is "
    "their largest error after it, forecast end snapshot their error at the end when started from the first snapshot. "
    "Those named whole were fitted to all of it, as published forecasts are, so they show what an equation can follow "
    "and are no forecast. Forecast late is the largest error after the first tenth."
)
ADAPTED = ", in coordinates adapted to the group"
GAINS = {  # measure of a forecast: what it is
    "refined_forecast_unseen": "Largest forecast error on the unseen last fifth",
    "forecast_end": "Forecast error at the end",
}
LONGEST = 60  # characters of an equation in the headline
NAMES = {
    "cosine_inner": "cosine of the generator with a rotation",
    "energy_drift": "relative change of the energy along the orbits",
    "equivariance_error": "error under known group elements",
    "terms": "number of terms of the equation",
    "coefficient_mismatch": "difference of its two coefficients",
    "largest_degree": "degree of the equation",
}


def write_latent_report(study: "LatentStudy", results: LatentResults) -> Headline:
    """Write the page, the animated orbit and the forecasts; pictures are of the first finished seed.

    Args:
        study: that was run.
        results: of all seeds.

    Returns:
        The first screen of the page.
    """
    folder, first = study.folder(results.system), results.seeds[0]
    data = study.simulate(results.system, first.seed)
    symmetry = LatentSymmetry.load(folder / f"seed-{first.seed}" / "symmetry.safetensors")
    seen = symmetry if data.coefficients is not None else symmetry.adapted()
    equation = shortened(_equation(first))
    orbit = animate_orbit(seen, data, title=equation, start=data.states.shape[:2].numel() // 2)
    write_file(folder / "orbit.gif", orbit)
    forecasts = _draw_forecasts(first)
    if forecasts is not None:
        save_figure(forecasts, folder / "forecast.png", dpi=120, bbox_inches="tight")
    caption = "One snapshot on its orbit under the group" + (
        ", and the equation of motion." if equation else "."
    )
    headline = describe(study, results, symmetry, Picture(figure=orbit, caption=caption))
    write_report(
        folder / "report.html",
        title=f"{SYSTEMS[results.system].title}: a symmetry in a learned latent space",
        lead=_lead(data, results),
        headline=headline,
        sections=[
            _equations(results),
            *([] if forecasts is None else [_forecasts(data, first, forecasts)]),
            _symmetry(results.system, symmetry, seen, data),
            _measures(results),
            *_training(first),
        ],
        details={
            "command": study.command(results.system),
            "settings": study.config(results.system),
            "environment": environment(),
        },
    )
    return headline


def describe(
    study: "LatentStudy", results: LatentResults, symmetry: LatentSymmetry, picture: Picture | None = None
) -> Headline:
    """What was found, how sure that is, and what it gains.

    Args:
        study: that was run.
        results: of all seeds.
        symmetry: of the first finished seed.
        picture: for the page.

    Returns:
        The first screen of the page.
    """
    spreads = results.table.summary()[0].spreads
    met, shown = 0, []
    for target in results.targets:
        count = sum(target.met(result.measures.get(target.measure)) for result in results.seeds)
        met += count == len(results.seeds)
        name = NAMES.get(target.measure, target.measure.replace("_", " "))
        median = spreads.get(target.measure, Spread.of([])).median
        shown.append(f"{name} {'-' if median is None else f'{median + 0.0:.3g}'}, {target}")
    total = len(results.targets)
    word = "Sure" if met == total else "Partly sure" if met else "Not sure"
    count = f"{met} of {total} targets are met" if total > 1 else f"the target is {'' if met else 'not '}met"
    count += " by all seeds" if len(results.seeds) > 1 else ""
    extra = f"; {total - 3} more below" if total > 3 else ""
    equation = _equation(results.seeds[0]).replace("\n", ", ")
    if len(equation) > LONGEST:
        equation = f"equation of motion with {results.seeds[0].measures['terms']:.0f} terms"
    return Headline(
        found=f"{_group(symmetry, study, results.system)}{': ' if equation else ''}{equation}",
        sure=f"{word}: {count} ({'; '.join(shown[:3])}{extra})." if total else "",
        gain=_gain(results, spreads),
        picture=picture,
        passed=met == total,
        warning=study.warning,
    )


def _group(symmetry: LatentSymmetry, study: "LatentStudy", system: str) -> str:
    """The group in words; a given one by its name."""
    structure = study.settings(system).get("structure", "free")
    algebra = symmetry.algebra
    if isinstance(structure, str) and "free" not in structure:
        return f"The given group {structure} acts linearly on {algebra.dim} latent coordinates"
    if algebra.n_generators == 1 and symmetry.inner_product().violation < 0.05:
        return f"Rotation in a plane of {algebra.dim} latent coordinates, so(2)"
    return f"{algebra_in_words(symmetry.adapted().algebra)}, on {algebra.dim} latent coordinates"


def _equation(first: SeedResult) -> str:
    """The sparse equation in the latent space; empty where there is none."""
    text = first.equations.get("symmetry", "none")
    return "" if text.startswith("none") else text


def _gain(results: LatentResults, spreads: dict[str, Spread]) -> str:
    """A forecast with the symmetry against one without; else the fit of the rates; empty where neither is there."""
    for measure, words in GAINS.items():
        baseline = spreads.get(f"baseline_{measure}")
        found = spreads.get(f"constrained_{measure}")
        if found is not None and baseline is not None:
            return f"{words}: {_percent(found)} with the symmetry, {_percent(baseline)} without (SINDy autoencoder)"
    free, constrained = spreads.get("symmetry_residual"), spreads.get("constrained_residual")
    if free is None or constrained is None:
        return ""
    degree = SYSTEMS[results.system].degree
    larger = dict(SYSTEMS[results.system].constrained).get("degree", degree)
    return (
        f"Error of dz/dt: {_percent(constrained)} with the equivariant equation of degree {larger}, "
        f"{_percent(free)} with a free one of degree {degree}"
    )


def _percent(spread: Spread) -> str:
    return "diverged" if spread.median is None else f"{100 * spread.median:.2g} %"


def _lead(data: Trajectories, results: LatentResults) -> str:
    m, steps = data.states.shape[:2]
    size = " x ".join(map(str, data.shape)) + ": " if len(data.shape) > 1 else ""
    many = f"{m} trajectories" if m > 1 else "One trajectory"
    seeds = (
        f", median of {len(results.seeds)} seeds; pictures are of the first" if len(results.seeds) > 1 else ""
    )
    return (
        f"{many} of {steps} snapshots ({size}{', '.join(data.coordinates)}), {data.time_step:g} apart{seeds}."
    )


def _measures(results: LatentResults) -> Section:
    """All measures with their targets, seconds of the stages, and sentences."""
    targets = {target.measure: target for target in results.targets}
    rows = []
    for name, spread in results.table.summary()[0].spreads.items():
        target = targets.get(name)
        met = sum(target.met(r.measures.get(name)) for r in results.seeds) if target else 0
        reached = f"{target}: met by {met} of {len(results.seeds)}" if target else ""
        rows.append([name.replace("_", " "), str(spread), reached])
    columns = [Column(name="measure"), Column(name="median (range of seeds)"), Column(name="target")]
    return Section(
        heading="All measures",
        lines=[f"Seed {result.seed}: {word}" for result in results.seeds for word in result.words],
        tables=[Table(columns=columns, rows=rows)],
    )


def _symmetry(system: str, symmetry: LatentSymmetry, seen: LatentSymmetry, data: Trajectories) -> Section:
    algebra, learned = symmetry.algebra, data.coefficients is None
    flat = data.states.float().flatten(0, 1)
    z = seen.encode(flat[:: max(1, len(flat) // 600)]).double()
    pictures = [
        Picture(figure=draw_basis(algebra), caption="The generators on the latent space."),
        Picture(figure=draw_spectrum(algebra), caption="Their eigenvalues and singular values."),
        Picture(
            figure=draw_action(seen.algebra, z),
            caption=f"The encoded data before and after g = exp(w L){ADAPTED * learned}.",
        ),
    ]
    for i in range(1 if data.shape == (2,) else algebra.n_generators):
        figure = draw_group_action(symmetry, data, SYSTEMS[system].energy, i)
        pictures.append(Picture(figure=figure, caption=f"The data under exp(w L{i + 1}), decoded."))
    if learned:
        caption = f"Encoded trajectories: in the plane that L rotates, and against time{ADAPTED}."
        pictures.append(Picture(figure=draw_latent_motion(seen, data), caption=caption))
    return Section(heading="The symmetry in detail", pictures=pictures)


def _equations(results: LatentResults) -> Section:
    rows = [
        [str(result.seed), name.replace("_", ", "), text.replace("\n", "; ")]
        for result in results.seeds
        for name, text in result.equations.items()
    ]
    columns = [Column(name="seed", number=True), Column(name="found by"), Column(name="equation of motion")]
    tables = [Table(columns=columns, rows=rows)] if rows else []
    return Section(heading="Equations of motion", lines=[EQUATIONS] if rows else [], tables=tables)


def _forecasts(data: Trajectories, first: SeedResult, figure: "Figure") -> Section:
    """The forecasts of the first seed."""
    lines = [FORECASTS] + [REFINED] * any(name.endswith("refined") for name in first.curves)
    if first.measures.get("radius_first") is not None:
        span = data.time_step * (data.states.shape[1] - 1)
        lines.append(
            f"Over time {span:g} the latent radius goes from {first.measures['radius_first']:.3g} to "
            f"{first.measures['radius_last']:.3g}. A linear skew equation has closed orbits alone, of constant radius."
        )
    caption = "|x_hat - x| / |x|; the grey line is 1 %. Squared errors, as in the paper, are 1e-4 there."
    return Section(heading="Forecasts", lines=lines, pictures=[Picture(figure=figure, caption=caption)])


def _draw_forecasts(first: SeedResult) -> "Figure | None":
    repeated = ("times", "constrained, reconstruction")  # one reconstruction for each autoencoder
    errors = {name: curve for name, curve in first.curves.items() if name not in repeated}
    if not errors:
        return None
    refined = any(name.endswith("refined") for name in errors)
    return draw_forecasts(first.curves["times"], errors, FITTED if refined else None)


def _training(first: SeedResult) -> list[Section]:
    history = [row for row in first.history if row.get("reconstruction") is not None]
    if not history:
        return []
    figure = draw_curves({"reconstruction": history}, "reconstruction", "relative, squared")
    picture = Picture(figure=figure, caption="Reconstruction error during the training.")
    return [Section(heading="Training", pictures=[picture])]
