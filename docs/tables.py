"""Every table and figure of the pages and of README, made from the files under ``results/``.

``python docs/tables.py`` writes the tables of the pages and renews those of README between its markers; building the
pages does the former by itself.
"""

import json
import statistics
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from tasks.common.results import ResultTable, Summary, Target
from tasks.top_tagging.results import GROUPS, rejection_text

__all__ = ["figures", "readme", "write"]

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "results"
BEGIN, END = "<!-- results: begin (python docs/tables.py) -->", "<!-- results: end -->"
LATENT = (
    "reaction-diffusion", "reaction-diffusion-3d", "reaction-diffusion-3d-settled", "pendulum", "lotka-volterra",
    "double-bump", "rotating-object",
)  # fmt: skip


def load(name: str) -> dict[str, Any]:
    """One result file."""
    return json.loads((RESULTS / name).read_text())


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table in Markdown; the first column is text, the others stand to the right."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(str(cell) for cell in line) + " |" for line in lines) + "\n"


def number(value: float | None, digits: int = 3) -> str:
    """A figure of so many digits; nothing where there is none."""
    return "" if value is None else f"{value + 0.0:.{digits}g}"


def between(low: float, high: float, digits: int = 3) -> str:
    """A range."""
    return f"{number(low, digits)} to {number(high, digits)}"


def source(name: str, content: dict[str, Any]) -> str:
    """Where a table comes from: file, command, device and versions."""
    about = content.get("environment", content)
    versions = ", ".join(f"{package} {of}" for package, of in about.get("versions", {}).items())
    command = content.get("command")
    made = f" Made by `{command}`." if command else ""
    where = about.get("processor") or about.get("device") or ""
    return f"\nFrom `results/{name}`.{made} {where} {about.get('device', '')}; Python {about['python']}; {versions}.\n"


def two_body_discovery() -> str:
    content, spectral = load("two_body/discovery.json"), load("spectral.json")
    rows = [
        ["LieGAN", space, s["seeds"], f"{s['median_cosine']:.5f}", f"{s['least_cosine']:.5f}",
         f"{s['median_seconds']:.1f}", f"{s['plain_over_ours']:.0f}"]
        for space, s in content["summary"].items()
    ]  # fmt: skip
    cosines = sorted(run["cosine"] for run in spectral["orbits"])
    seconds = statistics.median(run["seconds"] for run in spectral["orbits"])
    rows.append(["Spectral", "free 8x8", len(cosines), f"{statistics.median(cosines):.5f}", f"{cosines[0]:.5f}",
                 f"{seconds:.1f}", ""])  # fmt: skip
    header = ("method", "search space", "seeds", "median cosine", "least", "seconds", "plain loop / ours")
    return (
        table(header, rows) + source("two_body/discovery.json", content) + source("spectral.json", spectral)
    )


def two_body_forecasts() -> str:
    pages = []
    for name in ("published", "simulated"):
        content = load(f"two_body/{name}/results.json")
        rows = [
            [s["model"], s["symmetry"], f"{s['test_mse']:.2e}", _spread(s), f"{_without_outliers(s):.2e}",
             f"{s['seconds']:.0f}", s["seeds"]]
            for s in content["summary"]
        ]  # fmt: skip
        header = (
            "model", "symmetry", "test error", "range over seeds", "without outlier orbits", "seconds", "seeds",
        )  # fmt: skip
        title = {"published": "The orbits of the LieGAN paper", "simulated": "Orbits of the simulator"}[name]
        pages.append(
            f"### {title}\n\n" + table(header, rows) + source(f"two_body/{name}/results.json", content)
        )
    return "\n".join(pages)


def _spread(summary: dict[str, Any]) -> str:
    return "" if summary["seeds"] == 1 else f"{summary['lowest']:.2e} to {summary['highest']:.2e}"


def _without_outliers(summary: dict[str, Any]) -> float:
    return summary.get("mse_without_outliers", summary.get("unbroken_mse"))


def jet_symmetries() -> str:
    content = load("top_tagging/discovery.json")
    rows = []
    for name, of in content["summary"].items():
        angles, cosine = of.get("subspace_error_to_lorentz_and_scaling"), of.get("metric_cosine")
        found = of["found_none"] < len(of["seeds"]) and angles is not None
        error = (
            f"{angles['median']:.2g} ({between(angles['least'], angles['most'], 2)})"
            if found
            else "none found"
        )
        least = f"{cosine['least']:.6f}" if found and cosine else ""
        rows.append(
            [name, number(of["n_generators"]["median"]), error, least, f"{of['seconds']['median']:.1f}"]
        )
    header = ("what is looked at", "generators", "subspace error [rad], median (range)", "least cosine of the metric",
              "seconds")  # fmt: skip
    return table(header, rows) + source("top_tagging/discovery.json", content)


def taggers() -> str:
    content = load("top_tagging/cpu/results.json")
    boosted: dict[str, list[float]] = {}
    for curve in content["boosts"]:
        if curve["measure"] == "auc":
            boosted.setdefault(curve["run"].rsplit(", ", 2)[0], []).append(curve["with_beams"][-1])
    rows = []
    summaries = tagger_summaries()
    for s in summaries:
        name, size, auc = s.group["row"], s.group["train_jets"], s["auc"]
        rejections = [rejection_text(s, efficiency) for efficiency in (0.5, 0.3)]
        largest = size == max(t.group["train_jets"] for t in summaries if t.group["row"] == name)
        boost = f"{statistics.median(boosted[name]):.4f}" if largest and name in boosted else ""
        spread = "" if s.seeds == 1 else between(auc.lowest, auc.highest, 4)
        rows.append([name, size, f"{s['parameters'].median:.0f}", f"{s['accuracy']:.4f}".split(" ")[0],
                     f"{auc.median:.4f}", spread, *rejections, boost])  # fmt: skip
    header = ("tagger", "training jets", "parameters", "accuracy", "AUC", "range over seeds", "1/eB at eS 0.5",
              "1/eB at eS 0.3", "AUC after a boost")  # fmt: skip
    pairs = [
        [d["train_jets"], f"{d['value']:+.4f}", f"{d['low']:+.4f} to {d['high']:+.4f}"]
        for d in content["auc_minus_lorentznet"]
        if d["row"] == "LieGNN"
    ]
    paired = table(("training jets", "AUC of LieGNN minus LorentzNet, paired", "range"), pairs)
    return f"{table(header, rows)}\n{paired}{source('top_tagging/cpu/results.json', content)}"


def tagger_summaries() -> list[Summary]:
    return ResultTable.read(RESULTS / "top_tagging/cpu/results.json", by=GROUPS).summary()


def generated_jets() -> str:
    content = load("top_tagging/jets.json")
    rows = [
        [name, number(of["found"], 4), number(of["expected"], 4), number(of["near"], 2),
         "yes" if of["holds"] else "no"]
        for name, of in content["expected"].items()
    ]  # fmt: skip
    header = ("quantity", "our jets", "expected", "tolerance", "agrees")
    return table(header, rows) + "\nFrom `results/top_tagging/jets.json`.\n"


def latent_results(system: str) -> ResultTable:
    """Measures of all seeds of one system, from a file of any version."""
    path = RESULTS / f"latent/{system}/results.json"
    names = ("measure", "at_least", "at_most")
    targets = [
        Target(**{name: target.get(name) for name in names})
        for target in json.loads(path.read_text())["targets"]
    ]
    return ResultTable.read(path, targets=targets)


def latent_symmetries() -> str:
    pages = []
    for system in LATENT:
        content, results = load(f"latent/{system}/results.json"), latent_results(system)
        targets = {target.measure: target for target in results.targets}
        rows = []
        for name, spread in results.summary()[0].spreads.items():
            target = targets.get(name)
            met = sum(target.met(row.get(name)) for row in results.rows) if target else 0
            rows.append([
                name.replace("_", " "), number(spread.median, 4),
                between(spread.lowest or 0.0, spread.highest or 0.0, 4) if spread.seeds > 1 else "",
                target or "", f"{met} of {len(results.rows)}" if target else "",
            ])  # fmt: skip
        header = ("quantity", "median", "range over seeds", "wanted", "met by")
        chosen = [row for row in rows if row[3]]
        other = [row for row in rows if not row[3]]
        more = f"\n:::{{dropdown}} All other quantities\n{table(header[:3], [row[:3] for row in other])}:::\n"
        pages.append(f"## {system}\n\n{table(header, chosen)}{more if other else ''}"
                     + source(f"latent/{system}/results.json", content))  # fmt: skip
    return "\n".join(pages)


def sindy_ratios() -> dict[int, tuple[float, float]]:
    """Error of pysindy's coefficients over those with the learned constraint: least and largest, by trajectories."""
    summary = load("constrained_sindy.json")["summary"]
    keys = ("system", "trajectories", "noise", "sector")
    errors = {(*(row[key] for key in keys), row["method"]): row["coefficient_error"] for row in summary}
    ratios: dict[int, list[float]] = {}
    for (*key, method), error in errors.items():
        if method == "pysindy":
            ratios.setdefault(int(key[1]), []).append(error / errors[(*key, "learned")])
    return {count: (min(values), max(values)) for count, values in sorted(ratios.items())}


def constrained_sindy() -> str:
    rows = [[count, between(*ratios, 2)] for count, ratios in sindy_ratios().items()]
    header = (
        "trajectories",
        "error of pysindy's coefficients over ours, range over systems, noise and coverage",
    )
    content = load("constrained_sindy.json")
    return table(header, rows) + source("constrained_sindy.json", content)


def models() -> str:
    content = load("benchmarks/models.json")
    seconds = {(r["kind"], r["batch"], r["nodes"], r["hidden"]): r["seconds"] for r in content["liegnn"]}
    (ours,) = {kind for kind, *_ in seconds} - {"plain"}
    blocks = {n: seconds["plain", 16, n, 72] / seconds[ours, 16, n, 72] for n in (50, 100)}
    ranges = {
        "EMLP, training step, over a plain network's": [row["step_ratio"] for row in content["emlp"]],
        "EMLP, evaluation of `net.dense()`, over a plain network's": [r["evaluation_ratio"] for r in content["emlp"]],
        "published EMLP package, training step, over ours": [row["ratio"] for row in content["published_emlp"]],
        "block written plainly, training step, over LieGNN's, 50 nodes": [blocks[50]],
        "block written plainly, training step, over LieGNN's, 100 nodes": [blocks[100]],
        "`torch.matrix_exp` over group elements by closed forms": [
            row["ratio"] for row in content["elements"] if row["closed"]
        ],
    }  # fmt: skip
    rows = [
        [name, number(ratios[0]) if len(ratios) == 1 else between(min(ratios), max(ratios))]
        for name, ratios in ranges.items()
    ]
    return table(("what", "ratio of seconds, range over groups and sizes"), rows) + source(
        "benchmarks/models.json", content
    )


def import_time() -> str:
    content = load("import_time.json")
    rows = [[name, f"{seconds:.2f}"] for name, seconds in content["seconds"].items()]
    return table(("imported", "seconds"), rows) + "\nFrom `results/import_time.json`.\n"


def names() -> str:
    content = load("names.json")
    sets = {"used while the rules were chosen": content["tuning"], "kept aside": content.get("held_out", [])}
    rows = [
        [label, f"{row['noise']:.0%}", row["right"], row["not named"], row["wrong"]]
        for label, counts in sets.items()
        for row in counts
    ]
    header = ("algebras", "noise", "named right", "not named", "named wrong")
    return table(header, rows) + source("names.json", content)


def verdict() -> str:
    content = load("verdict.json")
    rows = [
        [f"{row['truth']}: {row['kind']}", row["problems"], row["symmetric"], row["not symmetric"], row["cannot tell"]]
        for row in content["by_kind"]
    ]  # fmt: skip
    by_size = [
        [f"{row['truth']}: n = {row['n']}", row["problems"], row["symmetric"], row["not symmetric"], row["cannot tell"]]
        for row in content["by_n"]
        if row["truth"] != "near"
    ]  # fmt: skip
    low, high = content["false_rate_interval"]
    power, rival = content["power_interval"], content["published"]["SymCert"]
    summary = (
        f"False declarations: {content['false_declarations']} of {content['null_problems']} "
        f"(95 % interval of the rate {low:.2%} to {high:.2%}; {content['alpha']:.0%} were allowed). "
        f"Declared symmetric: {content['declared_symmetric']} of {content['symmetric_problems']} exactly symmetric "
        f"problems ({power[0]:.0%} to {power[1]:.0%}); called not symmetric: {content['called_not_symmetric']}. "
        f"Published for SymCert on its own problems: {rival['false_certification']:.1%} false, "
        f"{rival['detection']:.1%} detected.\n\n"
    )
    header = ("problems", "number", "symmetric", "not symmetric", "cannot tell")
    return summary + table(header, rows + by_size) + source("verdict.json", content)


PAGES: dict[str, Callable[[], str]] = {
    "two_body_discovery": two_body_discovery,
    "two_body_forecasts": two_body_forecasts,
    "jet_symmetries": jet_symmetries,
    "taggers": taggers,
    "generated_jets": generated_jets,
    "latent_symmetries": latent_symmetries,
    "constrained_sindy": constrained_sindy,
    "models": models,
    "import_time": import_time,
    "names": names,
    "verdict": verdict,
}


def write(folder: Path) -> None:
    """Write every table as a file of its own, to be included by the pages."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, page in PAGES.items():
        (folder / f"{name}.md").write_text(page(), encoding="utf-8")


def figures() -> dict[str, str]:
    """Single figures that stand in sentences of the pages, by name."""
    forecasts = {(s["model"], s["symmetry"]): s for s in load("two_body/published/results.json")["summary"]}
    simulated = {(s["model"], s["symmetry"]): s for s in load("two_body/simulated/results.json")["summary"]}
    jets = load("top_tagging/jets.json")
    spectral = load("spectral.json")
    worst = max(run["subspace_error_to_lorentz_and_scaling"] for run in spectral["jets"])
    taggers_ = {s.group["row"]: s["auc"] for s in tagger_summaries() if s.group["train_jets"] >= 20_000}
    found = {
        "mlp": f"{forecasts['MLP', 'none']['test_mse']:.1e}",
        "emlp": f"{forecasts['EMLP', 'refined']['test_mse']:.1e}",
        "mlp_simulated": f"{simulated['MLP', 'none']['test_mse']:.1e}",
        "emlp_simulated": f"{simulated['EMLP', 'refined']['test_mse']:.1e}",
        "framed_simulated": f"{simulated['MLP, framed', 'none']['test_mse']:.1e}",
        "jets_worst": f"{worst:.1e}",
        "top_mass_difference": f"{_mass_difference(jets):+.1f}",
        "published_accuracy": f"{jets['generated']['published']['accuracy']:.3f}",
        "published_auc": f"{jets['generated']['published']['auc']:.4f}",
        "liegnn_auc": f"{taggers_['LieGNN'].median:.4f}",
        "lorentznet_auc": f"{taggers_['LorentzNet'].median:.4f}",
        "raw_auc": f"{taggers_['LorentzNet, raw'].median:.4f}",
    }
    for count, (low, high) in sindy_ratios().items():
        found[f"sindy_{count}"] = between(low, high, 2)
    return found


def _mass_difference(jets: dict[str, Any]) -> float:
    expected = jets["expected"]["top.mass_median"]
    return expected["found"] - expected["expected"]


def readme() -> str:
    """README's table of tasks: one figure each, with a link to where it is explained."""
    told = figures()
    jets = load("top_tagging/discovery.json")["summary"]
    error = jets["spectral, 10 constituents"]["subspace_error_to_lorentz_and_scaling"]["median"]
    latent = latent_results("reaction-diffusion").summary()[0]
    emlp = load("benchmarks/models.json")["published_emlp"]
    rows = [
        ["Two-body orbits: the rotation is found, a forecaster obeys it", "`liesmith two-body`",
         f"test error {told['mlp_simulated']} without, {told['emlp_simulated']} with it",
         "[results](docs/results/two_body.md)"],
        ["Jets: the Lorentz algebra and its metric are found without labels", "`liesmith top-tagging`",
         f"{error:.0e} rad from so(1,3) + scaling; AUC {told['liegnn_auc']}, the true metric {told['lorentznet_auc']}",
         "[results](docs/results/top_tagging.md)"],
        ["Latent spaces: a symmetry and the equation of motion", "`liesmith latent reaction-diffusion`",
         f"cosine {latent['cosine_inner'].median:.4f}, {latent['terms'].median:.0f} terms",
         "[results](docs/results/latent.md)"],
        ["Equations: SINDy among equations that obey the symmetry", "`discover.SINDy(symmetry=...)`",
         f"coefficients {told['sindy_1']} times more exact than pysindy's, one short trajectory",
         "[results](docs/results/latent.md)"],
        ["EMLP and LieGNN for any algebra", "`equivariant.EMLP`, `LieGNN`",
         f"step {between(min(r['ratio'] for r in emlp), max(r['ratio'] for r in emlp), 2)} times faster than emlp's",
         "[results](docs/results/models.md)"],
    ]  # fmt: skip
    return table(("what", "how", "one figure", "more"), rows)


def main() -> None:
    """Renew the tables of the pages and of README."""
    write(ROOT / "docs" / "_generated")
    path = ROOT / "README.md"
    before, rest = path.read_text(encoding="utf-8").split(BEGIN)
    after = rest.split(END)[1]
    path.write_text(f"{before}{BEGIN}\n{readme()}{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
