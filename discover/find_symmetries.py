"""Data in, a report out: the symmetries of a map or of a distribution, how sure they are, and what was ruled out."""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from html import escape
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from discover.adversarial.liegan import LieGAN
from discover.algebra.draw import draw_basis
from discover.algebra.refine import refine
from discover.algebra.structure import orthonormal
from discover.data.samples import Samples, YKind, column_names
from discover.spectral.spectral import Spectral, robust_null_space
from discover.spectral.tangent import normals
from discover.validation.certify import certify
from discover.validation.equivariance import Defect, EquivarianceTest, equivariance_test
from equivariant.algebra import LieAlgebra
from equivariant.arrays import ArrayLike, as_tensor
from equivariant.augment import RandomGroupAction
from equivariant.compare import closure_error, span
from equivariant.metric import invariant_metrics
from equivariant.nn.emlp import EMLP
from equivariant.nullspace import NullSpace
from equivariant.rep import Rep, Scalar, V

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["GeneratorResult", "SymmetryReport", "find_symmetries"]

FEW = 400  # samples, below which the report says that they are few
LEAST = 80  # samples without which neither half can be judged
LEAST_GROUPS = 8
LARGEST_ZERO = 0.3  # relative singular value above which no generator is proposed
LEAST_RATIO = 1.5  # of neighbouring singular values, where generators are proposed
STEPS = 2000  # of the network behind the generators
TESTED = 4000  # evaluation rows beyond which a test gains little
ORDERED = 2000  # discovery rows that the order of nested algebras is taken from
MANY = 10  # generators, beyond which refinement takes fewer rows: it takes seconds
MOST_NESTED = 4
CLOSED = 0.05  # closure error below which a subspace is taken for an algebra
EXACTLY = (
    0.1  # part of the margin: a defect surely above it is measured, and something more exact is looked for
)
ALL_PAIRS_UP_TO = 4  # dimensions up to which every coordinate pair is a hypothesis
HYPOTHESES_UP_TO = 12
RESAMPLES = 1000
SMALL = 0.05  # part of the largest entry below which a generator's name leaves an entry out
NAMED = 6  # generators of an algebra that the words name
SHOWN = 4  # broken or rejected generators that the words name
LEAST_EXPLAINED = 0.5  # R^2 below which the report asks for less noise first


@dataclass(frozen=True, kw_only=True, eq=False)
class GeneratorResult:
    """One generator and what the evaluation half of the data says about it.

    Args:
        name: such as ``"rotation of (x, y)"``.
        matrix: the generator (k, k).
        defect: equivariance defect per unit of motion with its interval; without a target how far the generator
            leads out of the support; ``None`` where only a distribution was compared.
        answer: ``"symmetric"``, ``"not symmetric"`` or ``"cannot tell"``.

    Example:
        >>> print(GeneratorResult(name="scaling of (x, y)", matrix=torch.eye(2), defect=None, answer="cannot tell"))
        scaling of (x, y): cannot tell
    """

    name: str
    matrix: Tensor
    defect: Defect | None
    answer: str

    def __str__(self) -> str:
        return f"{self.name}: {self.answer}" + ("" if self.defect is None else f", defect {self.defect}")


@dataclass(frozen=True, kw_only=True, eq=False)
class SymmetryReport:
    """What ``find_symmetries`` found; true if a symmetry was established.

    Args:
        algebra: the refined algebra; without generators where no symmetry was established.
        name: of the algebra, such as ``"so(3)"``.
        verdict: ``"symmetric"``, ``"not symmetric"`` or ``"cannot tell"``.
        sentence: the verdict in words.
        generators: one row for each generator of the algebra.
        nested: smaller algebras inside, from large to small: algebra, name and test.
        metrics: symmetric bilinear forms (r, k, k) that the algebra leaves invariant; ``None`` where there is none.
        equations: polynomial equations that all data obey.
        undetermined: linear equations that all data obey; what generators do to other vectors is not known.
        rejected: textbook generators that the data contradict.
        broken: generators found on the discovery half that the evaluation half contradicts.
        explained_variance: R^2 of the fitted map on data it was not fitted to; 0 without a target.
        notes: cautions, such as that there are few samples.
        seconds: how long it took.
        seed: of everything random.

    Example:
        >>> angle = torch.linspace(0, 6, 400, dtype=torch.float64)
        >>> circle = torch.stack([angle.cos(), angle.sin()], dim=1)
        >>> report = find_symmetries(circle, coordinates=["x", "y"])
        >>> bool(report), report.name, report.equations
        (True, 'so(2)', ('1 - x^2 - y^2 = 0',))
    """

    algebra: LieAlgebra
    name: str
    verdict: str
    sentence: str
    generators: tuple[GeneratorResult, ...]
    nested: tuple[tuple[LieAlgebra, str, EquivarianceTest], ...]
    metrics: Tensor | None
    equations: tuple[str, ...]
    undetermined: tuple[str, ...]
    rejected: tuple[GeneratorResult, ...]
    broken: tuple[GeneratorResult, ...]
    explained_variance: float
    notes: tuple[str, ...]
    seconds: float
    seed: int

    def __bool__(self) -> bool:
        return self.verdict == "symmetric"

    def __str__(self) -> str:
        return " ".join(self.sentences)

    @property
    def sentences(self) -> tuple[str, ...]:
        """The report in words, a sentence or two each."""
        return tuple(self._sentences())

    def _sentences(self) -> Iterator[str]:
        yield self.sentence
        for algebra, name, test in self.nested:
            rows = ", ".join(_name(matrix.double(), algebra.coordinates) for matrix in algebra.basis)
            yield f"Inside it, {name} ({rows}) holds up to {_percent(test.worst.high)}."
        if self.undetermined:
            obeyed = ", ".join(self.undetermined)
            yield f"Not determined by these data: what generators do to vectors that do not obey {obeyed}."
        if self.equations:
            yield f"All data obey {', '.join(self.equations)}."
        rows = [
            (row.name, row.defect.low) for row in (*self.broken, *self.rejected) if row.defect is not None
        ]
        if rows:
            least = ", ".join(f"{name} (defect at least {_percent(low)})" for name, low in rows[:SHOWN])
            more = f", and {len(rows) - SHOWN} more that were tried" if len(rows) > SHOWN else ""
            yield f"Not a symmetry: {least}{more}."
        yield from self.notes

    def _repr_html_(self) -> str:
        """What a notebook shows: the words, and the algebra if one was found."""
        words = "".join(f"<p>{escape(sentence)}</p>" for sentence in self.sentences)
        picture = self.algebra._repr_html_() if self.algebra.n_generators else ""
        return f"<div><b>{escape(self.verdict)}</b>{words}{picture}</div>"

    def plot(self) -> "Figure":
        """The generators as heat maps."""
        return draw_basis(self.algebra, title=self.name)

    def save(self, path: str | Path) -> None:
        """Write the algebra as safetensors, with the verdict in its provenance.

        Args:
            path: of the file.
        """
        self.algebra.save(path)

    def model(self, rep_in: Rep, rep_out: Rep, hidden: int | Rep = 384) -> EMLP:
        """A network that is exactly equivariant under the algebra.

        Args:
            rep_in: representation of the inputs.
            rep_out: representation of the outputs.
            hidden: width of the hidden layers, or their representation.

        Raises:
            ValueError: where no symmetry was established.
        """
        return EMLP(rep_in, rep_out, self._established(), hidden=hidden)

    def augmentation(self, rep_in: Rep, rep_out: Rep) -> RandomGroupAction:
        """Random group elements that act on inputs and targets together.

        Args:
            rep_in: representation of the inputs.
            rep_out: representation of the targets.

        Raises:
            ValueError: where no symmetry was established.
        """
        return RandomGroupAction(self._established(), rep_in, rep_out)

    def _established(self) -> LieAlgebra:
        if not self:
            raise ValueError(
                f"expected an established symmetry, got the verdict {self.verdict!r}: {self.sentence}"
            )
        return self.algebra


def find_symmetries(
    x: ArrayLike,
    y: ArrayLike | None = None,
    *,
    x_rep: Rep | None = None,
    y_rep: Rep | None = None,
    y_kind: YKind | None = None,
    coordinates: Sequence[str] | None = None,
    groups: ArrayLike | None = None,
    alpha: float = 0.05,
    margin: float = 0.1,
    seed: int = 0,
    progress: bool = False,
) -> SymmetryReport:
    """Find the linear symmetries of data, and test them on data they were not found on.

    One half of the data proposes an algebra (`Spectral`, then `refine`); the other half tests it
    (`equivariance_test`). Where the whole algebra holds badly or not at all, nested algebras of the generators with
    the smallest defects are tested, too. Textbook generators (rotations and boosts of coordinate pairs, scaling) are
    tested beside them. One half of ``alpha`` is shared out over the nested algebras, the other over the textbook.

    Without a target the support of thin data (a sphere, a cone) is asked about, else the distribution (`LieGAN`,
    then `certify`).

    Args:
        x: inputs (n, d) or (n, T, k): a tensor, a NumPy array, lists or a pandas frame.
        y: targets: vectors (n, d), scalars (n,) or (n, 1), or class labels (n,); optional.
        x_rep: how x is built, a sum of ``V`` and ``Scalar``; guessed from the shape by default.
        y_rep: how y is built.
        y_kind: ``"class"`` or ``"count"``: what whole numbers in y are; by default classes if they are few.
        coordinates: k names with units; by default the column names of a frame.
        groups: labels (n,) of samples that are not independent, such as those of one trajectory.
        alpha: probability of a wrong ``"symmetric"`` that is aimed at.
        margin: the defect, as a part of the motion, up to which a map counts as symmetric.
        seed: of everything random.
        progress: show a progress bar.

    Returns:
        The report.

    Raises:
        ValueError: for wrong shapes, NaN, fewer than 80 samples or 8 groups, or a level or margin out of range.

    Example:
        >>> angle = torch.linspace(0, 6, 400, dtype=torch.float64)
        >>> ellipse = torch.stack([2 * angle.cos(), angle.sin()], dim=1)
        >>> find_symmetries(ellipse, coordinates=["x", "y"]).algebra.n_generators
        1
    """
    start = time.perf_counter()
    if not 0 < alpha < 1 or not margin > 0:
        raise ValueError(f"wanted 0 < alpha < 1 and margin > 0, got alpha {alpha} and margin {margin}")
    data, names = _Data.read(x, y, x_rep, y_rep, y_kind, groups, coordinates)
    discovery, evaluation = data.halves(seed)
    search = _Search(
        discovery=discovery,
        evaluation=evaluation,
        names=names,
        alpha=alpha,
        margin=margin,
        seed=seed,
        progress=progress,
    )
    report = search.of_distribution() if y is None else search.of_map()
    notes = report.notes
    if len(data.x) < FEW:
        notes += (f"Only {len(data.x)} samples, half of them for the test: intervals are wide.",)
    provenance = report.algebra.provenance | {
        "method": "find_symmetries", "name": report.name, "verdict": report.verdict, "text": str(report),
        "seed": seed, "alpha": alpha, "margin": margin,
    }  # fmt: skip
    algebra = _with_basis(report.algebra, report.algebra.basis, provenance)
    return replace(report, algebra=algebra, notes=notes, seconds=time.perf_counter() - start)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Data:
    """Rows of one data set, with how they are read."""

    x: Tensor
    y: Tensor | None
    groups: Tensor | None
    x_rep: Rep | None
    y_rep: Rep | None
    y_kind: YKind | None

    @classmethod
    def read(
        cls, x: ArrayLike, y: ArrayLike | None, x_rep: Rep | None, y_rep: Rep | None, y_kind: YKind | None,
        groups: ArrayLike | None, coordinates: Sequence[str] | None,
    ) -> tuple["_Data", tuple[str, ...]]:  # fmt: skip
        samples = Samples.read(x, y, x_rep, y_rep, y_kind)
        n = len(samples)
        if n < LEAST:
            raise ValueError(f"a search and its test need at least {LEAST} samples, got {n}")
        target = None if y is None else as_tensor(y, "y").detach().cpu()
        if target is not None and samples.y is not None and samples.labels is None:
            target, y_kind = target.double(), None
            y_rep = y_rep or (samples.y.vectors.shape[1] * V if samples.y.vectors.shape[1] else Scalar)
        elif target is not None:
            y_kind = "class"
        labels = None if groups is None else as_tensor(groups, "groups").reshape(-1)
        if labels is not None and (len(labels) != n or len(labels.unique()) < LEAST_GROUPS):
            raise ValueError(
                f"groups must be n = {n} labels of at least {LEAST_GROUPS} groups, got {len(labels)} of "
                f"{len(labels.unique())}"
            )
        names = column_names(x, x_rep) if coordinates is None else tuple(map(str, coordinates))
        if names is not None and len(names) != samples.dim:
            raise ValueError(
                f"coordinates must be {samples.dim} names, one an entry of a vector, got {list(names)}"
            )
        data = cls(
            x=as_tensor(x, "x").detach().cpu().double(),
            y=target,
            groups=labels,
            x_rep=x_rep,
            y_rep=y_rep,
            y_kind=y_kind,
        )
        return data, names or tuple(f"x{i}" for i in range(samples.dim))

    def __getitem__(self, index: Tensor) -> "_Data":
        y = None if self.y is None else self.y[index]
        return replace(self, x=self.x[index], y=y, groups=None if self.groups is None else self.groups[index])

    @property
    def options(self) -> dict[str, Any]:
        """How rows are read."""
        return {"x_rep": self.x_rep, "y_rep": self.y_rep, "y_kind": self.y_kind}

    @property
    def samples(self) -> Samples:
        """The rows, sorted by how a group acts on them."""
        return Samples.read(self.x, self.y, **self.options)

    def halves(self, seed: int) -> tuple["_Data", "_Data"]:
        """Two random halves, whole groups together."""
        of = torch.arange(len(self.x)) if self.groups is None else self.groups.unique(return_inverse=True)[1]
        count = int(of.max()) + 1
        first = torch.zeros(count, dtype=torch.bool)
        first[torch.randperm(count, generator=torch.Generator().manual_seed(seed))[: count // 2]] = True
        return self[first[of]], self[~first[of]]

    def thinned(self, most: int, seed: int) -> "_Data":
        """At most so many random rows."""
        if len(self.x) <= most:
            return self
        return self[torch.randperm(len(self.x), generator=torch.Generator().manual_seed(seed))[:most]]


@dataclass(kw_only=True)
class _Proposals(Spectral):
    """Generators for a test that decides: where none fits at the usual noise, those below the widest gap."""

    def _equations(self, samples: Samples, test: Samples, rng: torch.Generator) -> Tensor:
        self._asked = super()._equations(samples, test, rng)
        return self._asked

    def _algebra(self, found: NullSpace, samples: Samples, names: Sequence[str]) -> LieAlgebra:
        values = found.singular_values
        small = int((values[:-1] < LARGEST_ZERO).sum())
        if not found.dim and small:
            ratios = values[1 : small + 1] / values[:small]
            if float(ratios.max()) > LEAST_RATIO:
                count = int(ratios.argmax()) + 1
                found = robust_null_space(self._asked, count=count, reweightings=self.reweightings)
        return super()._algebra(found, samples, names)


@dataclass(frozen=True, kw_only=True)
class _Search:
    """A search on one half of the data and its tests on the other."""

    discovery: _Data
    evaluation: _Data
    names: tuple[str, ...]
    alpha: float
    margin: float
    seed: int
    progress: bool

    def of_map(self) -> SymmetryReport:
        try:
            spectral = self._spectral()
        except ValueError as error:
            if "do not determine" not in str(error):
                raise
            sentence = (
                f"Cannot tell: {str(error).split(';')[0]}. More samples, or fewer coordinates, would decide."
            )
            return self._report(self._nothing(), "", "cannot tell", sentence)
        if spectral is None:
            return self._report(
                self._nothing(),
                "",
                "cannot tell",
                "Cannot tell: the target never changes, so every generator would do.",
            )
        found = self._refined(spectral.algebra_)
        tested = list(self._nested(*found)) if found[0].n_generators else []
        others = self._textbook(tested[0][0] if tested else self._nothing())
        passed = [entry for entry in tested if entry[2]]
        algebra, name, test = passed[0] if passed else (self._nothing(), "", None)
        holding = [row for row in others if row.answer == "symmetric"]
        joined = self._joined(algebra, holding)
        if joined is not None:
            algebra, name, test = joined
        found_names = self._results(tested[0][0], tested[0][2]) if tested else ()
        explained = (
            test.explained_variance
            if test
            else tested[0][2].explained_variance
            if tested
            else self._explained
        )
        return self._finish(spectral, algebra, name, test, passed, found_names, others, explained)

    def _finish(
        self, spectral: Spectral, algebra: LieAlgebra, name: str, test: EquivarianceTest | None,
        passed: list[tuple[LieAlgebra, str, EquivarianceTest]], candidates: tuple[GeneratorResult, ...],
        others: tuple[GeneratorResult, ...], explained: float,
    ) -> SymmetryReport:  # fmt: skip
        broken = tuple(row for row in candidates if row.answer == "not symmetric")
        rejected = tuple(row for row in others if row.answer == "not symmetric")
        facts: dict[str, Any] = {
            "equations": spectral.equations_, "undetermined": spectral.relations_, "rejected": rejected,
            "broken": broken, "explained_variance": explained,
        }  # fmt: skip
        if test is not None:
            rows = self._results(algebra, test)
            measured = test.worst.low > EXACTLY * self.margin
            sentence = (
                f"{'Approximately ' if measured else ''}{name}: {_listed(rows)}. Equivariance defect at most "
                f"{_percent(test.worst.high)} of the motion ({1 - self.alpha:.0%} confidence)."
            )
            if measured:
                sentence += (
                    f" The defect is at least {_percent(test.worst.low)}, so the symmetry is not exact."
                )
            nested = tuple(entry for entry in passed if entry[0].n_generators < algebra.n_generators)
            return self._report(algebra, name, "symmetric", sentence, generators=rows, nested=nested, **facts)
        asked = (*candidates, *others)
        if asked and all(row.answer == "not symmetric" for row in asked):
            sentence = (
                "Not symmetric: of what was tried no generator is a symmetry, and none other was found."
            )
            return self._report(self._nothing(), "", "not symmetric", sentence, **facts)
        return self._report(
            self._nothing(), "", "cannot tell", self._what_would_decide(asked, explained), **facts
        )

    def _what_would_decide(self, asked: Sequence[GeneratorResult], explained: float) -> str:
        if explained < LEAST_EXPLAINED:
            return (
                f"Cannot tell: the fitted map explains {max(explained, 0):.0%} of the variance of the target. "
                "Less noise, more samples, or a target that depends on x would decide."
            )
        near = [row for row in asked if row.answer == "cannot tell" and row.defect is not None]
        if not near:
            return "Cannot tell: no generator moves these data enough to be tested."
        best = min(near, key=lambda row: row.defect.high if row.defect else math.inf)
        high = best.defect.high if best.defect else math.inf
        return (
            f"Cannot tell: the defect of {best.name} could only be bounded by {_percent(high)} of the motion "
            f"(the margin is {_percent(self.margin)}). More samples, or less noise, would decide."
        )

    def _spectral(self) -> Spectral | None:
        """Generators proposed by the discovery half; the test decides, so the gap need not be wide."""
        data = self.discovery
        if data.y is not None and not (data.y != data.y[:1]).any():
            return None
        spectral = _Proposals(
            steps=STEPS, evaluation_steps=1, least_gap=1.0, seed=self.seed, progress=self.progress
        )
        return spectral.fit(data.x, data.y, coordinates=self.names, groups=data.groups, **data.options)

    def _refined(self, algebra: LieAlgebra) -> tuple[LieAlgebra, str]:
        if not algebra.n_generators:
            return algebra, ""
        data = self.discovery
        if algebra.n_generators > MANY:
            data = data.thinned(ORDERED, self.seed)
        samples = data.samples
        if samples.labels is None and data.y is not None:
            refinement = refine(algebra, data.x, data.y, x_rep=data.x_rep, y_rep=data.y_rep)
        else:
            refinement = refine(algebra, samples.all_vectors())
        match = refinement.match
        return refinement.algebra, match.name

    def _nested(self, algebra: LieAlgebra, name: str) -> Iterator[tuple[LieAlgebra, str, EquivarianceTest]]:
        """The algebra and, where its defect is measurable, algebras of its best generators; each with its test."""
        c = algebra.n_generators
        level = self.alpha / 2 / (1 + min(c - 1, MOST_NESTED))
        test = self._test(algebra, level)
        yield algebra, name, test
        if c == 1 or (test and test.worst.low < EXACTLY * self.margin):
            return
        few = self.discovery.thinned(ORDERED, self.seed)
        order = equivariance_test(
            algebra,
            few.x,
            few.y,
            groups=few.groups,
            seed=self.seed,
            **few.options,  # type: ignore[arg-type]
        ).order
        bases = [
            torch.einsum("ab,bij->aij", order[:k], algebra.basis.double()) for k in range(len(order), 0, -1)
        ]
        closed = [b for b in bases if len(b) < c and (len(b) == 1 or closure_error(b) < CLOSED)]
        for basis in closed[-MOST_NESTED:]:
            smaller, its_name = self._refined(_with_basis(algebra, basis, algebra.provenance))
            if smaller.n_generators:
                yield smaller, its_name, self._test(smaller, level)

    def _test(self, algebra: LieAlgebra, level: float) -> EquivarianceTest:
        few = self.evaluation.thinned(TESTED, self.seed)
        if few.y is None:
            raise ValueError("the test needs a target y")
        return equivariance_test(
            algebra,
            few.x,
            few.y,
            groups=few.groups,
            margin=self.margin,
            alpha=level,
            seed=self.seed,
            **few.options,
        )

    def _textbook(self, algebra: LieAlgebra) -> tuple[GeneratorResult, ...]:
        """Textbook generators outside of the algebra, with the answers of the evaluation half."""
        unit = span(algebra.basis) if algebra.n_generators else torch.zeros(0, len(self.names) ** 2)
        tried = []
        for matrix in _textbook_generators(len(self.names)):
            row = matrix.flatten() / matrix.norm()
            if float((row - row @ unit.to(row).mT @ unit.to(row)).norm()) > EXACTLY:
                tried.append(matrix)
        if not tried:
            return ()
        hypotheses = LieAlgebra(torch.stack(tried), coordinates=self.names)
        rows = self._results(hypotheses, self._test(hypotheses, self.alpha / 2))
        return tuple(replace(row, name=_name(row.matrix, self.names)) for row in rows)

    def _joined(
        self, algebra: LieAlgebra, rows: Sequence[GeneratorResult]
    ) -> tuple[LieAlgebra, str, EquivarianceTest] | None:
        """The algebra with textbook generators that hold, too, where the algebra they generate holds."""
        if not rows:
            return None
        more = torch.stack([row.matrix for row in rows])
        several = [torch.cat([algebra.basis.double(), more])] + (
            [more[:1]] if not algebra.n_generators else []
        )
        for basis in several:
            joined, name = self._refined(LieAlgebra(_closed(basis), coordinates=self.names))
            test = self._test(joined, self.alpha / 2)
            if test:
                return joined, name, test
        return None

    @property
    def _explained(self) -> float:
        """R^2 of the map where no test has told it."""
        scaling = LieAlgebra(torch.eye(len(self.names), dtype=torch.float64)[None])
        return self._test(scaling, self.alpha).explained_variance

    def of_distribution(self) -> SymmetryReport:
        asked = "Without a target only the data themselves were asked."
        try:
            spectral = self._spectral()
        except ValueError as error:
            if "require nothing" not in str(error) and "do not determine" not in str(error):
                raise
            spectral = None
        if spectral is not None:
            return self._of_support(spectral, asked)
        data, k = self.discovery, len(self.names)
        liegan = LieGAN(n_generators=1, evaluation_steps=1, seed=self.seed, progress=self.progress)
        liegan.fit(data.x, x_rep=data.x_rep, coordinates=self.names, groups=data.groups)
        algebra, name = self._refined(liegan.algebra_)
        few = self.evaluation.thinned(TESTED, self.seed)
        verdict = certify(algebra, few.x, x_rep=few.x_rep, groups=few.groups, seed=self.seed)
        answer = {"broken": "not symmetric"}.get(verdict.distribution, "cannot tell")
        facts: dict[str, Any] = {"undetermined": liegan.relations_}
        rows = (self._row(algebra.basis[0], None, "symmetric" if verdict else answer),)
        if verdict:
            words = (
                f"{name}: {rows[0].name}. A new critic tells g x from x with AUC {verdict.auc} (chance 0.5)."
            )
            return self._report(algebra, name, "symmetric", f"{words} {asked}", generators=rows, **facts)
        facts["broken"] = rows if answer == "not symmetric" else ()
        words = (
            f"{answer.capitalize()}: the best generator of {k} x {k} that was found is {rows[0].name}; a new "
            f"critic tells g x from x with AUC {verdict.auc} (chance 0.5). More samples, or a target y, would decide."
        )
        return self._report(self._nothing(), "", answer, f"{words} {asked}", **facts)

    def _of_support(self, spectral: Spectral, asked: str) -> SymmetryReport:
        """Symmetries of the surface that the data fill, tested on the evaluation half."""
        facts: dict[str, Any] = {"equations": spectral.equations_, "undetermined": spectral.relations_}
        algebra, name = self._refined(spectral.algebra_)
        if not algebra.n_generators:
            words = "Cannot tell: no generator leaves the surface invariant that the data fill."
            return self._report(self._nothing(), "", "cannot tell", f"{words} {asked}", **facts)
        level = self.alpha / algebra.n_generators
        defects = [self._out_of_support(spectral, matrix, level) for matrix in algebra.basis.double()]
        exact = bool(spectral.equations_)
        answers = [d.answer(self.margin) if exact or d.high < self.margin else "cannot tell" for d in defects]
        rows = tuple(map(self._row, algebra.basis, defects, answers))
        if all(answer == "symmetric" for answer in answers):
            high = max(defect.high for defect in defects)
            words = (
                f"{name}: {_listed(rows)}. The generators lead out of the surface that the data "
                f"fill by at most {_percent(high)} of the motion ({1 - self.alpha:.0%} confidence). {asked} The "
                "distribution on the surface was not tested."
            )
            return self._report(algebra, name, "symmetric", words, generators=rows, **facts)
        answer = "not symmetric" if "not symmetric" in answers else "cannot tell"
        facts["broken"] = tuple(row for row in rows if row.answer == "not symmetric")
        words = (
            f"{answer.capitalize()}: generators that were found lead out of the surface that the data fill."
        )
        return self._report(self._nothing(), "", answer, f"{words} {asked}", **facts)

    def _out_of_support(self, spectral: Spectral, matrix: Tensor, level: float) -> Defect:
        """The part of the motion normal to the support, with a bootstrap interval."""
        whitening = spectral.space_.whitening
        few = self.evaluation.thinned(TESTED, self.seed).samples.all_vectors()
        points = few @ whitening.encode.double().mT
        normal = normals(
            points,
            points,
            neighbours=spectral.neighbours,
            thin=spectral.thin,
            ideal=spectral.vanishing_ideal_,
        )
        motion = points @ whitening.generators(matrix[None])[0].double().mT
        out = torch.einsum("nij,nj->ni", normal.double(), motion).square().sum(1)
        size = motion.square().sum(1)
        rng = torch.Generator().manual_seed(self.seed)
        index = torch.randint(len(points), (RESAMPLES, len(points)), generator=rng)
        draws = (out[index].sum(1) / size[index].sum(1).clamp(min=1e-300)).sqrt()
        low, high = (float(draws.quantile(q)) for q in (level, 1 - level))
        return Defect(value=float((out.sum() / size.sum().clamp(min=1e-300)).sqrt()), low=low, high=high)

    def _results(self, algebra: LieAlgebra, test: EquivarianceTest) -> tuple[GeneratorResult, ...]:
        sure = test.explained_variance > 0
        answers = [d.answer(self.margin) if sure else "cannot tell" for d in test.defects]
        return tuple(map(self._row, algebra.basis, test.defects, answers))

    def _row(self, matrix: Tensor, defect: Defect | None, answer: str) -> GeneratorResult:
        matrix = matrix.double().cpu()
        return GeneratorResult(
            name=_name(matrix, self.names, self._scale), matrix=matrix, defect=defect, answer=answer
        )

    @property
    def _scale(self) -> Tensor:
        """Root mean square (k,) of the vectors' coordinates."""
        size = self.discovery.samples.x.vectors.square().mean((0, 1)).sqrt()
        return size.clamp(min=1e-12 * float(size.max()))

    def _nothing(self) -> LieAlgebra:
        k = len(self.names)
        return LieAlgebra(torch.zeros(0, k, k, dtype=torch.float64), coordinates=self.names)

    def _report(
        self, algebra: LieAlgebra, name: str, verdict: str, sentence: str, **facts: Any
    ) -> SymmetryReport:
        metrics = None
        if algebra.n_generators:
            forms = invariant_metrics(algebra, allow_none=True).metrics
            metrics = forms if len(forms) else None
        empty: dict[str, Any] = dict.fromkeys(
            ("generators", "nested", "equations", "undetermined", "rejected", "broken", "notes"), ()
        )
        given = {"explained_variance": 0.0, "seconds": 0.0, "seed": self.seed, **empty, **facts}
        return SymmetryReport(
            algebra=algebra, name=name or "none", verdict=verdict, sentence=sentence, metrics=metrics, **given
        )


def _with_basis(algebra: LieAlgebra, basis: Tensor, provenance: dict[str, Any]) -> LieAlgebra:
    """The algebra with other generators or another provenance."""
    distribution = algebra.distribution if len(basis) == algebra.n_generators else None
    return LieAlgebra(basis, distribution, algebra.origin, algebra.coordinates, algebra.space, provenance)


def _closed(basis: Tensor) -> Tensor:
    """A basis of the smallest algebra that holds generators (c, k, k): theirs, where it is closed already."""
    k = basis.shape[-1]
    while len(basis) > 1 and closure_error(basis) > CLOSED:
        bracket = torch.einsum("aij,bjk->abik", basis, basis)
        more = (bracket - bracket.transpose(0, 1)).flatten(0, 1)
        basis = orthonormal(torch.cat([basis, more[more.flatten(1).norm(dim=1) > 0]]), rtol=CLOSED)
        if len(basis) == k * k:
            break
    return basis


def _textbook_generators(k: int) -> Iterator[Tensor]:
    """Scaling, and rotations (in few dimensions boosts, too) of pairs of coordinates."""
    yield torch.eye(k, dtype=torch.float64)
    if not 1 < k <= HYPOTHESES_UP_TO:
        return
    every = k <= ALL_PAIRS_UP_TO
    for i, j in combinations(range(k), 2) if every else ((i, i + 1) for i in range(k - 1)):
        for sign in (-1.0, 1.0) if every else (-1.0,):
            matrix = torch.zeros(k, k, dtype=torch.float64)
            matrix[i, j], matrix[j, i] = sign, 1.0
            yield matrix


def _name(matrix: Tensor, names: Sequence[str], scale: Tensor | None = None) -> str:
    """A generator in words; entries that move data of these sizes (k,) far less than the largest count as zero."""
    short = [name.split(" [")[0] for name in names]
    visible = matrix if scale is None else matrix * scale / scale[:, None]
    visible = visible / visible.abs().max().clamp(min=1e-300)
    large = (visible.abs() > SMALL).nonzero().tolist()
    touched = sorted({i for pair in large for i in pair})
    pair = f"({', '.join(short[i] for i in touched)})"
    if all(i == j for i, j in large):
        sizes = matrix.diagonal()[touched]
        alike = float((sizes - sizes.mean()).abs().max()) < SMALL * float(sizes.abs().max())
        return f"scaling of {pair}" + ("" if alike else " by different powers")
    if len(large) == 1:
        return f"shear of {short[large[0][0]]} along {short[large[0][1]]}"
    if len(large) == 2 and large[0] == large[1][::-1]:
        there, back = (float(matrix[i, j]) for i, j in large)
        alike = abs(abs(there) - abs(back)) < SMALL * max(abs(there), abs(back))
        kind = "rotation" if there * back < 0 else "boost"
        return f"{kind} of {pair}" + ("" if alike else " in scaled units")
    antisymmetric = float((matrix + matrix.mT).abs().max()) < SMALL * float(matrix.abs().max())
    if antisymmetric:
        return f"rotation of {pair}"
    values = torch.linalg.eigvals(visible)
    values = values[values.abs() > SMALL * values.abs().max()]
    for kind, zero in (("rotation", values.real), ("boost", values.imag)):
        if len(values) == 2 and abs(complex(values.sum())) < SMALL and float(zero.abs().max()) < SMALL:
            return f"{kind} in a plane of {pair}"
    return f"combination of {pair}"


def _listed(rows: Sequence[GeneratorResult]) -> str:
    more = f", and {len(rows) - NAMED} more" if len(rows) > NAMED else ""
    return ", ".join(row.name for row in rows[:NAMED]) + more


def _percent(part: float) -> str:
    percent = 100 * min(part, 10)
    return f"{percent:.2g} %" if percent < 100 else f"{percent:.0f} %"
