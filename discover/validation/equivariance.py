"""Is a map equivariant up to a margin? Its defect per unit of motion, with an interval and one of three answers.

For y = f(x) and a generator L the defect is

    delta^2 = E |L_out f(x) - Df(x) L x|^2 / (E |Df(x) u|^2 + E |L_out f(x)|^2),    u random, of length |L x|,

in whitened coordinates: 0 where the map is equivariant, about 1 where L is a direction like any other. No group element
is drawn, so the answer does not depend on the scale of the coefficients.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from discover.data.samples import Samples, YKind
from discover.networks.fitting import fit, seeded
from equivariant.algebra import LieAlgebra
from equivariant.arrays import ArrayLike, as_tensor
from equivariant.rep import Rep, Scalar

__all__ = ["Defect", "EquivarianceTest", "equivariance_test"]

LENGTH_SCALES = (0.35, 0.6, 1.1, 2.3)  # of the radial functions, in units of the root of the dimension
CENTRES = 400
NETWORK_FROM = 400  # samples in a half from which on a network's last layer joins the features
QUADRATIC_UP_TO = 40  # dimensions up to which the network sees products of inputs, too
STEPS, WIDTH = 1000, 64
POINTS, DRAWS = 1500, 200
KEPT = 0.9  # share of the points, those of least leverage, over which the defect is averaged
RANK_TOLERANCE = 1e-6
LEAST_NOISE = 1e-7  # of the variance of the target
CONSTANT = 1e-12  # a column that varies less, relative to its size, is constant
LEAST_MOTION = 1e-6  # a generator that moves the data less, relative to the largest, does nothing to them


@dataclass(frozen=True, kw_only=True)
class Defect:
    """The defect of one generator, or of the worst combination of all.

    Args:
        value: estimate of delta.
        low: lower end of its interval.
        high: upper end; the smallest margin that could be certified.

    Example:
        >>> Defect(value=0.02, low=0.0, high=0.04).answer(margin=0.1)
        'symmetric'
    """

    value: float
    low: float
    high: float

    def answer(self, margin: float) -> str:
        """The answer at a margin.

        Args:
            margin: the defect up to which a map counts as symmetric.

        Returns:
            ``"symmetric"``, ``"not symmetric"`` or ``"cannot tell"``.
        """
        if self.high < margin:
            return "symmetric"
        return "not symmetric" if self.low > margin else "cannot tell"

    def __str__(self) -> str:
        return f"{self.value:.2g} [{self.low:.2g}, {self.high:.2g}]"


@dataclass(frozen=True, kw_only=True)
class EquivarianceTest:
    """What ``equivariance_test`` found; true if the map is symmetric up to the margin.

    Args:
        defects: one for each generator of the algebra.
        worst: of the combination of generators with the largest defect.
        order: coefficients (c, c) of combinations of the generators by ascending estimated defect, one a row.
        explained_variance: R^2 of the fitted map on data it was not fitted to.
        margin: the defect up to which a map counts as symmetric.
        alpha: probability of a wrong ``"symmetric"`` that was aimed at, over all generators.

    Example:
        >>> from equivariant import catalogue
        >>> x = torch.randn(600, 3, generator=torch.Generator().manual_seed(0))
        >>> equivariance_test(catalogue.rotation(3), x, (x**2).sum(1)).answer
        'symmetric'
    """

    defects: tuple[Defect, ...]
    worst: Defect
    order: Tensor
    explained_variance: float
    margin: float
    alpha: float

    @property
    def answer(self) -> str:
        """``"symmetric"``, ``"not symmetric"`` or ``"cannot tell"`` for all generators together."""
        return self.worst.answer(self.margin) if self.explained_variance > 0 else "cannot tell"

    def __bool__(self) -> bool:
        return self.answer == "symmetric"

    def __str__(self) -> str:
        level = f"{1 - self.alpha:.0%} confidence"
        explained = f"the fitted map explains {self.explained_variance:.3g} of the variance"
        if self.answer == "symmetric":
            return f"Symmetric: the defect is at most {self.worst.high:.1%} of the motion ({level}); {explained}."
        if self.answer == "not symmetric":
            return f"Not symmetric: the defect is at least {self.worst.low:.1%} of the motion ({level}); {explained}."
        most = min(self.worst.high, 10)
        return f"Cannot tell: the defect may be up to {most:.1%} of the motion ({level}); {explained}."

    def to_dict(self) -> dict[str, Any]:
        """The evidence as ``json`` can write it."""
        return asdict(self) | {"order": self.order.tolist(), "answer": self.answer, "text": str(self)}


def equivariance_test(
    algebra: LieAlgebra,
    x: ArrayLike,
    y: ArrayLike,
    *,
    x_rep: Rep | None = None,
    y_rep: Rep | None = None,
    y_kind: YKind | None = None,
    groups: ArrayLike | None = None,
    margin: float = 0.1,
    alpha: float = 0.05,
    seed: int = 0,
) -> EquivarianceTest:
    """Test a map against an algebra that was found on other data.

    The map is fitted twice, on either half of the data: radial functions and the last layer of a network from one
    half, a Gaussian linear model on the other. The product of the two independent estimates of the defect has
    neither the square of the noise nor that of a random lack of fit in it. The interval adds the sampling error,
    what the prior leaves undetermined, and what the two fits disagree on beyond their noise.

    Args:
        algebra: generators (c, k, k).
        x: inputs (n, d) or (n, T, k).
        y: targets: vectors, scalars or class labels.
        x_rep: how x is built, a sum of ``V`` and ``Scalar``; guessed from the shape by default.
        y_rep: how y is built.
        y_kind: ``"class"`` or ``"count"``: what whole numbers in y are.
        groups: labels (n,) of samples that are not independent, such as those of one trajectory.
        margin: the defect up to which the map counts as symmetric.
        alpha: probability of a wrong ``"symmetric"``, shared out over the generators.
        seed: of everything random.

    Returns:
        The defects, their intervals and the answer.

    Raises:
        ValueError: for wrong shapes, NaN, fewer than 40 samples, inputs that never change, an algebra of another
            dimension or without generators, or a margin or level out of range.

    Example:
        >>> from equivariant import catalogue
        >>> x = torch.randn(600, 2, generator=torch.Generator().manual_seed(0))
        >>> equivariance_test(catalogue.rotation(2), x, x[:, 0] ** 3).answer
        'not symmetric'
    """
    samples = Samples.read(x, y, x_rep, y_rep, y_kind)
    _check(algebra, samples, margin, alpha)
    target = _Target.of(samples)
    if target is None:
        nothing = Defect(value=math.nan, low=0.0, high=math.inf)
        return EquivarianceTest(
            defects=(nothing,) * algebra.n_generators, worst=nothing, order=torch.eye(algebra.n_generators),
            explained_variance=0.0, margin=margin, alpha=alpha,
        )  # fmt: skip
    rng = torch.Generator().manual_seed(seed)
    z, motions = _whitened(samples, algebra)
    first, second = _halves(len(samples), groups, rng)
    fits = [_Fit(z, target.values, a, b, groups, rng) for a, b in ((first, second), (second, first))]
    leverage = sum(f.leverage(z) for f in fits)
    kept = torch.as_tensor(leverage).argsort()[: int(KEPT * len(z))]
    kept = kept[torch.randperm(len(kept), generator=rng)[:POINTS]]
    z, motions = z[kept], motions[:, kept]
    sizes = motions.norm(dim=2, keepdim=True) / math.sqrt(z.shape[1])
    others = torch.randn(motions.shape, generator=rng, dtype=torch.float64) * sizes
    matrices = target.matrices(algebra)
    pieces = [_Pieces.of(f, z, motions, others, matrices, target.mean, rng) for f in fits]
    return _judge(pieces, motions, fits, margin, alpha)


def _check(algebra: LieAlgebra, samples: Samples, margin: float, alpha: float) -> None:
    if algebra.dim != samples.dim:
        raise ValueError(
            f"the algebra must act on vectors of size {samples.dim} like the data, got {algebra.dim}"
        )
    if algebra.n_generators == 0:
        raise ValueError("the algebra must have at least one generator, got none: there is nothing to test")
    if len(samples) < 40:
        raise ValueError(f"a test needs at least 40 samples, got {len(samples)}")
    if not 0 < alpha < 1 or not margin > 0:
        raise ValueError(f"wanted 0 < alpha < 1 and margin > 0, got alpha {alpha} and margin {margin}")


@dataclass(frozen=True, kw_only=True)
class _Target:
    """y in units of its standard deviation, centred, and how generators act on it."""

    values: Tensor  # (n, o)
    mean: Tensor  # (o,)
    vectors: int

    @classmethod
    def of(cls, samples: Samples) -> "_Target | None":
        if samples.y is None:
            raise ValueError("the test needs a target y; without one only the distribution can be tested")
        if samples.y.labels is not None:
            y = nn.functional.one_hot(samples.y.labels).double()[:, 1:]
        else:
            y = samples.y.flat()
        mean, centred = y.mean(0), y - y.mean(0)
        scale = centred.square().mean().sqrt()
        if not scale > 1e-12 * y.abs().max():
            return None
        return cls(values=centred / scale, mean=mean / scale, vectors=samples.y.vectors.shape[1])

    def matrices(self, algebra: LieAlgebra) -> Tensor | None:
        """Generators on y (c, o, o), or nothing where y is invariant."""
        if not self.vectors:
            return None
        c, k, o = algebra.n_generators, algebra.dim, len(self.mean)
        found = torch.zeros(c, o, o, dtype=torch.float64)
        for copy in range(self.vectors):
            found[:, copy * k : (copy + 1) * k, copy * k : (copy + 1) * k] = algebra.basis.double().cpu()
        return found


def _whitened(samples: Samples, algebra: LieAlgebra) -> tuple[Tensor, Tensor]:
    """Inputs (n, r) of unit covariance on their span, and their motions (c, n, r) under each generator."""
    flat = samples.x.flat()
    basis = algebra.basis.double().cpu()
    moved = torch.einsum("cij,nmj->cnmi", basis, samples.x.vectors - algebra.origin.double().cpu())
    motion = torch.cat(
        [moved.flatten(2), flat.new_zeros(len(basis), len(flat), samples.x.scalars.shape[1])], dim=2
    )
    scale = flat.std(0)
    varies = scale > CONSTANT * flat.abs().amax(0)
    if not varies.any():
        raise ValueError("x must vary, got the same values in every sample")
    scale = torch.where(varies, scale, torch.inf)  # what leads out of the span of the data is not tested
    centred = (flat - flat.mean(0)) / scale
    _, singular, right = torch.linalg.svd(centred, full_matrices=False)
    kept = singular > RANK_TOLERANCE * singular[0]
    encode = right[kept].mT / singular[kept] * math.sqrt(len(flat) - 1)
    return centred @ encode, (motion / scale) @ encode


def _halves(n: int, groups: ArrayLike | None, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    if groups is None:
        order = torch.randperm(n, generator=rng)
        return order[: n // 2], order[n // 2 :]
    labels = as_tensor(groups, "groups").reshape(-1)
    names, of = labels.unique(return_inverse=True)
    if len(labels) != n or len(names) < 4:
        raise ValueError(
            f"groups must be n = {n} labels of at least 4 groups, got {len(labels)} of {len(names)}"
        )
    first = torch.zeros(len(names), dtype=torch.bool)
    first[torch.randperm(len(names), generator=rng)[: len(names) // 2]] = True
    return first[of].nonzero().flatten(), (~first[of]).nonzero().flatten()


class _Features:
    """Constant, linear and radial functions and, where there are data enough, the last layer of a network."""

    def __init__(self, z: Tensor, scale: float, rng: torch.Generator, network: nn.Module | None):
        centres = min(CENTRES, len(z) // 4 + 10)
        self.centres = z[torch.randperm(len(z), generator=rng)[:centres]]
        self.variance = scale**2 * z.shape[1]
        values, vectors = torch.linalg.eigh(self._kernel(self.centres))
        kept = values > 1e-8 * values[-1]
        self.weights = vectors[:, kept] / values[kept].sqrt()
        self.network = network

    def _kernel(self, z: Tensor) -> Tensor:
        return (-torch.cdist(z, self.centres).square() / (2 * self.variance)).exp()

    def __call__(self, z: Tensor) -> list[Tensor]:
        linear = torch.cat([z.new_ones(len(z), 1), z], dim=1)
        found = [linear, self._kernel(z) @ self.weights]
        if self.network is not None:
            with torch.no_grad():
                found.append(self.network(z))
        return found

    def along(self, z: Tensor, direction: Tensor) -> Tensor:
        """Derivatives of all features along a direction at each point."""
        kernel = self._kernel(z)
        away = (z * direction).sum(1, keepdim=True) - direction @ self.centres.mT
        found = [z.new_zeros(len(z), 1), direction, (-kernel * away / self.variance) @ self.weights]
        if self.network is not None:
            found.append(torch.func.jvp(self.network, (z,), (direction,))[1].detach())
        return torch.cat(found, dim=1)


class _LastLayer(nn.Module):
    """The hidden features of a network on the inputs and their products, and the network itself in training."""

    means: Tensor
    deviations: Tensor

    def __init__(self, z: Tensor, outputs: int):
        super().__init__()
        self.quadratic = z.shape[1] <= QUADRATIC_UP_TO
        inputs = self._inputs(z)
        self.register_buffer("means", inputs.mean(0))
        self.register_buffer("deviations", inputs.std(0) + 1e-9)
        self.body = nn.Sequential(
            nn.Linear(inputs.shape[1], WIDTH), nn.SiLU(), nn.Linear(WIDTH, WIDTH), nn.SiLU()
        )
        self.head = nn.Linear(WIDTH, outputs)

    def _inputs(self, z: Tensor) -> Tensor:
        if not self.quadratic:
            return z
        i, j = torch.triu_indices(z.shape[1], z.shape[1])
        return torch.cat([z, z[:, i] * z[:, j]], dim=1)

    def forward(self, z: Tensor) -> Tensor:
        return self.body((self._inputs(z) - self.means) / self.deviations)


def _trained(z: Tensor, y: Tensor, rng: torch.Generator) -> _LastLayer | None:
    if len(z) < NETWORK_FROM:
        return None
    network = seeded(rng, lambda: _LastLayer(z, y.shape[1])).float()
    pairs = Samples.read(z, y, y_rep=y.shape[1] * Scalar).to(dtype=torch.float32)

    def loss(batch: Samples) -> Tensor:
        target = batch.y.flat() if batch.y is not None else batch.x.scalars
        return (network.head(network(batch.x.flat())) - target).square().mean()

    fit(network, loss, pairs, steps=STEPS, batch=256, rate=5e-3, rng=rng)
    return network.double()


class _Fit:
    """A map fitted on one half (features) and the other (weights), with the errors of the weights.

    The weights are Gaussian, with one prior variance for each kind of feature and one noise, all by evidence.
    """

    def __init__(
        self, z: Tensor, y: Tensor, of_features: Tensor, of_weights: Tensor, groups: ArrayLike | None,
        rng: torch.Generator,
    ):  # fmt: skip
        zf, zw, yw = z[of_features], z[of_weights], y[of_weights]
        trials = [_Features(zf, scale, rng, None) for scale in LENGTH_SCALES]
        best = max(range(len(trials)), key=lambda i: _evidence(trials[i](zw), yw))
        self.features = trials[best]
        self.features.network = _trained(zf, y[of_features], rng)
        blocks = self.features(zw)
        self.weights, self.posterior, self.noise, freedom, _ = _gaussian(blocks, yw)
        phi = torch.cat(blocks, dim=1)
        residual = yw - phi @ self.weights
        self.covariance = residual.mT @ residual / max(1.0, len(yw) - freedom)
        sampling = self.posterior @ (phi.mT @ phi / self.noise) @ self.posterior
        self.sampling = (sampling + sampling.mT) / 2
        if groups is not None:
            self.covariance = self.covariance * self._clustering(phi, residual, as_tensor(groups)[of_weights])
        held_out = y[of_features] - torch.cat(self.features(zf), dim=1) @ self.weights
        self.explained = 1 - float(held_out.square().mean() / y[of_features].square().mean())

    def _clustering(self, phi: Tensor, residual: Tensor, labels: Tensor) -> float:
        """How much larger the errors are because samples of one group are not independent."""
        of = labels.reshape(-1).unique(return_inverse=True)[1]
        size = int(of.max()) + 1
        scores = torch.zeros(size, phi.shape[1], residual.shape[1], dtype=phi.dtype)
        scores.index_add_(0, of, phi[:, :, None] * residual[:, None, :])
        spread = torch.einsum("pq,gqo->gpo", self.posterior / self.noise, scores).square().sum()
        alone = float(self.sampling.trace() * self.covariance.trace() / self.noise)
        return max(1.0, float(spread) / max(alone, 1e-300))

    def leverage(self, z: Tensor) -> Tensor:
        """Variance of the fitted values."""
        phi = torch.cat(self.features(z), dim=1)
        return ((phi @ self.posterior) * phi).sum(1) / self.noise * self.covariance.trace()


def _gaussian(
    blocks: Sequence[Tensor], y: Tensor, rounds: int = 50
) -> tuple[Tensor, Tensor, float, float, float]:
    """Weights, their covariance for the noise, the noise, degrees of freedom, log evidence (MacKay 1992)."""
    phi = torch.cat(list(blocks), dim=1)
    kind = torch.repeat_interleave(torch.arange(len(blocks)), torch.tensor([b.shape[1] for b in blocks]))
    gram, moment, total = phi.mT @ phi, phi.mT @ y, float(y.square().sum())
    n, outputs = y.shape
    prior = torch.full((len(blocks),), total / y.numel(), dtype=torch.float64)
    noise = 0.1 * total / y.numel()
    factor, posterior, weights = _posterior(gram, moment, prior[kind], noise)
    for _ in range(rounds):
        determined = 1 - posterior.diagonal() / prior[kind]
        for i in range(len(blocks)):
            mine = kind == i
            prior[i] = (
                weights[mine].square().sum() / outputs + posterior.diagonal()[mine].sum()
            ) / mine.sum()
        prior = prior.clamp(min=1e-12)
        rest = total - 2 * float((weights * moment).sum()) + float((weights * (gram @ weights)).sum())
        noise = max((rest / outputs + noise * float(determined.sum())) / n, LEAST_NOISE * total / y.numel())
        factor, posterior, weights = _posterior(gram, moment, prior[kind], noise)
    determined = 1 - posterior.diagonal() / prior[kind]
    rest = total - 2 * float((weights * moment).sum()) + float((weights * (gram @ weights)).sum())
    log_determinant = 2 * float(factor.diagonal().log().sum()) + float(prior[kind].log().sum())
    evidence = -0.5 * outputs * (log_determinant + n * math.log(noise))
    evidence -= 0.5 * (rest / noise + float((weights.square() / prior[kind][:, None]).sum()))
    return weights, posterior, noise, float(determined.sum()), evidence


def _posterior(gram: Tensor, moment: Tensor, prior: Tensor, noise: float) -> tuple[Tensor, Tensor, Tensor]:
    """Cholesky factor of the precision, covariance and mean of the weights."""
    precision = gram / noise + torch.diag(1 / prior)
    ridge = 1e-9 * precision.diagonal().mean() * torch.eye(len(precision), dtype=torch.float64)
    factor = torch.linalg.cholesky(precision + ridge)
    posterior = torch.cholesky_inverse(factor)
    return factor, posterior, posterior @ moment / noise


def _evidence(blocks: Sequence[Tensor], y: Tensor) -> float:
    return _gaussian(blocks, y, rounds=20)[4]


@dataclass(frozen=True, kw_only=True)
class _Pieces:
    """One fit at the points: the defect of each generator, draws of its error, and the sizes it is compared with."""

    defects: Tensor  # (c, m, o)
    errors: Tensor  # (c, draws, m, o)
    undetermined: Tensor  # (c,)
    comparison: Tensor  # (c, m, o)
    turned: Tensor | None  # (c, m, o), L_out f

    @classmethod
    def of(
        cls,
        fitted: _Fit,
        z: Tensor,
        motions: Tensor,
        others: Tensor,
        matrices: Tensor | None,
        mean: Tensor,
        rng: torch.Generator,
    ) -> "_Pieces":
        features, weights = fitted.features, fitted.weights
        root = _root(fitted.sampling)
        mixing = _root(fitted.covariance / fitted.noise)
        random = (
            torch.randn(DRAWS, root.shape[1], mixing.shape[1], generator=rng, dtype=torch.float64) @ mixing.mT
        )
        loose = fitted.posterior - fitted.sampling
        covariance = fitted.covariance / fitted.noise
        phi = torch.cat(features(z), dim=1)
        value, value_error = phi @ weights + mean, torch.einsum("mq,sqo->smo", phi @ root, random)
        defects, errors, undetermined, comparison, turned = [], [], [], [], []
        for i, motion in enumerate(motions):
            psi = features.along(z, motion)
            defect, error = psi @ weights, torch.einsum("mq,sqo->smo", psi @ root, random)
            free = ((psi @ loose) * psi).sum(1).mean() * covariance.trace()
            if matrices is not None:
                matrix = matrices[i]
                defect, error = defect - value @ matrix.mT, error - value_error @ matrix.mT
                free = free + ((phi @ loose) * phi).sum(1).mean() * (matrix @ covariance @ matrix.mT).trace()
                turned.append(value @ matrix.mT)
            defects.append(defect)
            errors.append(error)
            undetermined.append(free)
            comparison.append(features.along(z, others[i]) @ weights)
        stacked = torch.stack
        return cls(defects=stacked(defects), errors=stacked(errors), undetermined=stacked(undetermined),
                   comparison=stacked(comparison), turned=stacked(turned) if turned else None)  # fmt: skip


def _root(matrix: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh((matrix + matrix.mT) / 2)
    return vectors * values.clamp(min=0).sqrt()


def _judge(
    pieces: Sequence[_Pieces], motions: Tensor, fits: Sequence[_Fit], margin: float, alpha: float
) -> EquivarianceTest:
    a, b = pieces
    count = len(a.defects)
    level = alpha / (count + (count > 1))
    unit = torch.eye(count, dtype=torch.float64)
    order = _order(a, b, motions)
    defects = tuple(_defect(a, b, motions, direction, level) for direction in unit)
    worst = _defect(a, b, motions, order[-1], level) if count > 1 else defects[0]
    if count > 1:  # no generator may be worse than the worst combination
        worst = max((worst, *defects), key=lambda d: (d.high, d.low))
        worst = Defect(value=worst.value, low=max(worst.low, *(d.low for d in defects)), high=worst.high)
    explained = sum(f.explained for f in fits) / len(fits)
    return EquivarianceTest(
        defects=defects, worst=worst, order=order, explained_variance=explained, margin=margin, alpha=alpha
    )


def _order(a: _Pieces, b: _Pieces, motions: Tensor) -> Tensor:
    """Combinations of generators by ascending defect per unit of motion."""
    product = torch.einsum("imo,jmo->ij", a.defects, b.defects) / a.defects.shape[1]
    size = torch.einsum("imr,jmr->ij", motions, motions) / motions.shape[1]
    values, vectors = torch.linalg.eigh(size)
    kept = values > LEAST_MOTION * values[-1]
    half = vectors[:, kept] / values[kept].sqrt()
    found = torch.linalg.eigh(half.mT @ (product + product.mT) @ half / 2)[1]
    combinations = (half @ found).mT
    return combinations / combinations.norm(dim=1, keepdim=True)


def _defect(a: _Pieces, b: _Pieces, motions: Tensor, direction: Tensor, level: float) -> Defect:
    if not torch.einsum("c,cmr->mr", direction, motions).abs().max() > LEAST_MOTION * motions.abs().max():
        return Defect(value=math.nan, low=0.0, high=math.inf)

    def along(values: Tensor) -> Tensor:
        return torch.einsum("c,c...->...", direction, values)

    first, second, wrong, also = along(a.defects), along(b.defects), along(a.errors), along(b.errors)
    size = (along(a.comparison) * along(b.comparison)).sum(1).mean()
    if a.turned is not None and b.turned is not None:
        size = size + (along(a.turned) * along(b.turned)).sum(1).mean()
    size = size.clamp(min=1e-12)
    square = (first * second).sum(1).mean()
    errors = (first * also + second * wrong + wrong * also).sum(2).mean(1)
    noise = (wrong.square().sum(2).mean() + also.square().sum(2).mean()) / 2
    misfit = ((first - second).square().sum(1).mean() / 2 - noise).clamp(min=0)
    undetermined = (direction.square() @ (a.undetermined + b.undetermined)) / 2
    low = square - errors.quantile(1 - level) - misfit
    high = square - errors.quantile(level) + undetermined + misfit / 2
    value, low, high = (
        float((part / size).clamp(min=0).sqrt()) for part in (square + undetermined, low, high)
    )
    return Defect(value=value, low=low, high=high)
