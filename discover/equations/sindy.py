"""Sparse identification of equations of motion (SINDy), without a symmetry by pysindy, or with one by construction."""

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
from equivariant.arrays import ArrayLike, as_tensor
from equivariant.nullspace import RTOL, NullSpace

__all__ = ["DERIVATIVES", "SINDy", "differentiate", "from_pysindy", "require_pysindy"]

DERIVATIVES = ("smooth", "spline", "central")


def differentiate(z: Tensor, dt: float, method: str = "spline", window: int = 11) -> tuple[Tensor, Tensor]:
    """Points and their rates of change from sampled trajectories.

    Args:
        z: trajectories (m, T, k).
        dt: time between two samples.
        method: ``"spline"``, of the cubic spline through all points (clean data); ``"central"``, differences of second
            order; ``"smooth"``, pysindy's, of points smoothed by a Savitzky-Golay filter of order 3 (noisy data).
        window: points of that filter, odd.

    Returns:
        Points, smoothed where asked for, and rates, both (m, T, k) in float64.

    Raises:
        ValueError: for a wrong shape, NaN, too few samples, a dt that is not positive or an unknown method.
        ImportError: for ``"smooth"`` without pysindy.
    """
    fewest = window if method == "smooth" else 4
    if method not in DERIVATIVES:
        raise ValueError(f"unknown derivative {method!r}; choose from {list(DERIVATIVES)}")
    if z.ndim != 3 or z.shape[1] < fewest:
        raise ValueError(
            f"derivative {method!r} needs trajectories (m, T, k) of T >= {fewest} samples, got {tuple(z.shape)}"
        )
    if not dt > 0 or not z.isfinite().all():
        raise ValueError(
            f"expected finite samples and dt > 0, got dt={dt} and {int((~z.isfinite()).sum())} samples not finite"
        )
    points = z.detach().double().cpu()
    if method == "smooth":
        return _smooth(points, dt, window)
    if method == "central":
        rates = np.gradient(points.numpy(), dt, axis=1, edge_order=2)
    else:
        from scipy.interpolate import CubicSpline

        times = dt * np.arange(points.shape[1])
        rates = CubicSpline(times, points.numpy(), axis=1)(times, 1)
    return points, torch.from_numpy(np.ascontiguousarray(rates))


def require_pysindy() -> Any:
    """The package pysindy.

    Returns:
        The imported module.

    Raises:
        ImportError: with the command that installs it, where it is missing.
    """
    try:
        import pysindy as package
    except ImportError:
        raise ImportError("this needs pysindy: pip install 'liesmith[sindy]'") from None
    return package


def _smooth(points: Tensor, dt: float, window: int) -> tuple[Tensor, Tensor]:
    package = require_pysindy()
    settings = {"window_length": window, "polyorder": 3, "axis": 0}
    smoothed, rates = [], []
    for trajectory in points.numpy():
        method = package.SmoothedFiniteDifference(smoother_kws=settings)
        rates.append(method(trajectory, t=dt))
        smoothed.append(method.smoothed_x_)
    return torch.from_numpy(np.stack(smoothed)), torch.from_numpy(np.stack(rates))


@dataclass(kw_only=True)
class SINDy:
    """Equation of motion of z by sequentially thresholded least squares (Brunton, Proctor, Kutz, PNAS 2016).

    Without ``symmetry`` the columns of the library, each of unit norm, go to pysindy's ``STLSQ``. With it the
    equation is F(z) = sum_a theta_a Q_a Theta(z - origin), where Q is the basis of all equivariant vector fields
    (``EquivariantLibrary``), and the theta are found in the same way: F(g z) = g F(z) holds by construction. (Where
    the symmetry is the flow in time itself, z' = w L z is always one of these fields.)

    Args:
        degree: highest degree of the monomials.
        constant: whether the monomial 1 is among them.
        threshold: terms whose root mean square is below this fraction of that of the rate are removed; with a
            symmetry a term is a whole field Q_a Theta, and its size is over all coordinates.
        pooled: without a symmetry, compare terms with the root mean square of all rates together instead of each with
            that of its own; for coordinates of one unit, such as latent ones, where a slow one is mostly noise.
        alpha: ridge penalty, relative to the squared norm of a column; the final coefficients are without it.
        max_iter: largest number of iterations in which terms are removed.
        symmetry: an algebra on z, exact or learned, about its ``origin``.
        isometries: replace the generators by the nearest ones that leave their invariant form exactly invariant.
        rtol: noise of the generators, as for ``null_space``.
        count: number of equivariant fields, as for ``null_space``; found from ``rtol`` by default.
        derivative: where rates are not given, ``"spline"`` (clean data), ``"smooth"`` (noisy) or ``"central"``.
        window: points of the filter of ``"smooth"``.

    Attributes:
        equation_: the equation found.
        r2_: R^2 of each rate, (k,); NaN for one that does not vary.
        residual_: |z' - F(z)| / |z'|.
        condition_: condition number of the library on the data, columns of unit norm; above about 1e6 terms cannot be
            told apart, and which of them remain means little.
        fields_: the equivariant library, with a symmetry; else None.
        null_space_: the evidence for the number of its fields; else None.

    Raises:
        ValueError: from ``fit``, for settings out of range.

    Example:
        >>> import torch
        >>> from discover import SINDy
        >>> from equivariant import catalogue
        >>> z = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 1.0]])
        >>> rates = torch.stack([-2 * z[:, 1], 2 * z[:, 0]], dim=1)
        >>> print(SINDy(degree=1, symmetry=catalogue.rotation(2)).fit(z, rates=rates).equation_)
        z1' = -2 z2
        z2' = 2 z1
    """

    degree: int = 2
    constant: bool = True
    threshold: float = 0.05
    pooled: bool = False
    alpha: float = 1e-6
    max_iter: int = 20
    symmetry: LieAlgebra | None = None
    isometries: bool = False
    rtol: float = RTOL
    count: int | None = None
    derivative: str = "spline"
    window: int = 11

    def fit(
        self,
        z: ArrayLike,
        *,
        dt: float | None = None,
        rates: ArrayLike | None = None,
        variables: Sequence[str] | None = None,
        time_unit: str = "",
    ) -> "SINDy":
        """Find the equation.

        Args:
            z: trajectories (m, T, k) or one (T, k) with ``dt``; or points (..., k) in any order with ``rates``.
                A tensor, an array, nested lists or a pandas frame, whose columns name the variables.
            dt: time between two samples.
            rates: dz/dt, of the shape of z.
            variables: k names for the equation; those of the frame or z1, z2, ... by default.
            time_unit: unit of t.

        Returns:
            The estimator itself.

        Raises:
            ValueError: for wrong shapes, NaN, too few samples, data that do not move, or settings out of range.
            ImportError: where pysindy is needed and missing.
        """
        self._check()
        variables = getattr(z, "columns", None) if variables is None else variables
        points, speeds = self._read(z, dt, rates)
        library = PolynomialLibrary(dim=points.shape[-1], degree=self.degree, constant=self.constant)
        self.fields_: EquivariantLibrary | None = None
        self.null_space_: NullSpace | None = None
        unknowns = self._columns(library, points)
        if unknowns.shape[0] < unknowns.shape[1]:
            raise ValueError(
                f"{unknowns.shape[0]} equations cannot determine {unknowns.shape[1]} coefficients; give more samples, "
                "a lower degree, or a symmetry"
            )
        self.condition_ = _condition(unknowns)
        coefficients = self._coefficients(unknowns, speeds)
        self.equation_ = Equation(library, coefficients, variables, time_unit)
        self._evaluate(points, speeds)
        return self

    def _columns(self, library: PolynomialLibrary, points: Tensor) -> Tensor:
        """Columns of the regression: monomials (n, p), or fields with their coordinates below each other (n k, q)."""
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
        weights = _thresholded(columns, rates.flatten(), self.threshold, self.alpha, self.max_iter)
        coefficients = self.fields_.coefficients(weights)
        rounding = 1e-10 * coefficients.abs().max()  # where two fields cancel
        return torch.where(coefficients.abs() > rounding, coefficients, 0.0)

    def _by_pysindy(self, columns: Tensor, rates: Tensor) -> Tensor:
        package = require_pysindy()
        sizes, speeds = _sizes(columns), _sizes(rates)
        if self.pooled:
            speeds = speeds.square().mean().sqrt().expand_as(speeds)
        optimizer = package.STLSQ(threshold=self.threshold, alpha=self.alpha, max_iter=self.max_iter)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of rows without any term left: z' = 0 is a valid result
            optimizer.fit((columns / sizes).numpy(), (rates / speeds).numpy())
        return torch.from_numpy(optimizer.coef_.copy()) * speeds[:, None] / sizes

    def _evaluate(self, points: Tensor, rates: Tensor) -> None:
        missed = rates - self.equation_(points)
        varied = rates - rates.mean(0)
        total = varied.square().sum(0)
        total = torch.where(varied.norm(dim=0) > 1e-12 * rates.norm(), total, torch.nan)
        self.r2_ = 1 - missed.square().sum(0) / total
        self.residual_ = float(missed.norm() / rates.norm())

    def _read(self, z: ArrayLike, dt: float | None, rates: ArrayLike | None) -> tuple[Tensor, Tensor]:
        """Points and rates (n, k), float64, on the CPU."""
        if (dt is None) == (rates is None):
            raise ValueError("give either dt, the time between samples, or rates dz/dt")
        z = as_tensor(z, "z")
        if rates is None:
            if z.ndim not in (2, 3):
                raise ValueError(f"with dt, z must have shape (T, k) or (m, T, k), got {tuple(z.shape)}")
            points, speeds = differentiate(
                z if z.ndim == 3 else z[None], float(dt or 0), self.derivative, self.window
            )
        else:
            points, speeds = z.detach().double().cpu(), as_tensor(rates, "rates").detach().double().cpu()
        if points.shape != speeds.shape or points.ndim < 2:
            raise ValueError(
                f"z and rates must have the same shape (..., k), got {tuple(points.shape)}, {tuple(speeds.shape)}"
            )
        points, speeds = points.flatten(0, -2), speeds.flatten(0, -2)
        if not (points.isfinite().all() and speeds.isfinite().all()):
            raise ValueError("z and rates must be finite, got NaN or infinite ones; remove those samples")
        if not len(points) or speeds.norm() <= 1e-12 * points.norm() or not speeds.any():
            raise ValueError("the data do not move, so they show no equation of motion")
        return points, speeds

    def _check(self) -> None:
        if self.derivative not in DERIVATIVES:
            raise ValueError(f"unknown derivative {self.derivative!r}; choose from {list(DERIVATIVES)}")
        for name in ("threshold", "alpha"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 0 and below 1, got {getattr(self, name)}")
        if self.max_iter < 1:
            raise ValueError(f"max_iter must be at least 1, got {self.max_iter}")


def from_pysindy(model: Any, time_unit: str = "") -> Equation:
    """The equation of a fitted ``pysindy.SINDy`` with a polynomial library; terms are matched by name.

    Args:
        model: fitted.
        time_unit: unit of t.

    Returns:
        The equation, in the smallest ``PolynomialLibrary`` that holds all terms.

    Raises:
        ValueError: for terms that are not monomials of the variables.
    """
    variables, names = tuple(model.feature_names), list(model.get_feature_names())
    for degree in range(1, 13):
        library = PolynomialLibrary(dim=len(variables), degree=degree)
        ours = library.names(variables)
        if set(names) <= set(ours):
            break
    else:
        raise ValueError(f"expected monomials of {list(variables)} up to degree 12, got the terms {names}")
    found = torch.as_tensor(model.coefficients()).double()
    coefficients = torch.zeros(len(variables), len(ours), dtype=torch.float64)
    coefficients[:, [ours.index(name) for name in names]] = found
    return Equation(library, coefficients, variables, time_unit)


def _thresholded(columns: Tensor, target: Tensor, threshold: float, alpha: float, max_iter: int) -> Tensor:
    """Least squares, repeated without the small terms until none is small: weights (q,) for columns (n, q)."""
    sizes, size = _sizes(columns), target.norm()
    unit = columns / sizes
    gram, moment = unit.mT @ unit, unit.mT @ (target / size)
    kept = torch.ones(len(sizes), dtype=torch.bool)
    for _ in range(max_iter):
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
    """Norms of columns, 1 for those that are zero."""
    norms = columns.norm(dim=0)
    return torch.where(norms > 0, norms, 1.0)


def _condition(columns: Tensor) -> float:
    return float(torch.linalg.cond(columns / _sizes(columns)))
