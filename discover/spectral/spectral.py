"""All linear symmetries at once: the null space of L_out f(x) - Df(x) L_in x = 0 over data, with its spectrum.

f is a network fitted to y; L_out is L on vectors and 0 on scalars and labels. Off the support of the data f is
undetermined, so a second set of equations asks that L x is tangent to the support.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from discover.data.samples import Samples, YKind
from discover.data.search_space import SearchSpace, Specification, check_memory
from discover.estimator import Estimator
from discover.networks.fitting import fit, seeded
from discover.networks.predictor import Predictor
from discover.spectral.tangent import normals
from discover.spectral.vanishing_ideal import vanishing_ideal
from discover.validation.certify import Verdict, evaluate_symmetry, split
from equivariant.algebra import CoefficientDistribution, LieAlgebra
from equivariant.arrays import ArrayLike
from equivariant.nullspace import NullSpace, null_space
from equivariant.rep import Rep

__all__ = ["Spectral", "robust_null_space"]


@dataclass(kw_only=True)
class Spectral(Estimator):
    """Linear symmetries of the map x -> y by linear algebra on a fitted network (after LieSD, arXiv 2410.09841).

    Solves L_out f(x) - Df(x) L_in x = 0 (their equation of infinitesimal equivariance) for all generators L at once.
    Unlike there: on the span of the data in whitened coordinates; of the target only what no fixed combination of
    the inputs gives; tangency to the support of the data; data that fit no symmetry well count less.

    Args:
        n_generators: how many to take; by default where the gap of the spectrum is.
        search_space: ``"free"``, ``"blocks:2"``, groups such as ``"0,1,4,5|2,3,6,7"``, or a mask (k, k).
        noise: level of noise of the equations, relative to the largest singular value: below it nothing is told
            from zero, and only values up to ten times it may count as zero.
        least_gap: with a smaller gap above the zeros none is found; a given number is taken as it is.
        width: hidden width of the network.
        steps: training steps of the network.
        batch_size: samples in a training step.
        learning_rate: Adam's, at the start.
        points: at most so many data at which the equations are asked.
        neighbours: data that a local tangent space is made of.
        thin: below this part of the local variance a direction leads out of the support; 0 leaves the support out.
        degree: largest degree of polynomials that vanish on the data and describe the support exactly.
        exact: how well they have to vanish, relative to the size of their monomials; 0 does not look for any.
        reweightings: rounds in which outliers lose weight.
        distribution_scale: standard deviation of the coefficients that the algebra is given; with 1, w is in radians.
        held_out: fraction of the groups of samples held out for the verdict.
        evaluation_steps: training steps of the verdict's critic and predictor.
        seed: of everything random.
        device: where networks are trained.
        progress: show a bar.

    After ``fit``: ``algebra_`` (no generators where none is found), ``spectrum_`` (relative singular values,
    ascending), ``gap_``, ``residual_``, ``verdict_`` (``None`` without generators), ``explained_variance_`` (R^2 of
    the network on held-out data), ``span_``, ``undetermined_``, ``relations_``, ``vanishing_ideal_`` (in whitened
    coordinates) and ``equations_``, its text.

    Example:
        >>> angle = torch.linspace(0, 6, 200, dtype=torch.float64)
        >>> ellipse = torch.stack([2 * angle.cos(), angle.sin()], dim=1)
        >>> found = Spectral(evaluation_steps=20, progress=False).fit(ellipse, coordinates=["x", "y"])
        >>> found.algebra_.n_generators, found.equations_
        (1, ('1 - 0.25 x^2 - y^2 = 0',))
    """

    n_generators: int | None = None
    search_space: Specification = "free"
    noise: float = 0.01
    least_gap: float = 2.0
    width: int = 128
    steps: int = 4000
    batch_size: int = 512
    learning_rate: float = 4e-3
    points: int = 4000
    neighbours: int = 16
    thin: float = 0.05
    degree: int = 2
    exact: float = 1e-5
    reweightings: int = 4
    distribution_scale: float = 1.0
    held_out: float = 0.2
    evaluation_steps: int = 1000
    seed: int = 0
    device: str = "cpu"
    progress: bool = True

    def fit(
        self,
        x: ArrayLike,
        y: ArrayLike | None = None,
        *,
        x_rep: Rep | None = None,
        y_rep: Rep | None = None,
        y_kind: YKind | None = None,
        coordinates: Sequence[str] | None = None,
        groups: ArrayLike | None = None,
    ) -> "Spectral":
        """Fit the network, solve the equations, evaluate the answer on held-out data.

        Args:
            x: inputs (n, d) or (n, T, k): a tensor, a NumPy array, lists or a pandas frame.
            y: targets: vectors (n, d), scalars (n,) or (n, 1), or class labels (n,); without them only tangency to
                the support of x is asked for.
            x_rep: how x is built, a sum of ``V`` and ``Scalar``; guessed from the shape by default.
            y_rep: how y is built.
            y_kind: ``"class"`` or ``"count"``: what whole numbers in y are; by default classes if they are few.
            coordinates: k names with units; by default the column names of a frame.
            groups: labels (n,); samples of one group (a trajectory, say) are held out together.

        Returns:
            The estimator itself.

        Raises:
            ValueError: for wrong shapes, NaN, too few samples, more unknowns than memory holds, or data that fill
                their space and have no y, so that every matrix would do.
        """
        self._check_settings(
            "steps", "batch_size", "learning_rate", "width", "points", "neighbours", "evaluation_steps"
        )
        samples, names = self._read(x, y, x_rep, y_rep, y_kind, coordinates)
        train, test = split(samples, self.held_out, groups, self.seed)
        self.space_ = SearchSpace.of_data(train.all_vectors(), self.search_space)
        whitened_train, whitened_test = (
            s.map_vectors(self.space_.whitening.encode).to(device=self.device, dtype=torch.float32)
            for s in (train, test)
        )
        rng = torch.Generator(self.device).manual_seed(self.seed)
        equations = self._equations(whitened_train, whitened_test, rng)
        found = robust_null_space(
            equations,
            noise=self.noise,
            count=self.n_generators,
            least_gap=self.least_gap,
            reweightings=self.reweightings,
        )
        self.spectrum_, self.gap_, self.residual_ = found.singular_values, found.gap, found.residual
        self.algebra_ = self._algebra(found, samples, names)
        self.verdict_: Verdict | None = None
        if self.algebra_.n_generators:
            steps, seed, device = self.evaluation_steps, self.seed, self.device
            self.verdict_ = evaluate_symmetry(
                self.algebra_, train, test, steps=steps, seed=seed, device=device
            )
        return self

    @property
    def equations_(self) -> tuple[str, ...]:
        """The polynomial equations that all vectors obey, in the names of the coordinates."""
        polynomials = self.vanishing_ideal_.pull_back(self.space_.whitening.encode)
        return polynomials.text(self.algebra_.coordinates)

    def _equations(self, samples: Samples, test: Samples, rng: torch.Generator) -> Tensor:
        """Rows (n, q, m): by how much each matrix of the search space violates each equation at each of n data."""
        self._check_size(samples)
        index = torch.randperm(len(samples), generator=rng, device=rng.device)[: self.points]
        chosen = samples[index]
        matrices = self.space_.whitened_basis().to(chosen.x.vectors)
        tangents = torch.einsum("bij,nmj->bnmi", matrices, chosen.x.vectors)
        rows = [self._out_of_support(samples, chosen, tangents)]
        self.explained_variance_ = 0.0
        if samples.y is not None:
            rows.append(self._equivariance(samples, test, chosen, tangents, rng))
        return torch.cat(rows, dim=1).double().cpu()

    def _check_size(self, samples: Samples) -> None:
        """Refuse equations that memory does not hold."""
        n, (copies, r), m = min(self.points, len(samples)), samples.x.vectors.shape[1:], self.space_.size
        outputs = 0 if samples.y is None else samples.y.flat().shape[1] + samples.classes
        needed = n * m * (24 * (copies * r + outputs) + 4 * copies * r)
        check_memory(needed, f"{n * (copies * r + outputs)} equations for {m} unknowns")

    def _out_of_support(self, samples: Samples, chosen: Samples, tangents: Tensor) -> Tensor:
        """How far each motion (b, n, m, k) of each vector leads out of the support of the vectors: (n, m k, b)."""
        every = samples.x.vectors.flatten(0, 1)
        exact = self.exact if self.thin > 0 else 0.0
        self.vanishing_ideal_ = vanishing_ideal(every, degree=self.degree, exact=exact)
        here = chosen.x.vectors.flatten(0, 1)
        normal = normals(here, every, neighbours=self.neighbours, thin=self.thin, ideal=self.vanishing_ideal_)
        out = torch.einsum("nij,bnj->nib", normal, tangents.flatten(1, 2))
        return out.reshape(len(chosen), -1, len(tangents))

    def _equivariance(
        self, samples: Samples, test: Samples, chosen: Samples, tangents: Tensor, rng: torch.Generator
    ) -> Tensor:
        """L_out f - Df L_in x for every matrix of the search space: (n, o, b)."""
        predictor = seeded(rng, lambda: Predictor(samples, width=self.width))
        progress = "Spectral" if self.progress else None
        fit(
            predictor, predictor.loss, samples, steps=self.steps, batch=self.batch_size, rate=self.learning_rate,
            rng=rng, progress=progress,
        )  # fmt: skip
        with torch.no_grad():
            self.explained_variance_ = predictor.explained_variance(test)
            columns = [
                _equivariance_part(matrix, *predictor.jvp(chosen.x, tangent), predictor.vectors)
                for matrix, tangent in zip(self.space_.whitened_basis().to(tangents), tangents, strict=True)
            ]
        return torch.stack(columns, dim=2)

    def _algebra(self, found: NullSpace, samples: Samples, names: Sequence[str]) -> LieAlgebra:
        size = self.space_.rank**0.5  # so that |L x| is |x|, root mean square
        basis = size * self.space_.combine(found.basis)
        distribution = CoefficientDistribution.normal(found.dim, self.distribution_scale)
        evidence = {"spectrum": found.singular_values.tolist(), "gap": found.gap, "residual": found.residual}
        provenance = self._provenance(samples.digest, explained_variance=self.explained_variance_, **evidence)
        return LieAlgebra(basis, distribution, coordinates=names, provenance=provenance)


def robust_null_space(
    equations: Tensor,
    *,
    noise: float = 0.01,
    count: int | None = None,
    least_gap: float = 2.0,
    reweightings: int = 4,
) -> NullSpace:
    """The null space of equations over data, of which some may not hold.

    Its dimension is decided with all data alike; then those that fit it get more weight.

    Args:
        equations: (n, q, m): q equations for m unknowns at each of n data.
        noise: level of noise, relative to the largest singular value.
        count: dimension of the null space; by default where the gap of the spectrum is.
        least_gap: with a smaller gap the null space is empty; not asked where ``count`` is given.
        reweightings: rounds in which outliers lose weight.

    Returns:
        The null space, with the spectrum of all data alike.

    Raises:
        ValueError: where the equations are all zero or fewer than the unknowns.

    Example:
        >>> equations = torch.eye(3, dtype=torch.float64)[None, 1:].repeat(9, 1, 1)
        >>> robust_null_space(equations).basis.abs().tolist()
        [[1.0, 0.0, 0.0]]
    """
    sizes = equations.flatten(1).norm(dim=1)
    if not sizes.any():
        raise ValueError(
            "the data require nothing of a generator: they fill their space, and y, if there is one, never "
            "changes; give a y that does, or a larger thin"
        )
    asked, unknowns = int(equations.any(dim=2).sum()), equations.shape[2]
    if asked < unknowns:
        raise ValueError(
            f"{asked} equations do not determine {unknowns} unknowns; give more data, more points, or a narrower "
            "search space such as 'blocks:2'"
        )
    # no datum counts more than the median one, so that a few steep places do not set the scale
    equations = equations / sizes.clamp(min=sizes[sizes > 0].median())[:, None, None]
    found = null_space(equations.flatten(0, 1), rtol=noise, count=count)
    if count is None and found.gap < least_gap:
        found = replace(found, basis=found.basis[:0], residual=0.0)
    basis = found.basis
    for _ in range(reweightings if found.dim else 0):
        violation = (equations @ basis.mT).flatten(1).norm(dim=1)
        usual = violation.median().clamp(min=torch.finfo(violation.dtype).tiny)  # exact data violate nothing
        weights = (1 + (violation / usual).square()) ** -1
        basis = null_space((equations * weights[:, None, None]).flatten(0, 1), count=found.dim).basis
    return replace(found, basis=basis)


def _equivariance_part(matrix: Tensor, value: Tensor, derivative: Tensor, vectors: int) -> Tensor:
    """L_out value - derivative: L on the leading vectors of the value, 0 on its scalars and logits."""
    moving = value[:, : vectors * len(matrix)].unflatten(1, (vectors, len(matrix)))
    still = torch.zeros_like(value[:, vectors * len(matrix) :])
    return torch.cat([(moving @ matrix.mT).flatten(1), still], dim=1) - derivative
