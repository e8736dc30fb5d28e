"""Which linear maps of momenta leave jets invariant? Recipes over seeds; ``python -m`` this file, with ``--help``.

``RECIPES`` are the searches, ``JetBenchmark`` runs them; the rest summarises and draws a result file. The truth
(so(1,3), scaling, Minkowski's form) enters the report only.
"""

import textwrap
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import torch
from cyclopts import App, Parameter
from torch import Tensor
from tqdm import tqdm

from equivariant import LieAlgebra
from tasks.common.files import read_json, to_plain, write_json
from tasks.common.plots import colour, draw_matrix, save_figure
from tasks.common.results import Column, Spread, Table, environment
from tasks.top_tagging.data.jets import MOMENTUM, Jets
from tasks.top_tagging.data.shards import load_jets
from tasks.top_tagging.discovery.jet_algebra import JetDiscovery

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["RECIPES", "JetBenchmark", "draw_discovery", "draw_generators", "simple_basis", "summary", "table"]

RECIPES: dict[str, JetDiscovery] = {
    "spectral, 2 constituents": JetDiscovery(),
    "spectral, 10 constituents": JetDiscovery(leading=10),
    "spectral, 10 constituents, by neighbours": JetDiscovery(leading=10, exact=0.0),
    "spectral, 2 constituents and label": JetDiscovery(labels=True),
    "spectral, 10 constituents and label": JetDiscovery(leading=10, labels=True),
    "spectral, jet": JetDiscovery(vectors="jet"),
    "spectral, jet and label": JetDiscovery(
        vectors="jet", labels=True, thin=0.0, steps=12_000, distribution_scale=0.03, evaluation_steps=4000
    ),
    "spectral, jet and shuffled label": JetDiscovery(vectors="jet", labels=True, thin=0.0, shuffled=True),
    "liegan, 2 constituents and label": JetDiscovery(method="liegan", labels=True, channel_penalty=1.0),
    "liegan as published, 2 constituents and label": JetDiscovery(
        method="liegan", labels=True, published=True, steps=4000
    ),
}
SHOWN = "spectral, jet and label"  # whose generators are drawn
RENAMED = {
    "law_scale": "distribution_scale",
    "judge_steps": "evaluation_steps",
    "skill": "explained_variance",
}  # names in files that 0.1 wrote
BEST_PUBLISHED = 0.076  # subspace error [rad] to so(1,3) with scaling
ERROR = "subspace_error_to_lorentz_and_scaling"
MEASURED = ("n_generators", ERROR, "subspace_error_to_lorentz", "metric_cosine", "metric_residual", "gap", "leaving",
            "explained_variance", "seconds")  # fmt: skip


@dataclass(kw_only=True)
class JetBenchmark:
    """Every recipe on every seed.

    Args:
        out: result file; a picture is put next to it. Runs that a file of the same jets holds are not repeated.
        seeds: runs of each recipe.
        first_seed: seeds count up from here; settings were chosen on seeds below 100.
        jets: how many of the jets to use at most.
        only: names of recipes, or parts of names; all where left out.
        quick: few steps, to see that everything works.
        progress: show a bar.
    """

    out: Path = Path("results/top_tagging/discovery.json")
    seeds: int = 5
    first_seed: int = 100
    jets: int = 20_000
    only: tuple[str, ...] = ()
    quick: bool = False
    progress: bool = True

    def run(self, path: Path) -> dict[str, Any]:
        """Run what is missing in ``out`` and write it after each; returns the content of the file."""
        jets = load_jets(path)[: self.jets]
        rows = self._known(jets.digest)
        todo = [(name, seed) for seed in range(self.first_seed, self.first_seed + self.seeds)
                for name in RECIPES if not self.only or any(word in name for word in self.only)]  # fmt: skip
        bar = tqdm(todo, disable=not self.progress)
        content: dict[str, Any] = {}
        for name, seed in bar:
            bar.set_postfix_str(f"{name}, seed {seed}")
            if not any((row["recipe"], row["seed"]) == (name, seed) for row in rows):
                rows.append(self._row(name, seed, jets))
            content = self._content(path, jets, rows)
            write_json(self.out, content)
        return content

    def _recipe(self, name: str, seed: int) -> JetDiscovery:
        recipe = replace(RECIPES[name], seed=seed, progress=False)
        return replace(recipe, steps=100, evaluation_steps=50) if self.quick else recipe

    def _row(self, name: str, seed: int, jets: Jets) -> dict[str, Any]:
        """One run, with its settings; a failure is a row, too."""
        recipe = self._recipe(name, seed)
        about = {"recipe": name, "seed": seed, "settings": asdict(recipe)}
        begun = time.process_time()
        try:
            found = recipe.run(jets)
        except ValueError as error:
            return about | {"failed": str(error), "seconds": time.process_time() - begun}
        verdict = found.verdict.to_dict() if found.verdict else None
        about |= found.evidence | {"metric": found.metric, "verdict": verdict, "basis": found.algebra.basis}
        return to_plain(about)

    def _known(self, digest: str) -> list[dict[str, Any]]:
        """The rows that ``out`` already holds of these jets, with the settings their recipes have now."""
        if not self.out.is_file():
            return []
        content = read_json(self.out)
        if content["jets"]["digest"] != digest or content["quick"] != self.quick:
            raise ValueError(f"{self.out} holds other jets or settings; give another --out, or remove it")
        rows = [_renamed(row) | {"settings": _renamed(row["settings"])} for row in content["rows"]]
        return [row for row in rows if self._current(row)]

    def _current(self, row: dict[str, Any]) -> bool:
        return row["recipe"] in RECIPES and row["settings"] == asdict(
            self._recipe(row["recipe"], row["seed"])
        )

    def _content(self, path: Path, jets: Jets, rows: list[dict[str, Any]]) -> dict[str, Any]:
        names = [name for name in RECIPES if any(row["recipe"] == name for row in rows)]
        return {
            "command": f"python -m tasks.top_tagging.discovery.benchmark {path.name} --out {self.out}",
            "environment": environment(),
            "jets": {"name": path.name, "count": len(jets), "digest": jets.digest},
            "quick": self.quick,
            "summary": {name: summary([row for row in rows if row["recipe"] == name]) for name in names},
            "rows": rows,
        }


def _renamed(row: dict[str, Any]) -> dict[str, Any]:
    return {RENAMED.get(name, name): value for name, value in row.items()}


def summary(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Median and range over seeds of what was measured, how many runs found something, and how many failed."""
    found: dict[str, Any] = {
        "seeds": [row["seed"] for row in rows],
        "failed": sum("failed" in row for row in rows),
        "found_none": sum(row.get("n_generators") == 0 for row in rows),
        "without_a_metric": sum("failed" not in row and row["metric"] is None for row in rows),
    }
    for name in MEASURED:
        spread = Spread.of(row.get(name) for row in rows)
        if spread.seeds:
            found[name] = {"median": spread.median, "least": spread.lowest, "most": spread.highest}
    return found


def table(summaries: dict[str, Any]) -> Table:
    """Medians over seeds."""
    forms = {"n_generators": "g", ERROR: ".2g", "metric_cosine": ".6f", "gap": ".1f", "seconds": ".1f"}
    names = ("generators", "error [rad]", "cosine", "gap", "seconds")
    rows = [
        [name, *(format(of[key]["median"], form) if key in of else "-" for key, form in forms.items())]
        for name, of in summaries.items()
    ]
    return Table(
        columns=[Column(name="recipe"), *(Column(name=name, number=True) for name in names)], rows=rows
    )


def draw_discovery(content: dict[str, Any]) -> "Figure":
    """One picture of a result file: spectra, subspace errors over seeds, and the form of each recipe's first run."""
    import matplotlib
    from matplotlib.figure import Figure

    from discover.algebra.draw import STYLE

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
        axes = below.subplots(1, len(forms), squeeze=False)[0] if forms else ()
        for axis, (name, row) in zip(axes, forms.items(), strict=True):
            draw_matrix(axis, torch.tensor(row["metric"]), MOMENTUM, form=".2f")
            axis.set_title(f"{textwrap.fill(name, 24)}\ncosine {row['metric_cosine']:.6f}", fontsize=8)
    return figure


def draw_generators(row: dict[str, Any]) -> "Figure":
    """The generators of one run, in the basis of their span that has the fewest large entries."""
    from discover.algebra.draw import draw_basis

    basis = simple_basis(torch.tensor(row["basis"], dtype=torch.float64))
    title = f"{row['recipe']}, seed {row['seed']}: a basis of the algebra that was found"
    return draw_basis(LieAlgebra(basis, coordinates=MOMENTUM), title=title)


def simple_basis(basis: Tensor, rounds: int = 200) -> Tensor:
    """An orthonormal basis (c, k, k) of the same span whose entries are large or small: varimax (Kaiser 1958)."""
    if len(basis) == 0:
        return basis
    columns = torch.linalg.qr(basis.flatten(1).mT).Q
    rotation = torch.eye(columns.shape[1], dtype=columns.dtype)
    for _ in range(rounds):
        rotated = columns @ rotation
        gradient = rotated**3 - rotated * rotated.square().mean(0)
        left, _, right = torch.linalg.svd(columns.mT @ gradient)
        rotation = left @ right
    found = (columns @ rotation).mT.unflatten(1, basis.shape[1:])
    largest = found.flatten(1).gather(1, found.flatten(1).abs().argmax(1, keepdim=True))
    return found * largest.sign()[:, :, None]


def _draw_spectra(axis: "Axes", first: dict[str, dict[str, Any]]) -> None:
    shown = [(name, row) for name, row in first.items() if row.get("spectrum")]
    for number, (name, row) in enumerate(shown):
        values, n, mark = row["spectrum"], row["n_generators"], "os^v"[number // 7 % 4]
        axis.plot(range(1, len(values) + 1), values, "-", color=colour(number), lw=0.8, alpha=0.6)
        axis.plot(range(1, n + 1), values[:n], mark, color=colour(number), ms=5, label=f"{name}: {n}")
        axis.plot(range(n + 1, len(values) + 1), values[n:], mark, color=colour(number), ms=4, mfc="white")
    axis.set(yscale="log", xlabel="matrix of the search space", ylabel="violation [relative]")
    axis.set_title("spectra; filled marks are taken as generators")
    if shown:
        axis.legend(frameon=False, fontsize=7.5, loc="lower right")


def _draw_errors(axis: "Axes", rows: Sequence[dict[str, Any]], names: Sequence[str]) -> None:
    for place, name in enumerate(names):
        own = [row for row in rows if row["recipe"] == name]
        errors = [row[ERROR] for row in own if row["n_generators"]]
        axis.plot(errors, [place] * len(errors), "o", color=colour(0), alpha=0.6, ms=6)
        none = sum(row["n_generators"] == 0 for row in own)
        if none:
            axis.annotate(f"none found ({none} of {len(own)})", (0.02, place), xycoords=("axes fraction", "data"),
                          va="center", fontsize=8)  # fmt: skip
    axis.axvline(BEST_PUBLISHED, color=colour(1), lw=1, ls="--", label=f"best published, {BEST_PUBLISHED:g}")
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(len(names) - 0.5, -0.5)
    axis.set(xscale="log", xlim=(1e-9, 5), xlabel="subspace error to so(1,3) with scaling [rad]")
    axis.set_title("every seed")
    axis.legend(frameon=False, fontsize=8)


app = App(name="discovery")


@app.default
def main(jets: Path, benchmark: Annotated[JetBenchmark | None, Parameter(name="*")] = None) -> None:
    """Look for the symmetries of the jets in JETS, a folder of shards or a file."""
    torch.set_num_threads(1)
    benchmark = benchmark or JetBenchmark()
    content = benchmark.run(jets)
    save_figure(draw_discovery(content), benchmark.out.with_suffix(".png"), dpi=120)
    shown = [row for row in content["rows"] if row.get("n_generators") and row["recipe"] == SHOWN]
    for row in shown[:1]:
        picture = benchmark.out.with_name(f"{benchmark.out.stem}_generators.png")
        save_figure(draw_generators(row), picture, dpi=120)
    print(table(content["summary"]))


if __name__ == "__main__":
    app()
