"""What held-out data say of an algebra, in two senses: the law of (x, y), and the map x -> y.

A law of motion can be symmetric while the data that show it are not (orbits that all start on one side), so
the two are asked apart: can a fresh critic tell (g x, g y) from (x, y)? Does the error of a fitted predictor
grow from (x, y) to (g x, g y), where g x still lies among the data?
"""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from discover.data.samples import Samples
from discover.data.whitening import Whitening
from discover.validation.evidence import Estimate, law_evidence, map_evidence
from equivariant.algebra import LieAlgebra
from equivariant.rep import Rep

__all__ = ["Verdict", "certify", "split", "weigh"]

LAW_MARGIN = 0.05  # how far above chance a critic's AUC may lie
MAP_MARGIN = 0.05  # how large a violation of the map may be, relative to what g does to the target
MAP_BROKEN = 0.25  # beyond this it is no approximate symmetry either
LEAST_MOVE = 5e-2  # below this relative move of the data, g does nothing worth a verdict
LEAST_SUPPORT = 0.2  # a smaller share of moved data among the data supports no statement on the map
LEAST_SKILL = 0.5  # a predictor that explains less of the target speaks for no map
LARGEST_LEAK = 1e-3  # a larger share of the action out of the span of the data breaks their law
HEADLINES = {  # by whether the law holds, and whether the map does
    (True, True): "the law of the data keeps it, and so does the map from x to y.",
    (True, False): "the law of the data keeps it.",
    (False, True): "the map from x to y keeps it, the distribution of the data does not.",
}


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The evidence and what follows from it.

    Args:
        move: |g x - x| / |x|, root mean square, in whitened coordinates.
        leak: share of the generators' action that points out of the span of the data.
        auc: area under the ROC curve of a fresh critic for (x, y) against (g x, g y): 0.5 is blind.
        violation: root of the growth of the predictor's squared error from (x, y) to (g x, g y), relative to what
            g does to the target; ``None`` without a target. skill: share of the target that the predictor
            explains on held-out data. support: share of the moved samples that lie among the data. hidden: the
            largest violation that what the predictor leaves unexplained could hide.
        relations: linear equations that all data obey, one for each direction in which they never point.
    """

    move: float
    leak: float
    auc: Estimate
    violation: Estimate | None
    skill: float
    support: float
    hidden: float
    relations: tuple[str, ...]

    @property
    def law(self) -> str:
        """``"holds"``, ``"broken"`` or ``"undecided"``: the law of the data under g."""
        if self.leak > LARGEST_LEAK:
            return "broken"
        if self.auc.high <= 0.5 + LAW_MARGIN:
            return "holds"
        return "broken" if self.auc.low > 0.5 + LAW_MARGIN else "undecided"

    @property
    def map(self) -> str:
        """``"holds"``, ``"approximate"``, ``"broken"``, ``"undecided"`` or ``"not asked"``: the map under g."""
        if self.violation is None:
            return "not asked"
        if self.leak > LARGEST_LEAK:
            return "broken"
        if self.skill < LEAST_SKILL or self.support < LEAST_SUPPORT:
            return "undecided"
        if self.violation.high <= MAP_MARGIN:
            return "holds"
        if self.violation.low > MAP_BROKEN:
            return "broken"
        return "approximate" if self.violation.low > MAP_MARGIN else "undecided"

    @property
    def passed(self) -> bool:
        """Whether g moves the data, at least one of the two senses holds, and the map is not broken."""
        return self.move >= LEAST_MOVE and "holds" in (self.law, self.map) and self.map != "broken"

    def to_dict(self) -> dict[str, Any]:
        """The evidence and the words, as ``json`` can write them."""
        return asdict(self) | {"law": self.law, "map": self.map, "passed": self.passed, "text": str(self)}

    def __str__(self) -> str:
        return " ".join([self._headline(), *self._details()])

    def _headline(self) -> str:
        if self.move < LEAST_MOVE:
            return f"No symmetry found: the group elements hardly move the data (by {self.move:.1%} of their size)."
        if not self.passed:
            return "No symmetry established: do not use this algebra without more evidence."
        if self.map in ("holds", "not asked"):
            return "Symmetry found: " + HEADLINES[self.law == "holds", self.map == "holds"]
        return f"Symmetry found: the law of the data keeps it as far as a critic can tell; the map is {self.map}."

    def _details(self) -> list[str]:
        lines = [
            f"Law of the data: {self.law}; a fresh critic tells g x from x with AUC {self.auc} (blind 0.5)."
        ]
        if self.leak > LARGEST_LEAK:
            lines.append(f"The generators push the data out of their span ({self.leak:.1%} of their action).")
        if self.violation is not None:
            lines.append(
                f"Map from x to y: {self.map}; violation {self.violation} of what g does to y, on the "
                f"{self.support:.0%} of moved samples that lie among the data "
                f"(the predictor explains {self.skill:.2%}; the rest could hide a violation up to {self.hidden:.2g})."
            )
        if self.relations:
            lines.append(
                f"All data obey {', '.join(self.relations)}: what a generator does to x that do not is not determined, "
                "and algebras are compared on the span of the data."
            )
        return lines


def certify(
    algebra: LieAlgebra,
    x: Tensor,
    y: Tensor | None = None,
    *,
    x_rep: Rep | None = None,
    y_rep: Rep | None = None,
    groups: Tensor | None = None,
    held_out: float = 0.2,
    steps: int = 1000,
    seed: int = 0,
    device: str = "cpu",
) -> Verdict:
    """Weigh an algebra on data: critic and predictor are fitted on one part and asked on the held-out part.

    Args are those of ``LieGAN.fit``; critic and predictor are fitted for ``steps`` steps. For an honest answer
    give data the algebra was not found on.
    Raises ``ValueError`` for wrong shapes, NaN, too few samples, or an algebra of another dimension.
    """
    fitted, kept = split(Samples.read(x, y, x_rep, y_rep), held_out, groups, seed)
    return weigh(algebra, fitted, kept, steps=steps, seed=seed, device=device)


def weigh(
    algebra: LieAlgebra,
    fitted: Samples,
    kept: Samples,
    *,
    steps: int = 1000,
    seed: int = 0,
    device: str = "cpu",
) -> Verdict:
    """``certify`` for samples that are split already."""
    if algebra.dim != fitted.dim:
        raise ValueError(
            f"the algebra must act on vectors of size {fitted.dim} like the data, got {algebra.dim}"
        )
    algebra = algebra.to(device="cpu", dtype=torch.float64)
    if algebra.origin.any():
        same = torch.eye(algebra.dim, dtype=torch.float64)
        fitted, kept = (s.map_vectors(same, algebra.origin) for s in (fitted, kept))
    whitening = Whitening.of_data(fitted.all_vectors())
    seen = LieAlgebra(whitening.generators(algebra.basis), algebra.distribution)
    fitted, kept = (
        s.map_vectors(whitening.encode).to(device=device, dtype=torch.float32) for s in (fitted, kept)
    )
    random = torch.Generator(device).manual_seed(seed)
    seen = seen.to(device=device, dtype=torch.float32)
    moved_kept = kept.map_vectors(seen.sample(len(kept), random))
    of_map = map_evidence(fitted, kept, moved_kept, steps, random)
    return Verdict(
        move=_relative_move(kept, moved_kept),
        leak=whitening.leaving(algebra.basis),
        auc=law_evidence(fitted, kept, moved_kept, seen, steps, random),
        violation=of_map.violation if of_map else None,
        skill=of_map.skill if of_map else 0.0,
        support=of_map.support if of_map else 0.0,
        hidden=of_map.hidden if of_map else 0.0,
        relations=whitening.relations(algebra.coordinates),
    )


def split(samples: Samples, held_out: float, groups: Tensor | None, seed: int) -> tuple[Samples, Samples]:
    """Two parts of the samples, whole groups together: most of them, and the ``held_out`` fraction."""
    groups = torch.arange(len(samples)) if groups is None else torch.as_tensor(groups)
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


def _relative_move(samples: Samples, moved: Samples) -> float:
    still = samples.all_vectors()
    return float((moved.all_vectors() - still).norm() / still.norm())
