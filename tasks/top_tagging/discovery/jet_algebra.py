"""Linear symmetries of four-momenta, found on jets, and the form J that they leave invariant.

``JetDiscovery`` is one search and ``JetAlgebra`` what it finds; ``jet_vectors`` makes the data it looks at, and
``discovered_metric`` the metric of an algebra. Nothing that is known of the answer is used: so(1,3) and Minkowski's
form enter the evidence only (``against_lorentz``, ``minkowski_cosine``).
"""

import time
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from discover import LieGAN, Spectral
from discover.data.whitening import Whitening
from discover.spectral.tangent import normals
from discover.validation.certify import Verdict
from equivariant import LieAlgebra, catalogue, invariant_metrics
from equivariant.compare import principal_angles
from tasks.top_tagging.data.jets import MINKOWSKI, MOMENTUM, Jets

__all__ = ["JetAlgebra", "JetDiscovery", "against_lorentz", "discovered_metric", "jet_vectors",
           "leaving", "minkowski_cosine"]  # fmt: skip

LEAST_GAP, LARGEST_RESIDUAL = 3.0, 0.15
METHODS, VECTORS = ("spectral", "liegan"), ("constituents", "jet")


@dataclass(frozen=True, kw_only=True, eq=False)
class JetAlgebra:
    """What was found on jets.

    Args:
        algebra: the generators (c, 4, 4) on (E, px, py, pz), as the method gave them.
        metric: the form J (4, 4) they leave invariant, of norm 2, positive for (1, 0, 0, 0); None where there is none.
        verdict: evaluated on held-out jets; None without generators.
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
        vectors: "constituents" takes the ``leading`` hardest of each jet, side by side; "jet" their sum over all
            constituents, the momentum of the whole jet.
        leading: constituents of a jet that are taken; jets with fewer are left out.
        labels: the label must be invariant, too; without, only the support of the vectors.
        shuffled: permute the labels, a control in which there is nothing to find.
        published: liegan with the free search space, raw coordinates and penalties of its paper (Yang et al. 2023,
            arXiv 2302.00236).
        n_generators: channels of liegan; the spectral method counts by itself.
        channel_penalty: of liegan, weight of the overlap of its channels.
        steps: of training; the method's own number where left out.
        thin: of the spectral method: below this part of the local variance a direction leads out of the support;
            0 leaves the support out, so that only labels count.
        exact: of the spectral method: how well polynomials have to vanish on the vectors to describe their support;
            0 leaves it to the spread of neighbours.
        distribution_scale: spread of the coefficients in the verdict.
        evaluation_steps: of the verdict's critic and predictor.
        seed: of everything random.
        progress: show a bar.
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
        """Search, evaluate on held-out jets, compare with the truth; ``ValueError`` when no jet can be used."""
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
        for name, choices in (("method", METHODS), ("vectors", VECTORS)):
            if getattr(self, name) not in choices:
                raise ValueError(f"unknown {name} {getattr(self, name)!r}; choose from {list(choices)}")
        if self.shuffled and not self.labels:
            raise ValueError("shuffled permutes the labels, so it needs labels=True")

    def _label(self, jets: Jets) -> Tensor | None:
        if not self.labels:
            return None
        label = jets.label[_usable(jets, self.vectors, self.leading)].long()
        if len(label.unique()) < 2:
            raise ValueError("labels=True needs top and QCD jets, got one class only")
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
    """The form J that the generators without their traces leave invariant: L^T J + J L = 0.

    Args:
        algebra: generators of size k; traces are taken off, since a scaling leaves no form invariant.

    Returns:
        Symmetric (k, k), of norm sqrt(k), its first entry positive.

    Raises:
        ValueError: where the generators do not determine one form: there is none, or several are left invariant.
    """
    metric, evidence = _metric_evidence(algebra)
    if metric is None:
        raise ValueError(evidence["metric_refused"])
    return metric


def jet_vectors(jets: Jets, vectors: str = "constituents", leading: int = 2) -> Tensor:
    """Four-momenta of jets; those with too few constituents are left out.

    Args:
        jets: where they come from.
        vectors: "constituents" or "jet".
        leading: constituents taken of each jet, the hardest.

    Returns:
        Shape (n, leading, 4) [GeV], or (n, 1, 4) of whole jets.

    Raises:
        ValueError: where no jet is left, or for ``leading`` < 1.
    """
    chosen = jets[_usable(jets, vectors, leading)]
    if vectors == "jet":
        return chosen.momenta()[:, None]
    return chosen.leading(leading).p4().reshape(len(chosen), leading, 4)


def leaving(algebra: LieAlgebra, x: Tensor, points: int = 4000) -> float | None:
    """How far the generators lead vectors out of their support: 0 not at all, 1 as a random matrix does.

    Args:
        algebra: generators of size 4.
        x: vectors (n, m, 4); all of them are the support.
        points: how many of the vectors are tested, in whitened coordinates.

    Returns:
        The share; None without generators.
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
        return None, {
            "metric_refused": "no generators but scalings were found, and a scaling leaves no form invariant"
        }
    found = invariant_metrics(LieAlgebra(traceless), count=1)
    evidence: dict[str, Any] = {"metric_residual": found.residual, "metric_gap": found.gap}
    if found.residual > LARGEST_RESIDUAL or not found.gap > LEAST_GAP:
        return None, evidence | {
            "metric_refused": "the generators determine no single form: the best one is violated by "
            f"{found.residual:.2g} (at most {LARGEST_RESIDUAL:g} is accepted) and the next one {found.gap:.2g} times "
            f"as much (over {LEAST_GAP:g} is needed); look at their number and spectrum"
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
            "explained_variance": estimator.explained_variance_,
            "equations": equations,
        }
    action = estimator.space_.whitening.generators(estimator.algebra_.basis).flatten(1)
    sizes = torch.linalg.svdvals(action)
    return {"sizes": (sizes / sizes[0].clamp(min=1e-300)).tolist(), "steps": estimator.steps_}


def against_lorentz(algebra: LieAlgebra, metric: Tensor | None) -> dict[str, Any]:
    """How near an algebra and its metric are to the Lorentz group's.

    Args:
        algebra: on (E, px, py, pz).
        metric: the form it leaves invariant, (4, 4), if any.

    Returns:
        |cosine| of the forms, and principal angles [rad], ascending, with their root sum of squares (the subspace
        error), to so(1,3) with and without scaling. Angles are as many as the smaller of the two spans has
        dimensions; what needs generators or a form is None without.
    """
    lorentz = catalogue.lorentz()
    whole = catalogue.union(lorentz, catalogue.scaling(4))
    found: dict[str, Any] = {"metric_cosine": None if metric is None else minkowski_cosine(metric)}
    for name, true in (("lorentz", lorentz), ("lorentz_and_scaling", whole)):
        angles = principal_angles(algebra, true)
        found[f"angles_to_{name}"] = angles.tolist()
        found[f"subspace_error_to_{name}"] = float(angles.norm()) if len(angles) else None
    return found


def minkowski_cosine(metric: Tensor) -> float:
    """|cosine| between a form (4, 4) and diag(1, -1, -1, -1), by their entries; signs and sizes do not count."""
    metric = metric.double().cpu()
    return float((metric * MINKOWSKI).sum().abs() / (metric.norm() * MINKOWSKI.norm()))
