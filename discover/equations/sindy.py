"""Sparse identification of z' = C Theta(z) from trajectories, by pysindy, or within the fields of a known symmetry."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from discover.equations.equation import Equation
from discover.equations.library import EquivariantLibrary, PolynomialLibrary, to_isometries
from equivariant.algebra import LieAlgebra
from equivariant.nullspace import RTOL, NullSpace

__all__ = ["METHODS", "SINDy", "differentiate", "from_pysindy", "pysindy"]

METHODS = ("smooth", "spline", "central")


def differentiate(z: Tensor, dt: float, how: str = "spline", window: int = 11) -> tuple[Tensor, Tensor]:
    """Trajectories (m, T, k) at steps of ``dt`` to points and rates (m, T, k), float64.

    Args:
        z: samples. dt: time between two of them.
        how: ``"spline"``, of the cubic spline through all points (clean data); ``"central"``, differences of second
            order; ``"smooth"``, pysindy's, on points that a Savitzky-Golay filter of order 3 has smoothed (noise).
        window: points of that filter, odd.

    Raises ``ValueError`` for a wrong shape, NaN, too few samples, a step not above 0 or an unknown name, and
    ``ImportError`` for ``"smooth"`` without pysindy.
    """
    fewest = window if how == "smooth" else 4
    if how not in METHODS:
        raise ValueError(f"unknown derivative {how!r}; choose from {list(METHODS)}")
    if z.ndim != 3 or z.shape[1] < fewest:
        raise ValueError(
            f"derivative {how!r} wants trajectories (m, T, k) of T >= {fewest} samples, got {tuple(z.shape)}"
        )
    if not dt > 0 or not z.isfinite().all():
        raise ValueError(f"wanted finite samples and dt > 0, got dt={dt} and {_bad(z)} samples not finite")
    points = z.detach().double().cpu()
    if how == "smooth":
        return _smooth(points, dt, window)
    rates = _spline(points, dt) if how == "spline" else np.gradient(points.numpy(), dt, axis=1, edge_order=2)
    return points, torch.from_numpy(np.ascontiguousarray(rates))


def pysindy() -> Any:
    """The package, or a sentence that says how to get it."""
    try:
        import pysindy as package
    except ImportError:
        raise ImportError("this needs pysindy: pip install 'liesmith[sindy]'") from None
    return package


def _bad(z: Tensor) -> int:
    return int((~z.isfinite()).sum())


def _spline(points: Tensor, dt: float) -> np.ndarray:
    from scipy.interpolate import CubicSpline

    times = dt * np.arange(points.shape[1])
    return CubicSpline(times, points.numpy(), axis=1)(times, 1)


def _smooth(points: Tensor, dt: float, window: int) -> tuple[Tensor, Tensor]:
    package = pysindy()
    settings = {"window_length": window, "polyorder": 3, "axis": 0}
    smoothed, rates = [], []
    for trajectory in points.numpy():
        method = package.SmoothedFiniteDifference(smoother_kws=settings)
        rates.append(method(trajectory, t=dt))
        smoothed.append(method.smoothed_x_)
    return torch.from_numpy(np.stack(smoothed)), torch.from_numpy(np.stack(rates))


@dataclass(kw_only=True)
class SINDy:
    """Equation of motion of z by sequentially thresholded least squares (Brunton, Proctor, Kutz 2016).

    Without ``symmetry`` the columns of the library, each of unit norm, go to pysindy's ``STLSQ``. With it the
    equation is sum_a theta_a Q_a Theta(z - origin), Q the sparse basis of all fields that commute with the group
    (``EquivariantLibrary``), and the theta are found in the same manner: h(g z) = g h(z) holds by construction.
    (Where the flow in time is the symmetry, z' = w L z itself is always one of these fields.)

    Args:
        degree, constant: of the library of monomials.
        threshold: terms whose root mean square is below this part of that of the rate are dropped; with a symmetry
            a term is a whole field Q_a Theta, and its size is over all coordinates.
        pooled: without a symmetry, measure terms against the root mean square of all rates together instead of each
            its own; for coordinates of one unit, such as latent ones, so that a slow one is no noise magnified.
        alpha: ridge, relative to the squared norm of a column; the answer on the kept terms is without it.
        rounds: at most so many rounds of dropping.
        symmetry: an algebra on z, exact or learned, its ``origin`` the centre.
        isometries: first replace the generators by the nearest ones that keep their invariant form exactly.
        rtol, count: noise of the generators and number of fields, as for ``null_space``.
        derivative: where rates are not given, ``"spline"`` (clean data), ``"smooth"`` (noisy) or ``"central"``.
        window: points of the filter of ``"smooth"``.

    After ``fit``: ``equation_``, ``r2_`` (k,) of each rate (NaN for one that does not vary), ``residual_``
    (|z' - F(z)| / |z'|), ``condition_`` of the library on the data, columns of unit norm (above 1e6 or so the terms
    cannot be told apart, and which of them are kept means little), and with a symmetry ``fields_``,
    ``null_space_`` (``None`` without).
    """

    degree: int = 2
    constant: bool = True
    threshold: float = 0.05
    pooled: bool = False
    alpha: float = 1e-6
    rounds: int = 20
    symmetry: LieAlgebra | None = None
    isometries: bool = False
    rtol: float = RTOL
    count: int | None = None
    derivative: str = "spline"
    window: int = 11

    def fit(
        self,
        z: Tensor,
        *,
        dt: float | None = None,
        rates: Tensor | None = None,
        variables: Sequence[str] | None = None,
        time_unit: str = "",
    ) -> "SINDy":
        """Find the equation.

        Args:
            z: trajectories (m, T, k) or one (T, k) with ``dt``, the time between samples; or points (..., k) with
                ``rates`` dz/dt of the same shape, and then any order will do.
            variables, time_unit: names for the equation.

        Raises ``ValueError`` for wrong shapes, NaN, too few samples, data that do not move, or settings out of
        range, and ``ImportError`` where pysindy is needed and absent.
        """
        self._check()
        points, speeds = self._read(z, dt, rates)
        library = PolynomialLibrary(dim=points.shape[-1], degree=self.degree, constant=self.constant)
        self.fields_: EquivariantLibrary | None = None
        self.null_space_: NullSpace | None = None
        unknowns = self._columns(library, points)
        if unknowns.shape[0] < unknowns.shape[1]:
            raise ValueError(
                f"{unknowns.shape[0]} equations cannot fix {unknowns.shape[1]} coefficients; give more samples, a "
                "lower degree, or a symmetry"
            )
        self.condition_ = _condition(unknowns)
        coefficients = self._coefficients(unknowns, speeds)
        self.equation_ = Equation(library, coefficients, variables, time_unit)
        self._judge(points, speeds)
        return self

    def _columns(self, library: PolynomialLibrary, points: Tensor) -> Tensor:
        """What is to be weighed: monomials (n, p), or fields, all their coordinates below each other (n k, q)."""
        if self.symmetry is None:
            return library(points)
        algebra = to_isometries(self.symmetry) if self.isometries else self.symmetry
        self.fields_ = EquivariantLibrary.of(library, algebra, rtol=self.rtol, count=self.count)
        self.null_space_ = self.fields_.null_space
        return self.fields_(points).flatten(0, 1)

    def _coefficients(self, columns: Tensor, rates: Tensor) -> Tensor:
        """C (k, p)."""
        if self.fields_ is None:
            return self._by_pysindy(columns, rates)
        weights = _thresholded(columns, rates.flatten(), self.threshold, self.alpha, self.rounds)
        coefficients = self.fields_.coefficients(weights)
        rounding = 1e-10 * coefficients.abs().max()  # two fields cancel up to this
        return torch.where(coefficients.abs() > rounding, coefficients, 0.0)

    def _by_pysindy(self, columns: Tensor, rates: Tensor) -> Tensor:
        package = pysindy()
        sizes, speeds = _sizes(columns), _sizes(rates)
        if self.pooled:
            speeds = speeds.square().mean().sqrt().expand_as(speeds)
        optimizer = package.STLSQ(threshold=self.threshold, alpha=self.alpha, max_iter=self.rounds)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that nothing is left of a row is an answer: z' = 0
            optimizer.fit((columns / sizes).numpy(), (rates / speeds).numpy())
        return torch.from_numpy(optimizer.coef_.copy()) * speeds[:, None] / sizes

    def _judge(self, points: Tensor, rates: Tensor) -> None:
        missed = rates - self.equation_(points)
        varied = rates - rates.mean(0)
        total = varied.square().sum(0)
        total = torch.where(varied.norm(dim=0) > 1e-12 * rates.norm(), total, torch.nan)
        self.r2_ = 1 - missed.square().sum(0) / total
        self.residual_ = float(missed.norm() / rates.norm())

    def _read(self, z: Tensor, dt: float | None, rates: Tensor | None) -> tuple[Tensor, Tensor]:
        """Points and rates (n, k), float64, on the CPU."""
        if (dt is None) == (rates is None):
            raise ValueError("give either dt, the time between samples, or rates dz/dt")
        if rates is None:
            if z.ndim not in (2, 3):
                raise ValueError(f"with dt, z must have shape (T, k) or (m, T, k), got {tuple(z.shape)}")
            points, speeds = differentiate(
                z if z.ndim == 3 else z[None], float(dt or 0), self.derivative, self.window
            )
        else:
            points, speeds = z.detach().double().cpu(), rates.detach().double().cpu()
        if points.shape != speeds.shape or points.ndim < 2:
            raise ValueError(
                f"z and rates must have one shape (..., k), got {tuple(points.shape)}, {tuple(speeds.shape)}"
            )
        points, speeds = points.flatten(0, -2), speeds.flatten(0, -2)
        if not (points.isfinite().all() and speeds.isfinite().all()):
            raise ValueError("z and rates must be finite, got NaN or infinite ones; leave those samples out")
        if not len(points) or speeds.norm() <= 1e-12 * points.norm() or not speeds.any():
            raise ValueError("the data do not move, so they show no equation of motion")
        return points, speeds

    def _check(self) -> None:
        if self.derivative not in METHODS:
            raise ValueError(f"unknown derivative {self.derivative!r}; choose from {list(METHODS)}")
        for name in ("threshold", "alpha"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 0 and below 1, got {getattr(self, name)}")
        if self.rounds < 1:
            raise ValueError(f"rounds must be at least 1, got {self.rounds}")


def from_pysindy(model: Any, time_unit: str = "") -> Equation:
    """The equation of a fitted ``pysindy.SINDy`` with a polynomial library; terms are matched by name.

    Raises ``ValueError`` for terms that are no monomials of the variables.
    """
    variables, names = tuple(model.feature_names), list(model.get_feature_names())
    for degree in range(1, 13):
        library = PolynomialLibrary(dim=len(variables), degree=degree)
        ours = library.names(variables)
        if set(names) <= set(ours):
            break
    else:
        raise ValueError(f"wanted monomials of {list(variables)} up to degree 12, got the terms {names}")
    found = torch.as_tensor(model.coefficients()).double()
    coefficients = torch.zeros(len(variables), len(ours), dtype=torch.float64)
    coefficients[:, [ours.index(name) for name in names]] = found
    return Equation(library, coefficients, variables, time_unit)


def _thresholded(columns: Tensor, target: Tensor, threshold: float, alpha: float, rounds: int) -> Tensor:
    """Least squares, the small terms dropped, until none is small: weights (q,) for columns (n, q)."""
    sizes, size = _sizes(columns), target.norm()
    unit = columns / sizes
    gram, moment = unit.mT @ unit, unit.mT @ (target / size)
    kept = torch.ones(len(sizes), dtype=torch.bool)
    for _ in range(rounds):
        ridge = alpha * torch.eye(int(kept.sum()), dtype=gram.dtype)
        weights = torch.zeros_like(sizes)
        weights[kept] = torch.linalg.pinv(gram[kept][:, kept] + ridge, hermitian=True) @ moment[kept]
        still = weights.abs() > threshold
        if not still.any() or (still == kept).all():
            break
        kept = still
    weights = torch.zeros_like(sizes)
    weights[kept] = torch.linalg.pinv(unit[:, kept]) @ (target / size)
    return weights * size / sizes


def _sizes(columns: Tensor) -> Tensor:
    """Norms of columns, 1 where there is nothing."""
    norms = columns.norm(dim=0)
    return torch.where(norms > 0, norms, 1.0)


def _condition(columns: Tensor) -> float:
    return float(torch.linalg.cond(columns / _sizes(columns)))
