"""Metrics of a latent symmetry: of its generator, energy along orbits, known group elements, equations of motion."""

import math
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from discover.equations.equation import Equation
from discover.equations.forecast import EncoderDecoder
from discover.latent.frames import inner_product
from discover.latent.symmetry import LatentSymmetry
from equivariant import LieAlgebra

__all__ = [
    "LatentMap", "equation_measures", "equivariance_measures", "generator_measures", "isometry_measures",
    "mean_square_root", "orbit_measures", "reconstruction_error", "rotation_rate",
]  # fmt: skip

RANK = 0.02  # singular values below this fraction of the largest count as zero
CHUNK = 1024  # snapshots at a time
Measures = dict[str, float | None]


class LatentMap(EncoderDecoder, Protocol):
    """An encoder, a decoder and an algebra between them, such as ``discover.LatentSymmetry``."""

    algebra: LieAlgebra


def generator_measures(algebra: LieAlgebra) -> Measures:
    """How near a generator L (k, k) is to a rotation.

    Args:
        algebra: its first generator is measured.

    Returns:
        ``cosine_raw``: |(L - L^T) / 2| / |L|, which for k = 2 is |cos| with the rotation; ``cosine_inner``: the same
        for P^1/2 L P^-1/2, with the positive definite P that minimises |L^T P + P L|; ``frequency``: largest imaginary
        part of the eigenvalues; ``growth``: largest real part over it; ``rank``; ``smallest_singular``: smallest
        singular value over the largest.
    """
    generator = algebra.basis[0].double().cpu()
    values = torch.linalg.eigvals(generator)
    sizes = torch.linalg.svdvals(generator)
    frequency = float(values.imag.abs().max())
    return {
        "cosine_raw": _skew_part(generator),
        "cosine_inner": _skew_part(inner_product(algebra.basis).skewed[0]),
        "frequency": frequency,
        "growth": float(values.real.abs().max()) / frequency if frequency else math.inf,
        "rank": float((sizes > RANK * sizes[0]).sum()),
        "smallest_singular": float(sizes[-1] / sizes[0]),
    }


def isometry_measures(symmetry: LatentSymmetry) -> Measures:
    """The nearest generator with an exactly invariant inner product, which the constrained equations use.

    Args:
        symmetry: with one generator.

    Returns:
        ``isometry_cosine`` with the learned generator, in the frame of that inner product, and ``isometry_rank``; None
        where the learned one has no invariant inner product.
    """
    try:
        nearest = symmetry.adapted(exact=True).algebra.basis[0].double().cpu()
    except ValueError:
        return {"isometry_cosine": None, "isometry_rank": None}
    learned = symmetry.adapted().algebra.basis[0].double().cpu()
    sizes = torch.linalg.svdvals(nearest)
    return {
        "isometry_cosine": float((nearest * learned).sum() / (nearest.norm() * learned.norm())),
        "isometry_rank": float((sizes > RANK * sizes[0]).sum()),
    }


def rotation_rate(algebra: LieAlgebra, generator: int = 0) -> float:
    """Largest imaginary part of a generator's eigenvalues [rad]; 0 where it does not rotate."""
    return float(torch.linalg.eigvals(algebra.basis[generator].double().cpu()).imag.abs().max())


@torch.no_grad()
def reconstruction_error(symmetry: LatentMap, states: Tensor) -> float:
    """|psi(phi(x)) - x| / |x - mean x|.

    Args:
        symmetry: its encoder phi and decoder psi are used.
        states: snapshots x (m, T, *shape).

    Returns:
        The relative error.
    """
    flat = states.flatten(0, 1)
    lost = sum(
        float((symmetry.decode(symmetry.encode(x)) - x).double().square().sum()) for x in flat.split(CHUNK)
    )
    return math.sqrt(lost) / float((flat - flat.mean(0)).double().norm())


@torch.no_grad()
def orbit_measures(
    symmetry: LatentMap, states: Tensor, energy: Callable[[Tensor], Tensor], points: int = 64
) -> Measures:
    """Changes of the energy along the orbits psi(exp(t L) phi(x)) over one period.

    Args:
        symmetry: with one generator L.
        states: (m, T, 2); the first snapshots are the x.
        energy: H of states (..., 2).
        points: of an orbit.

    Returns:
        ``energy_drift``: root mean square over t and x of H - H(x); ``energy_floor``: the same for the reconstruction
        of x alone; ``energy_worst``: largest change; each over the standard deviation of H. None where L does not
        rotate.
    """
    starts = states[:, 0]
    rate = rotation_rate(symmetry.algebra)
    if rate < 1e-6:
        return {"energy_drift": None, "energy_floor": None, "energy_worst": None}
    z = symmetry.encode(starts.to(states.dtype))
    times = torch.linspace(0, 2 * math.pi / rate, points, dtype=symmetry.algebra.basis.dtype)
    w = torch.zeros(points, symmetry.algebra.n_generators, dtype=times.dtype)
    w[:, 0] = times
    g = symmetry.algebra.element(w).to(z)
    orbit = symmetry.decode(torch.einsum("tij,nj->tni", g, z)).double()
    change = energy(orbit) - energy(starts.double())
    spread = energy(starts.double()).std()
    return {
        "energy_drift": float(mean_square_root(change) / spread),
        "energy_floor": float(mean_square_root(change[0]) / spread),
        "energy_worst": float(change.abs().max() / spread),
    }


@torch.no_grad()
def equivariance_measures(symmetry: LatentMap, states: Tensor, coefficients: Tensor) -> Measures:
    """Errors under known group elements, x' = g x.

    Args:
        symmetry: of the elements.
        states: (m, T, *shape).
        coefficients: of the elements between the snapshots, (m, T-1, c).

    Returns:
        ``equivariance_error``: |g phi(x) - phi(x')| / |phi(x') - mean|; ``picture_error``: |psi(g phi(x)) - x'| / |x' -
        mean|, which includes the reconstruction error.
    """
    before, after = states[:, :-1].flatten(0, 1), states[:, 1:].flatten(0, 1)
    w = coefficients.flatten(0, 1).to(symmetry.algebra.basis)
    moved, expected, shown = [], [], []
    for x, y, c in zip(before.split(CHUNK), after.split(CHUNK), w.split(CHUNK), strict=True):
        z = symmetry.encode(x)
        moved.append(torch.einsum("nij,nj->ni", symmetry.algebra.element(c).to(z), z))
        expected.append(symmetry.encode(y))
        shown.append(symmetry.decode(moved[-1]))
    return {
        "equivariance_error": _relative(torch.cat(moved), torch.cat(expected)),
        "picture_error": _relative(torch.cat(shown), after),
    }


def equation_measures(equation: Equation) -> Measures:
    """Size and linear part of an equation of motion.

    Args:
        equation: to measure.

    Returns:
        ``terms``; ``largest_degree``; ``coefficient_mismatch``: 1 - |a / b| (with |a| <= |b|) of z1' = a z2,
        z2' = b z1, where a and b have opposite signs; ``equation_frequency`` [rad / time], of a linear equation;
        ``equation_rank``: of the linear part.
    """
    degrees = equation.library.degrees()
    used = equation.coefficients.abs().sum(0).cpu() > 0
    linear = equation.linear_part().double().cpu()
    sizes = torch.linalg.svdvals(linear)
    frequencies = equation.frequencies() if equation.is_linear and equation.terms else torch.empty(0)
    return {
        "terms": float(equation.terms),
        "largest_degree": float(degrees[used].max()) if used.any() else 0.0,
        "coefficient_mismatch": _mismatch(linear),
        "equation_frequency": float(frequencies[-1]) if len(frequencies) else None,
        "equation_rank": float((sizes > RANK * sizes[0]).sum()) if sizes[0] > 0 else 0.0,
    }


def mean_square_root(x: Tensor) -> Tensor:
    """Root of the mean square."""
    return x.square().mean().sqrt()


def _skew_part(matrix: Tensor) -> float:
    return float((matrix - matrix.mT).norm() / (2 * matrix.norm()).clamp(min=1e-300))


def _mismatch(linear: Tensor) -> float | None:
    if len(linear) != 2 or linear[0, 1] * linear[1, 0] >= 0:
        return None
    a, b = sorted((float(linear[0, 1].abs()), float(linear[1, 0].abs())))
    return 1 - a / b


def _relative(actual: Tensor, expected: Tensor) -> float:
    return float((actual - expected).double().norm() / (expected - expected.mean(0)).double().norm())
