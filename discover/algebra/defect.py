"""The equivariance defect of generators on held-out samples, without group elements: |L_out f - Df L x| per motion.

A smooth map f is fitted to one half of the samples (ridge regression on quadratic and random tanh features);
on the other half the defect of each generator, (Df . L x - L_out f), is compared with what a motion of the same
length in a random direction does to f.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import jvp

from discover.data.samples import Samples

__all__ = ["Defect", "EquivarianceDefect"]

FEATURES = 300
MOST_SAMPLES = 4000
RIDGES = (1e-10, 1e-8, 1e-6, 1e-4, 1e-2)
WIDTHS = (0.3, 1.0)
RESAMPLES = 200


@dataclass(frozen=True)
class Defect:
    """A defect with the bounds of its central 95 % bootstrap interval over held-out samples.

    Args:
        value: root mean square defect over that of random motions of the same length; 0 when equivariant.
        low: lower bound.
        high: upper bound.
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.2g} [{self.low:.2g}, {self.high:.2g}]"


class EquivarianceDefect:
    """The defect of any generators on the same held-out samples, with the same fitted map.

    Args:
        samples: joint samples with a target, vectors in the coordinates in which generators will be given.
        seed: of the split and of the random features.

    Example:
        >>> from equivariant import catalogue
        >>> x = torch.randn(2000, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        >>> defect = EquivarianceDefect(Samples.read(x, x.square().sum(1)))
        >>> defect(catalogue.rotation(2).basis).value < 0.01 < defect(catalogue.scaling(2).basis).value
        True
    """

    def __init__(self, samples: Samples, seed: int = 0):
        if samples.y is None:
            raise ValueError("an equivariance defect needs a target: give y")
        self._rng = torch.Generator().manual_seed(seed)
        order = torch.randperm(len(samples), generator=self._rng)
        half = min(len(samples) // 2, MOST_SAMPLES)
        train, self._test = samples[order[:half]], samples[order[half : 2 * half]]
        self._fit(train)

    def __call__(self, generators: Tensor) -> Defect:
        """The defect of generators (c, k, k), together.

        Args:
            generators: at least one.
        """
        x = self._test.x
        points = x.flat()
        fitted = self._map(points)
        wrong, motion = points.new_zeros(len(points)), points.new_zeros(len(points))
        rng = torch.Generator().manual_seed(0)
        for L in _orthonormal_on(generators, self._test.all_vectors()):
            step = torch.cat([(x.vectors @ L.mT).flatten(1), torch.zeros_like(x.scalars)], dim=1)
            change = _derivative(self._map, points, step)
            wanted = torch.zeros_like(change)
            vectors = self._test.y.vectors if self._test.y else x.vectors[:, :0]
            size = vectors[0].numel()
            wanted[:, :size] = (fitted[:, :size].reshape(vectors.shape) @ L.mT).flatten(1)
            other = torch.randn(step.shape, generator=rng, dtype=step.dtype) * (step != 0).any(0)
            other = other * step.norm(dim=1, keepdim=True) / other.norm(dim=1, keepdim=True).clamp(min=1e-300)
            wrong += (change - wanted).square().sum(1)
            motion += _derivative(self._map, points, other).square().sum(1) + wanted.square().sum(1)
        index = torch.randint(len(points), (RESAMPLES, len(points)), generator=rng)
        draws = (wrong[index].sum(1) / motion[index].sum(1).clamp(min=1e-300)).sqrt()
        low, high = draws.quantile(draws.new_tensor([0.025, 0.975])).tolist()
        return Defect(float((wrong.sum() / motion.sum().clamp(min=1e-300)).sqrt()), low, high)

    def _fit(self, train: Samples) -> None:
        points, target = train.x.flat(), _target(train)
        self._centre, self._scale = points.mean(0), points.std(0).clamp(min=1e-12)
        kept = len(points) // 5
        d = points.shape[1]
        best = float("inf")
        for width in WIDTHS:
            draw = torch.randn(d + 1, FEATURES, generator=self._rng, dtype=points.dtype)
            weights = draw * width / draw.new_tensor([d] * d + [1]).sqrt()[:, None]
            inside = self._features(points, weights)
            gram, moments = inside[kept:].mT @ inside[kept:], inside[kept:].mT @ target[kept:]
            size = gram.diagonal().mean()
            for ridge in RIDGES:
                damped = gram + ridge * size * torch.eye(len(gram), dtype=gram.dtype)
                solution = torch.linalg.solve(damped, moments)
                error = float((inside[:kept] @ solution - target[:kept]).square().mean())
                if error < best:
                    best, self._weights, self._solution = error, weights, solution

    def _map(self, points: Tensor) -> Tensor:
        return self._features(points, self._weights) @ self._solution

    def _features(self, points: Tensor, weights: Tensor) -> Tensor:
        z = (points - self._centre) / self._scale
        i, j = torch.triu_indices(z.shape[1], z.shape[1])
        return torch.cat(
            [torch.ones_like(z[:, :1]), z, z[:, i] * z[:, j], torch.tanh(z @ weights[:-1] + weights[-1])],
            dim=1,
        )


def _derivative(function: Callable[[Tensor], Tensor], points: Tensor, steps: Tensor) -> Tensor:
    """Df(x) v for points and steps (n, d)."""
    return jvp(function, (points,), (steps,))[1]


def _target(samples: Samples) -> Tensor:
    """Vectors, then scalars, then one column for each class."""
    y = samples.y
    if y is None:
        raise ValueError("an equivariance defect needs a target: give y")
    columns = y.flat()
    if y.labels is not None:
        columns = torch.nn.functional.one_hot(y.labels).to(columns)
    return columns


def _orthonormal_on(generators: Tensor, vectors: Tensor) -> Tensor:
    """Generators of the same span with E (L_a x) . (L_b x) = delta_ab, so the answer does not depend on the basis."""
    moment = torch.linalg.cholesky(
        vectors.mT @ vectors / len(vectors) + 1e-12 * torch.eye(vectors.shape[1]).double()
    )
    rows = (generators @ moment).flatten(1)
    u, values, _ = torch.linalg.svd(rows, full_matrices=False)
    keep = values > 1e-9 * values[0]
    return torch.einsum("ab,bij->aij", (u[:, keep] / values[keep]).mT, generators)
