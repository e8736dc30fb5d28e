"""Evaluates an algebra on held-out data: is the distribution of (x, y) invariant, is the map x -> y equivariant?

A map can be equivariant while the data that show it are not distributed invariantly (orbits that all start on one
side), so two questions are asked. Can a fresh critic tell (g x, g y) from (x, y)? Does the error of a fitted
predictor grow from (x, y) to (g x, g y), where g x still lies in the support of the data?
"""

from dataclasses import asdict, dataclass
from typing import Any

import torch

from discover.data.samples import Samples, YKind
from discover.data.whitening import Whitening
from discover.validation.evidence import ConfidenceInterval, distribution_evidence, map_evidence
from equivariant.algebra import LieAlgebra
from equivariant.arrays import ArrayLike, as_tensor
from equivariant.rep import Rep

__all__ = ["Verdict", "certify", "evaluate_symmetry", "split"]

DISTRIBUTION_MARGIN = 0.05  # how far above chance a critic's AUC may lie
MAP_MARGIN = 0.05  # how large the equivariance error may be, relative to what g does to the target
MAP_BROKEN = 0.25  # beyond this it is no approximate symmetry either
LEAST_DISPLACEMENT = 5e-2  # below this relative displacement of the data, g does nothing that could be tested
LEAST_IN_SUPPORT = (
    0.2  # a smaller share of transformed data in the support of the data decides nothing on the map
)
LEAST_EXPLAINED = 0.5  # a predictor that explains less of the target decides nothing on the map
MOST_HELD_OUT = 20_000  # held-out samples that are looked at; more change no verdict
LARGEST_OFF_SPAN = 1e-3  # a larger share of the action out of the span of the data breaks the distribution


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What held-out data say about an algebra; true if it ``passed``.

    Args:
        displacement: |g x - x| / |x|, root mean square, in whitened coordinates.
        off_span: share of the generators' action that points out of the span of the data, 0 to 1.
        auc: area under the ROC curve of a fresh critic for (x, y) against (g x, g y); chance is 0.5.
        equivariance_error: root of the growth of the predictor's squared error from (x, y) to (g x, g y), relative
            to what g does to the target; ``None`` without a target.
        explained_variance: R^2 of the predictor on held-out data.
        in_support: share of the transformed samples that lie in the support of the data.
        detection_limit: the largest equivariance error that the unexplained part of the target could hide.
        relations: linear equations that all data obey, one for each direction in which they never point.
        invariant_target: whether the target holds scalars or classes only, which g leaves as they are.

    Example:
        >>> from equivariant import catalogue
        >>> x = torch.randn(400, 2, generator=torch.Generator().manual_seed(0))
        >>> verdict = certify(catalogue.rotation(2), x, steps=50)
        >>> verdict.distribution, verdict.map
        ('undecided', 'not asked')
    """

    displacement: float
    off_span: float
    auc: ConfidenceInterval
    equivariance_error: ConfidenceInterval | None
    explained_variance: float
    in_support: float
    detection_limit: float
    relations: tuple[str, ...]
    invariant_target: bool = False

    @property
    def distribution(self) -> str:
        """``"holds"``, ``"broken"`` or ``"undecided"``: whether the data distribution is invariant under g."""
        if self.off_span > LARGEST_OFF_SPAN:
            return "broken"
        if self.auc.high <= 0.5 + DISTRIBUTION_MARGIN:
            return "holds"
        return "broken" if self.auc.low > 0.5 + DISTRIBUTION_MARGIN else "undecided"

    @property
    def map(self) -> str:
        """``"holds"``, ``"approximate"``, ``"broken"``, ``"undecided"`` or ``"not asked"``: the map under g."""
        if self.equivariance_error is None:
            return "not asked"
        if self.off_span > LARGEST_OFF_SPAN:
            return "broken"
        if self.explained_variance < LEAST_EXPLAINED or self.in_support < LEAST_IN_SUPPORT:
            return "undecided"
        if self.equivariance_error.high <= MAP_MARGIN:
            return "holds"
        if self.equivariance_error.low > MAP_BROKEN:
            return "broken"
        return "approximate" if self.equivariance_error.low > MAP_MARGIN else "undecided"

    @property
    def passed(self) -> bool:
        """Whether g displaces the data and the map holds; without a target, whether the distribution holds."""
        decisive = self.distribution if self.equivariance_error is None else self.map
        return self.displacement >= LEAST_DISPLACEMENT and decisive == "holds"

    def __bool__(self) -> bool:
        return self.passed

    def to_dict(self) -> dict[str, Any]:
        """The evidence and the words, as ``json`` can write them."""
        words = {"distribution": self.distribution, "map": self.map, "passed": self.passed, "text": str(self)}
        return asdict(self) | words

    def __str__(self) -> str:
        return " ".join([self._headline(), *self._details()])

    def _headline(self) -> str:
        if self.displacement < LEAST_DISPLACEMENT:
            return (
                "No symmetry found: the group elements hardly move the data "
                f"(by {self.displacement:.1%} of their size)."
            )
        if not self.passed:
            return "No symmetry established: do not use this algebra without more evidence."
        if self.map == "not asked":
            return "Symmetry found: the data distribution is invariant."
        kind = "invariant" if self.invariant_target else "equivariant"
        also = {"holds": "so is the data distribution", "broken": "the data distribution is not invariant"}
        rest = also.get(self.distribution, "whether the data distribution is invariant is undecided")
        return f"Symmetry found: the map x -> y is {kind}; {rest}."

    def _details(self) -> list[str]:
        lines = [
            f"Evaluated on held-out data, with 90 % intervals. Data distribution: {self.distribution}; a fresh critic "
            f"tells g x from x with AUC {self.auc} (chance 0.5)."
        ]
        if self.off_span > LARGEST_OFF_SPAN:
            lines.append(
                f"The generators push the data out of their span ({self.off_span:.1%} of their action)."
            )
        if self.equivariance_error is not None:
            lines.append(
                f"Map x -> y: {self.map}; equivariance error {self.equivariance_error} of what g does to y, on the "
                f"{self.in_support:.0%} of transformed samples in the support of the data (the predictor's R^2 is "
                f"{self.explained_variance:.4g}; the unexplained part could hide an error up to "
                f"{self.detection_limit:.2g})."
            )
            if self.explained_variance < LEAST_EXPLAINED:
                lines.append(
                    f"The predictor must reach R^2 = {LEAST_EXPLAINED} before the map can be judged: more data, less "
                    "noise, or a target that depends on x."
                )
        if self.relations:
            lines.append(
                f"All data obey {', '.join(self.relations)}: what a generator does to x that do not is not determined, "
                "and algebras are compared on the span of the data."
            )
        return lines


def certify(
    algebra: LieAlgebra,
    x: ArrayLike,
    y: ArrayLike | None = None,
    *,
    x_rep: Rep | None = None,
    y_rep: Rep | None = None,
    y_kind: YKind | None = None,
    groups: ArrayLike | None = None,
    held_out: float = 0.2,
    steps: int = 1000,
    seed: int = 0,
    device: str = "cpu",
) -> Verdict:
    """Tests an algebra on data: critic and predictor are trained on one part and evaluated on the other.

    For an honest answer give data the algebra was not found on.

    Args:
        algebra: generators (c, k, k).
        x: inputs (n, d) or (n, T, k): a tensor, a NumPy array, lists or a pandas frame.
        y: targets: vectors (n, d), scalars (n,) or (n, 1), or class labels (n,); ``None`` asks about the
            distribution of x alone.
        x_rep: how x is built, a sum of ``V`` and ``Scalar``; guessed from the shape by default.
        y_rep: how y is built.
        y_kind: ``"class"`` or ``"count"``: what whole numbers in y are; by default classes if they are few.
        groups: labels (n,); samples of one group (a trajectory, say) are held out together.
        held_out: fraction of the groups that is held out.
        steps: training steps of critic and predictor.
        seed: of everything random.
        device: where critic and predictor are trained.

    Returns:
        The verdict.

    Raises:
        ValueError: for wrong shapes, NaN, too few samples, or an algebra of another dimension.

    Example:
        >>> from equivariant import catalogue
        >>> x = torch.randn(400, 2, generator=torch.Generator().manual_seed(0))
        >>> certify(catalogue.rotation(2), x * torch.tensor([1.0, 4.0]), steps=50).distribution
        'broken'
    """
    samples = Samples.read(x, y, x_rep, y_rep, y_kind)
    train, test = split(samples, held_out, groups, seed)
    return evaluate_symmetry(algebra, train, test, steps=steps, seed=seed, device=device)


def evaluate_symmetry(
    algebra: LieAlgebra,
    train: Samples,
    test: Samples,
    *,
    steps: int = 1000,
    seed: int = 0,
    device: str = "cpu",
) -> Verdict:
    """``certify`` for samples that are split already.

    Args:
        algebra: generators (c, k, k).
        train: samples that critic and predictor are trained on.
        test: held-out samples.
        steps: training steps of critic and predictor.
        seed: of everything random.
        device: where critic and predictor are trained.

    Returns:
        The verdict.

    Raises:
        ValueError: for an algebra of another dimension.
    """
    if algebra.dim != train.dim:
        raise ValueError(
            f"the algebra must act on vectors of size {train.dim} like the data, got {algebra.dim}"
        )
    algebra = algebra.to(device="cpu", dtype=torch.float64)
    if algebra.origin.any():
        identity = torch.eye(algebra.dim, dtype=torch.float64)
        train, test = (s.map_vectors(identity, algebra.origin) for s in (train, test))
    whitening = Whitening.of_data(train.all_vectors())
    whitened = LieAlgebra(whitening.generators(algebra.basis), algebra.distribution)
    train, test = (
        s.map_vectors(whitening.encode).to(device=device, dtype=torch.float32) for s in (train, test)
    )
    rng = torch.Generator(device).manual_seed(seed)
    if len(test) > MOST_HELD_OUT:
        test = test[torch.randperm(len(test), generator=rng, device=device)[:MOST_HELD_OUT]]
    whitened = whitened.to(device=device, dtype=torch.float32)
    transformed = test.map_vectors(whitened.sample(len(test), rng))
    of_map = map_evidence(train, test, transformed, steps, rng)
    return Verdict(
        displacement=_relative_displacement(test, transformed),
        off_span=whitening.off_span(algebra.basis),
        auc=distribution_evidence(train, test, transformed, whitened, steps, rng),
        **vars(of_map),
        relations=whitening.relations(algebra.coordinates),
        invariant_target=train.y is not None and not train.y.vectors.shape[1],
    )


def split(samples: Samples, held_out: float, groups: ArrayLike | None, seed: int) -> tuple[Samples, Samples]:
    """Two parts of the samples, whole groups together.

    Args:
        samples: what is split.
        held_out: fraction of the groups in the second part.
        groups: whole numbers (n,), equal for samples that stay together; by default each sample is its own.
        seed: of the random choice.

    Returns:
        The larger part and the held-out part.

    Raises:
        ValueError: for groups of another shape, or fewer than two of them.
    """
    groups = torch.arange(len(samples)) if groups is None else as_tensor(groups, "groups")
    if groups.shape != (len(samples),):
        raise ValueError(f"groups must have shape ({len(samples)},), got {tuple(groups.shape)}")
    _, group = groups.unique(return_inverse=True)
    n = int(group.max()) + 1
    if n < 2:
        raise ValueError("the samples must come from at least two groups, got one: nothing could be held out")
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    chosen = torch.zeros(n, dtype=torch.bool)
    chosen[order[: min(n - 1, max(1, round(held_out * n)))]] = True
    return samples[~chosen[group]], samples[chosen[group]]


def _relative_displacement(samples: Samples, transformed: Samples) -> float:
    before = samples.all_vectors()
    return float((transformed.all_vectors() - before).norm() / before.norm())
