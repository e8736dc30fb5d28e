"""Which linear maps of momenta leave jets invariant? Recipes over seeds; ``python -m`` this file, with ``--help``.

The truth (so(1,3), scaling, Minkowski's form) enters the report only.
"""

import json
import os
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import torch
from cyclopts import App, Parameter
from tqdm import tqdm

from tasks.common.results import environment
from tasks.top_tagging.data.jets import Jets
from tasks.top_tagging.data.shards import load_jets
from tasks.top_tagging.discovery.jet_algebra import (
    JetAlgebra,
    JetDiscovery,
    discovered_metric,
    draw_discovery,
    draw_generators,
    summary,
    table,
)

__all__ = ["RECIPES", "JetAlgebra", "JetDiscovery", "JetStudy", "discovered_metric"]

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


@dataclass(kw_only=True)
class JetStudy:
    """Every recipe on every seed.

    Args:
        out: result file; a picture goes next to it. A file of the same jets is taken up where it stands.
        seeds: runs of each recipe. first_seed: they count up from here; settings were chosen on seeds below 100.
        jets: at most so many of the jets.
        only: names of recipes, or parts of names; all where left out.
        quick: few steps, to see that all runs.
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
        """Run what is missing in ``out`` and write it after each."""
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
            content = self._write(path, jets, rows)
        return content

    def _row(self, name: str, seed: int, jets: Jets) -> dict[str, Any]:
        """One run, with its settings; a failure is a row, too."""
        recipe = replace(RECIPES[name], seed=seed, progress=False)
        if self.quick:
            recipe = replace(recipe, steps=100, evaluation_steps=50)
        about = {"recipe": name, "seed": seed, "settings": asdict(recipe)}
        begun = time.process_time()
        try:
            found = recipe.run(jets)
        except ValueError as error:
            return about | {"failed": str(error), "seconds": time.process_time() - begun}
        verdict = found.verdict.to_dict() if found.verdict else None
        metric = None if found.metric is None else found.metric.tolist()
        return about | found.evidence | {"metric": metric, "verdict": verdict,
                                         "basis": found.algebra.basis.tolist()}  # fmt: skip

    def _known(self, digest: str) -> list[dict[str, Any]]:
        """The rows that ``out`` already holds of these jets and settings."""
        if not self.out.is_file():
            return []
        content = json.loads(self.out.read_text())
        if content["jets"]["digest"] != digest or content["quick"] != self.quick:
            raise ValueError(f"{self.out} holds other jets or settings; give another --out, or remove it")
        return [row for row in content["rows"] if self._current(row)]

    def _current(self, row: dict[str, Any]) -> bool:
        """Whether a row was made with the settings its recipe has now."""
        if row["recipe"] not in RECIPES:
            return False
        recipe = replace(RECIPES[row["recipe"]], seed=row["seed"], progress=False)
        recipe = replace(recipe, steps=100, evaluation_steps=50) if self.quick else recipe
        return row["settings"] == asdict(recipe)

    def _write(self, path: Path, jets: Jets, rows: list[dict[str, Any]]) -> dict[str, Any]:
        content = {
            "command": f"python -m tasks.top_tagging.discovery.benchmark {path.name} --out {self.out}",
            "environment": environment(),
            "jets": {"name": path.name, "count": len(jets), "digest": jets.digest},
            "quick": self.quick,
            "summary": {name: summary([row for row in rows if row["recipe"] == name])
                        for name in RECIPES if any(row["recipe"] == name for row in rows)},
            "rows": rows,
        }  # fmt: skip
        self.out.parent.mkdir(parents=True, exist_ok=True)
        fresh = self.out.with_suffix(".part")
        fresh.write_text(json.dumps(content, indent=1) + "\n")
        os.replace(fresh, self.out)
        return content


app = App(name="discovery")


@app.default
def main(jets: Path, study: Annotated[JetStudy | None, Parameter(name="*")] = None) -> None:
    """Look for the symmetries of the jets in JETS, a folder of shards or a file."""
    torch.set_num_threads(1)
    study = study or JetStudy()
    content = study.run(jets)
    draw_discovery(content).savefig(study.out.with_suffix(".png"), dpi=120)
    for row in content["rows"]:
        if row.get("n_generators") and row["recipe"] == SHOWN:
            name = f"{study.out.stem}_generators.png"
            draw_generators(row).savefig(study.out.with_name(name), dpi=120)
            break
    print(table(content["summary"]))


if __name__ == "__main__":
    app()
