"""Linear symmetries of four-momenta, found on jets, and the form J that they leave invariant.

Nothing of the answer goes in: what is known of it (so(1,3), Minkowski's form) enters the evidence only.
"""

import statistics
import textwrap
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from discover import LieGAN, Spectral
from discover.data.whitening import Whitening
from discover.spectral.tangent import normals
from discover.validation.certify import Verdict
from equivariant import LieAlgebra, catalogue, invariant_metrics
from equivariant.compare import principal_angles
from tasks.top_tagging.data.jets import Jets

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "JetAlgebra",
    "JetDiscovery",
    "against_lorentz",
    "discovered_metric",
    "draw_discovery",
    "draw_generators",
    "jet_vectors",
    "leaving",
    "simple_basis",
    "summary",
    "table",
]

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
        if forms:
            axes = below.subplots(1, len(forms), squeeze=False)[0]
            for axis, (name, row) in zip(axes, forms.items(), strict=True):
                _draw_form(axis, name, row)
    return figure


def draw_generators(row: dict[str, Any]) -> "Figure":
    """The generators of one run, in the basis of their span that has the fewest large entries."""
    from discover.algebra.draw import draw_basis

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
    from discover.algebra.draw import COLOURS

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
    from discover.algebra.draw import COLOURS, INK

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
    from discover.algebra.draw import INK, SIGNS

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


MOMENTUM = ("E [GeV]", "px [GeV]", "py [GeV]", "pz [GeV]")
LEAST_GAP, LARGEST_RESIDUAL = 3.0, 0.15


@dataclass(frozen=True, kw_only=True, eq=False)
class JetAlgebra:
    """What was found on jets.

    Args:
        algebra: the generators (c, 4, 4) on (E, px, py, pz), as the method gave them.
        metric: the form J (4, 4) they keep best, of norm 2, positive for (1, 0, 0, 0); ``None`` where there is none.
        verdict: what held-out jets say; ``None`` without generators.
        evidence: numbers of the method, and the angles to the truth, which the method never saw.
    """

    algebra: LieAlgebra
    metric: Tensor | None
    verdict: Verdict | None
    evidence: dict[str, Any]


@dataclass(kw_only=True)
class JetDiscovery:
    """One search for linear symmetries of four-momenta.

    Args:
        method: "spectral" (number of generators by the gap of its spectrum) or "liegan" (as many as asked for).
        vectors: "constituents" looks at the ``leading`` hardest of each jet, side by side; "jet" at their sum
            over all constituents, the momentum of the whole jet.
        leading: constituents of a jet that are looked at; jets with fewer are left out.
        labels: ask what keeps the label, too; without, only what keeps the support of the vectors.
        shuffled: deal the labels out anew, a control in which there is nothing to find.
        published: liegan with the free size, raw coordinates and penalties of its paper, arXiv 2302.00236.
        n_generators: channels of liegan; the spectral method counts by itself.
        channel_penalty: of liegan, weight of the overlap of its channels.
        steps: of training; the method's own number where left out.
        thin: of the spectral method: below this part of the local variance a direction leads out of the support;
            0 leaves the support out, so that labels alone speak.
        exact: of the spectral method: how well polynomials have to vanish on the vectors to describe their support;
            0 leaves it to the spread of neighbours.
        distribution_scale: spread of the coefficients in the verdict; evaluation_steps: of its critic and predictor.
        seed: of everything random. progress: show a bar.
    """

    method: Literal["spectral", "liegan"] = "spectral"
    vectors: Literal["constituents", "jet"] = "constituents"
    leading: int = 2
    labels: bool = False
    shuffled: bool = False
    published: bool = False
    n_generators: int = 7
    channel_penalty: float = 0.1
    steps: int | None = None
    thin: float = 0.05
    exact: float = 1e-5
    distribution_scale: float = 1.0
    evaluation_steps: int = 1000
    seed: int = 0
    progress: bool = True

    def run(self, jets: Jets) -> JetAlgebra:
        """Search, weigh on held-out jets, compare with the truth. Raises ``ValueError`` when no jet can be used."""
        self._check()
        x = jet_vectors(jets, self.vectors, self.leading)
        label = self._label(jets)
        begun = time.process_time()
        estimator = self._estimator().fit(x, label, coordinates=MOMENTUM)
        seconds = time.process_time() - begun
        algebra = estimator.algebra_
        metric, evidence = _metric_evidence(algebra)
        evidence |= {"n_generators": algebra.n_generators, "seconds": seconds, "jets": len(x)}
        evidence |= {"left_out": len(jets) - len(x), "leaving": leaving(algebra, x)} | _spectrum(estimator)
        evidence |= against_lorentz(algebra, metric)
        return JetAlgebra(algebra=algebra, metric=metric, verdict=estimator.verdict_, evidence=evidence)

    def _check(self) -> None:
        for name, value, choices in (
            ("method", self.method, ("spectral", "liegan")),
            ("vectors", self.vectors, ("constituents", "jet")),
        ):
            if value not in choices:
                raise ValueError(f"unknown {name} {value!r}; choose from {list(choices)}")
        if self.shuffled and not self.labels:
            raise ValueError("shuffled deals labels out anew, so it needs labels=True")

    def _label(self, jets: Jets) -> Tensor | None:
        if not self.labels:
            return None
        label = jets.label[_usable(jets, self.vectors, self.leading)].long()
        if len(label.unique()) < 2:
            raise ValueError("labels say something only where both kinds of jets are there, got one kind")
        order = torch.randperm(len(label), generator=torch.Generator().manual_seed(self.seed))
        return label[order] if self.shuffled else label

    def _estimator(self) -> Spectral | LieGAN:
        common: dict[str, Any] = {
            "seed": self.seed, "progress": self.progress, "evaluation_steps": self.evaluation_steps,
            "distribution_scale": self.distribution_scale,
        }  # fmt: skip
        if self.steps is not None:
            common["steps"] = self.steps
        if self.method == "spectral":
            return Spectral(thin=self.thin, exact=self.exact, **common)
        common |= {"n_generators": self.n_generators, "channel_penalty": self.channel_penalty}
        if self.published:
            return LieGAN.published(search_space="free", **common)
        return LieGAN(cooldown=min(LieGAN.cooldown, common.get("steps", LieGAN.steps) // 2), **common)


def discovered_metric(algebra: LieAlgebra) -> Tensor:
    """The form J (k, k) that the generators without their traces keep best (a scaling keeps none).

    Of norm sqrt(k), its first entry positive, symmetric. Raises ``ValueError`` where the generators do not
    fix one form: none is there, they keep several alike, or they keep none.
    """
    metric, evidence = _metric_evidence(algebra)
    if metric is None:
        raise ValueError(evidence["metric_refused"])
    return metric


def jet_vectors(jets: Jets, vectors: str = "constituents", leading: int = 2) -> Tensor:
    """Four-momenta (n, m, 4) [GeV]: the m = ``leading`` hardest constituents, or (n, 1, 4) of whole jets.

    Jets with fewer constituents are left out. Raises ``ValueError`` where none is left, or for ``leading`` < 1.
    """
    chosen = jets[_usable(jets, vectors, leading)]
    if vectors == "jet":
        return chosen.momenta()[:, None]
    return chosen.leading(leading).p4().reshape(len(chosen), leading, 4)


def leaving(algebra: LieAlgebra, x: Tensor, points: int = 4000) -> float | None:
    """How far the generators lead vectors (n, m, 4) out of their support: 0 not at all, 1 as any matrix does.

    Asked at the first vectors, with all of them as the support, in whitened coordinates.
    """
    if algebra.n_generators == 0:
        return None
    rows = x.flatten(0, 1)
    whitening = Whitening.of_data(rows)
    z = rows @ whitening.encode.mT
    normal = normals(z[:points], z)
    every = torch.eye(z.shape[1] ** 2, dtype=z.dtype).reshape(-1, z.shape[1], z.shape[1])
    own, any_matrix = (
        torch.einsum("nij,bjk,nk->bni", normal, L / L.flatten(1).norm(dim=1)[:, None, None], z[:points])
        for L in (whitening.generators(algebra.basis), every)
    )
    size = any_matrix.square().mean().sqrt()
    return float(own.square().mean().sqrt() / size) if size > 0 else None


def _usable(jets: Jets, vectors: str, leading: int) -> Tensor:
    if leading < 1:
        raise ValueError(f"leading must be at least 1, got {leading}")
    needed = 1 if vectors == "jet" else leading
    usable = jets.counts >= needed
    if not usable.any():
        raise ValueError(f"no jet of {len(jets)} has {needed} constituents; take fewer leading ones")
    return usable


def _metric_evidence(algebra: LieAlgebra) -> tuple[Tensor | None, dict[str, Any]]:
    basis = algebra.basis.double().cpu()
    trace = basis.diagonal(dim1=1, dim2=2).mean(1)
    traceless = basis - trace[:, None, None] * torch.eye(algebra.dim, dtype=basis.dtype)
    if not traceless.norm() > 1e-6 * basis.norm():
        return None, {"metric_refused": "no generators but scalings were found, and a scaling keeps no form"}
    found = invariant_metrics(LieAlgebra(traceless), count=1)
    evidence: dict[str, Any] = {"metric_residual": found.residual, "metric_gap": found.gap}
    if found.residual > LARGEST_RESIDUAL or not found.gap > LEAST_GAP:
        return None, evidence | {
            "metric_refused": f"the generators fix no single form: the best kept one is violated by "
            f"{found.residual:.2g} (wanted at most {LARGEST_RESIDUAL:g}) and the next one {found.gap:.2g} times as "
            f"much (wanted over {LEAST_GAP:g}); look at their number and spectrum"
        }
    form = found.metrics[0]
    return form * (-1.0 if form[0, 0] < 0 else 1.0), evidence


def _spectrum(estimator: Spectral | LieGAN) -> dict[str, Any]:
    if isinstance(estimator, Spectral):
        spectrum = estimator.spectrum_.tolist()
        gap = estimator.gap_ if estimator.algebra_.n_generators else None
        equations = list(estimator.equations_)
        return {
            "spectrum": spectrum,
            "gap": gap,
            "skill": estimator.explained_variance_,
            "equations": equations,
        }
    action = estimator.space_.whitening.generators(estimator.algebra_.basis).flatten(1)
    sizes = torch.linalg.svdvals(action)
    return {"sizes": (sizes / sizes[0].clamp(min=1e-300)).tolist(), "steps": estimator.steps_}
