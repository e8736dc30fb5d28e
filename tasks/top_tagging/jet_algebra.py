"""Linear symmetries of four-momenta, found on jets, and the form J that they leave invariant.

Nothing of the answer goes in: what is known of it (so(1,3), Minkowski's form) enters the evidence only.
"""

import time
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from discover import LieGAN, Spectral
from discover.certify import Verdict
from discover.support import normals
from discover.whitening import Whitening
from equivariant import LieAlgebra, invariant_metrics
from tasks.top_tagging.algebra_report import against_lorentz
from tasks.top_tagging.jets import Jets

__all__ = ["JetAlgebra", "JetDiscovery", "discovered_metric", "jet_vectors", "leaving"]

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
        law_scale: spread of the coefficients in the verdict; judge_steps: of its critic and predictor.
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
    law_scale: float = 1.0
    judge_steps: int = 1000
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
            "seed": self.seed, "progress": self.progress, "judge_steps": self.judge_steps,
            "law_scale": self.law_scale,
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
        return {"spectrum": spectrum, "gap": gap, "skill": estimator.skill_, "equations": equations}
    action = estimator.space_.whitening.generators(estimator.algebra_.basis).flatten(1)
    sizes = torch.linalg.svdvals(action)
    return {"sizes": (sizes / sizes[0].clamp(min=1e-300)).tolist(), "steps": estimator.steps_}
