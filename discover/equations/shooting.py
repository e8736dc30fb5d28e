r"""Equations of motion fitted to whole trajectories by multiple shooting.

Regression on rates of change leaves a small error of the frequency, whose phase grows with time: after n periods, one
part in a thousand is 2 pi n / 1000 radians. Here

.. math::
    \min_{w, z_0} \sum_t | z(t; w, z_0) - z_t |^2, \quad C = \sum_a w_a D_a

is solved by multiple shooting (Bock 1981): trajectories are cut into short pieces with starting points of their own,
to which Levenberg-Marquardt fits, and the pieces are doubled in length until they are whole. (Fitted whole at once, a
phase that is wrong by more than half a period is not found.) The terms stay the same: D_a are the nonzero entries of
C, or the fields of an ``EquivariantLibrary``, so that an equivariant equation remains equivariant.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from discover.equations.equation import Equation
from discover.equations.library import EquivariantLibrary, PolynomialLibrary, monomials
from equivariant.arrays import ArrayLike, as_tensor

__all__ = ["Candidate", "RefinedEquation", "refine_equation", "refine_increasing_degree"]

COMPLEX_STEP = 1e-100  # so small that the derivative has no error of cancellation
DIVERGED = 10.0  # multiple of the spread of the data beyond which a trajectory is stopped
MAX_PIECES = 64  # of a trajectory
MAX_ITER = 40  # steps of each fit
CONSISTENT = 1e-3  # errors of an accurate integration below it are never called inconsistent
CONVERGED = 1e-5  # relative decrease of the sum of squares below which a fit ends
TINY = 1e-300
OUTSIDE = 1e-6  # relative part of an equation that may lie outside the fields within which it is refined


@dataclass(frozen=True, kw_only=True, eq=False)
class RefinedEquation:
    """An equation fitted to trajectories by ``refine_equation``, with the errors |z(t) - z_t| / |z_t - mean|.

    Args:
        equation: with the fitted coefficients.
        starts: fitted initial points (m, k) of the trajectories.
        error_before: along whole trajectories, of the equation that was given, from their first points.
        error_after: of the fitted equation and starts, with the fixed steps of the fit.
        error_integrated: the same by ``Equation.integrate``; infinite where that diverges.
        horizons: for each length of the pieces [time], the error after its fit.
        converged: whether whole trajectories were reached; otherwise the equation is that of the longest pieces.

    Example:
        >>> import torch
        >>> from discover import Equation, PolynomialLibrary, RefinedEquation
        >>> decay = Equation(PolynomialLibrary(dim=1, degree=1), torch.tensor([[0.0, -1.0]]))
        >>> print(RefinedEquation(
        ...     equation=decay, starts=torch.ones(1, 1), error_before=0.5, error_after=0.01, error_integrated=0.01,
        ...     horizons=((3.0, 0.01),), converged=True,
        ... ))
        error along trajectories 0.5 before, 0.01 after; over time 3
    """

    equation: Equation
    starts: Tensor
    error_before: float
    error_after: float
    error_integrated: float
    horizons: tuple[tuple[float, float], ...]
    converged: bool

    @property
    def is_consistent(self) -> bool:
        """Whether accurate integration agrees with the coarser steps of the fit; it does not for unstable equations."""
        return self.error_integrated <= max(2 * self.error_after, CONSISTENT)

    def __str__(self) -> str:
        length = f"{self.horizons[-1][0]:.4g}"
        end = f"over time {length}" if self.converged else f"pieces of time {length} could not be followed"
        unstable = (
            ""
            if self.is_consistent
            else f"; unstable: {self.error_integrated:.3g} when integrated accurately"
        )
        return f"error along trajectories {self.error_before:.3g} before, {self.error_after:.3g} after; {end}{unstable}"


def refine_equation(
    equation: Equation,
    z: ArrayLike,
    dt: float,
    *,
    fields: EquivariantLibrary | None = None,
    all_terms: bool = False,
    starts: Tensor | None = None,
    fit_starts: bool = True,
    first_horizon: float | None = None,
    max_points: int = 500,
    tolerance: float = 0.2,
) -> RefinedEquation:
    """Fit the nonzero coefficients of an equation, and the initial points, to trajectories.

    One step of the fit costs as much as (coefficients + k) m trajectories. Integration is by Runge-Kutta of order 4
    with one step between samples, so samples must be close: 60 in a period cost a phase of 1e-7 a step.

    Args:
        equation: such as regression on rates found it; its terms are kept, their coefficients change.
        z: trajectories (m, T, k) or one (T, k).
        dt: time between two samples.
        fields: restricts the equation to weighted sums of these, so that it stays equivariant.
        all_terms: fit the terms of the library, or the fields, that the equation does not use, too.
        starts: initial points (m, k) for the fit to whole trajectories; their first samples by default.
        fit_starts: whether initial points are fitted; otherwise they are the first samples, with their noise.
        first_horizon: length of the first pieces [time]; by default a 64th of the trajectories, at least 8 steps.
        max_points: number of samples of a trajectory that are compared.
        tolerance: the doubling ends at pieces whose error, relative to the spread of z, is above it.

    Returns:
        The fitted equation with its errors.

    Raises:
        ValueError: for wrong shapes, NaN, fewer than 9 samples, or an equation that is no sum of ``fields``.

    Example:
        >>> import torch
        >>> from discover import Equation, PolynomialLibrary, refine_equation
        >>> library = PolynomialLibrary(dim=2, degree=1, constant=False)
        >>> guess = Equation(library, torch.tensor([[0.0, 0.95], [-1.02, 0.0]]))
        >>> t = 0.1 * torch.arange(200, dtype=torch.float64)
        >>> print(refine_equation(guess, torch.stack([t.sin(), t.cos()], dim=1), dt=0.1).equation)
        z1' = z2
        z2' = -z1
    """
    z = as_tensor(z, "z")
    data = _trajectories(equation, z, dt)
    directions, weights = _directions(equation, fields, all_terms)
    whole = _Shooting(equation.library, directions, data, dt, max_points, fit_starts)
    initial_weights, begins, horizons = weights, data[:, 0], []
    guess = None if starts is None else starts.detach().double().cpu().numpy()
    for pieces in _pieces(data, dt, first_horizon):
        compared = max(8, max_points * len(data) // len(pieces))
        problem = _Shooting(equation.library, directions, pieces, dt, compared, fit_starts)
        begun = pieces[:, 0] if guess is None or len(pieces) != len(data) else guess
        found, begun = problem.fit(weights, begun)
        error = problem.error(found, begun)
        horizons.append(((pieces.shape[1] - 1) * dt, error))
        if not error <= tolerance:
            break
        weights, begins = found, begun[: len(data)]
    converged = horizons[-1][1] <= tolerance
    begins = begins if converged else data[:, 0]
    coefficients = torch.from_numpy(np.einsum("a,aip->ip", weights, directions)).to(equation.coefficients)
    refined = Equation(equation.library, coefficients, equation.variables, equation.time_unit)
    return RefinedEquation(
        equation=refined,
        starts=torch.from_numpy(begins).to(z),
        error_before=whole.error(initial_weights, data[:, 0]),
        error_after=whole.error(weights, begins),
        error_integrated=_error_integrated(refined, begins, data, dt),
        horizons=tuple(horizons),
        converged=converged,
    )


class _Shooting:
    """The least-squares problem of pieces of trajectories; weights and starts are its unknowns, in one flat array."""

    def __init__(
        self,
        library: PolynomialLibrary,
        directions: np.ndarray,
        data: np.ndarray,
        dt: float,
        max_points: int,
        fit_starts: bool,
    ):
        used = directions.any(axis=(0, 1))
        self.factors = library.factors.numpy()[used]
        self.directions = directions[:, :, used]
        self.data, self.dt, self.fit_starts = data, dt, fit_starts
        steps = data.shape[1] - 1
        # indices of the samples that are compared
        self.at = np.unique(np.linspace(0, steps, min(max_points, steps) + 1).round().astype(int))
        self.centre = data.mean(axis=(0, 1))
        self.size = np.sqrt(np.mean((data - self.centre) ** 2))

    def fit(self, weights: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The best-fitting weights (q,) and starts (m, k), found from given ones."""
        unknowns = np.concatenate([weights, starts.ravel()]) if self.fit_starts else weights
        return self._unpack(_levenberg_marquardt(lambda u: self.linearised(*self._unpack(u)), unknowns))

    def error(self, weights: np.ndarray, starts: np.ndarray) -> float:
        """|z(t) - z_t| / |z_t - mean|."""
        return float(np.sqrt(np.mean(self.residual(weights, starts) ** 2)))

    def residual(self, weights: np.ndarray, starts: np.ndarray) -> np.ndarray:
        """z(t) - z_t over the spread of the data, (t, m, k)."""
        points = self._integrate(weights[None], starts[:, None])[:, :, 0]
        return (points - self.data[:, self.at].swapaxes(0, 1)) / self.size

    def linearised(self, weights: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Residuals (t m k,) and their derivatives (t m k, unknowns), by a complex step in each weight and start."""
        (m, k), q = starts.shape, len(weights)
        shift = 1j * COMPLEX_STEP * np.eye(q + k)[: q + k * self.fit_starts]
        points = self._integrate(weights + shift[:, :q], starts[:, None] + shift[:, q:])
        residual = (np.real(points[:, :, 0]) - self.data[:, self.at].swapaxes(0, 1)) / self.size
        change = np.imag(points) / (COMPLEX_STEP * self.size)
        by_weight = change[:, :, :q].swapaxes(2, 3).reshape(-1, q)
        if not self.fit_starts:
            return residual.ravel(), by_weight
        by_start = np.zeros((m, len(self.at), k, m, k))
        i = np.arange(m)
        by_start[i, :, :, i] = change[:, :, q:].transpose(1, 0, 3, 2)
        by_start = by_start.swapaxes(0, 1).reshape(-1, m * k)
        return residual.ravel(), np.concatenate([by_weight, by_start], axis=1)

    def _unpack(self, unknowns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        weights, starts = np.split(unknowns, [len(self.directions)])
        return weights, starts.reshape(self.data[:, 0].shape) if self.fit_starts else self.data[:, 0]

    def _integrate(self, weights: np.ndarray, starts: np.ndarray) -> np.ndarray:
        """Points at the compared times: weights (b, q), starts (m, b, k) to (t, m, b, k); diverged ones are held."""
        coefficients = np.einsum("bq,qip->bpi", weights, self.directions)
        limit, h, compared = DIVERGED * self.size, self.dt, set(self.at.tolist())
        z = starts.swapaxes(0, 1).astype(coefficients.dtype)
        found = [z]
        with np.errstate(over="ignore", invalid="ignore"):
            for step in range(1, int(self.at[-1]) + 1):
                a = self._rate(z, coefficients)
                b = self._rate(z + h / 2 * a, coefficients)
                c = self._rate(z + h / 2 * b, coefficients)
                d = self._rate(z + h * c, coefficients)
                ahead = z + h / 6 * (a + 2 * b + 2 * c + d)
                inside = np.abs(ahead.real - self.centre).max(axis=-1, keepdims=True) <= limit
                z = np.where(inside, ahead, z)
                if step in compared:
                    found.append(z)
        return np.stack(found).swapaxes(1, 2)

    def _rate(self, z: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
        return monomials(z, self.factors) @ coefficients


def _error_integrated(equation: Equation, starts: np.ndarray, data: np.ndarray, dt: float) -> float:
    """|z(t) - z_t| / |z_t - mean| of trajectories (m, T, k) from starts (m, k)."""
    found = equation.integrate(
        torch.from_numpy(starts), dt * torch.arange(data.shape[1], dtype=torch.float64)
    )
    missed = found.numpy().swapaxes(0, 1) - data
    error = np.linalg.norm(missed) / np.linalg.norm(data - data.mean(axis=(0, 1)))
    return float(error) if np.isfinite(error) else float("inf")


def _levenberg_marquardt(
    linearised: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]], at: np.ndarray
) -> np.ndarray:
    """The unknowns with the least sum of squares; residuals and derivatives come from one integration."""
    (residual, slope), damping = linearised(at), 1e-3
    for _ in range(MAX_ITER):
        scale = np.sqrt(damping) * np.maximum(np.linalg.norm(slope, axis=0), TINY)
        system = np.concatenate([slope, np.diag(scale)])
        step = np.linalg.lstsq(system, np.concatenate([-residual, 0 * at]), rcond=None)[0]
        fresh, fresh_slope = linearised(at + step)
        gain = 1 - (fresh @ fresh) / max(residual @ residual, TINY)
        if gain > 0:
            at, residual, slope = at + step, fresh, fresh_slope
        damping *= 0.1 if gain > 0 else 10
        if 0 <= gain < CONVERGED:
            break
    return at


def _trajectories(equation: Equation, z: Tensor, dt: float) -> np.ndarray:
    if z.ndim not in (2, 3) or z.shape[-1] != equation.dim or not dt > 0:
        raise ValueError(
            f"expected z (m, T, {equation.dim}) or (T, {equation.dim}) and dt > 0, got {tuple(z.shape)} and {dt}"
        )
    data = (z if z.ndim == 3 else z[None]).detach().double().cpu()
    if not len(data) or data.shape[1] < 9:
        raise ValueError(f"a trajectory must have at least 9 samples, got {tuple(z.shape)}")
    if not data.isfinite().all():
        raise ValueError("z must be finite, got NaN or infinite ones; cut the trajectories before them")
    if not (data - data.mean((0, 1))).any():
        raise ValueError("the data do not move, so there is nothing to fit")
    return data.numpy()


def _directions(
    equation: Equation, fields: EquivariantLibrary | None, all_terms: bool
) -> tuple[np.ndarray, np.ndarray]:
    """D (q, k, p) and the weights (q,) of the equation C = sum_a w_a D_a."""
    coefficients = equation.coefficients.detach().double().cpu()
    if fields is None:
        places = (torch.ones_like(coefficients) if all_terms else coefficients).nonzero()
        directions = torch.zeros(len(places), *coefficients.shape, dtype=torch.float64)
        directions[torch.arange(len(places)), places[:, 0], places[:, 1]] = 1
        weights = coefficients[places[:, 0], places[:, 1]]
    else:
        directions, weights = _within(coefficients, fields, all_terms)
    if not len(weights):
        raise ValueError("an equation without terms, z' = 0, has nothing to refine")
    return directions.numpy(), weights.numpy()


def _within(coefficients: Tensor, fields: EquivariantLibrary, all_terms: bool) -> tuple[Tensor, Tensor]:
    """The coefficients (q, k, p) of the fields, and the weights (q,) of the equation in them."""
    if fields.basis.shape[1:] != coefficients.shape:
        raise ValueError(
            f"the fields must be of the equation's library, coefficients {tuple(coefficients.shape)}, got "
            f"{tuple(fields.basis.shape[1:])}"
        )
    every = torch.stack([fields.coefficients(w) for w in torch.eye(len(fields), dtype=torch.float64)])
    weights = torch.linalg.pinv(every.flatten(1).mT) @ coefficients.flatten()
    missed = (torch.einsum("a,aip->ip", weights, every) - coefficients).norm() / coefficients.norm()
    if not missed <= OUTSIDE:
        raise ValueError(
            f"the equation must be a sum of the fields, but {float(missed):.2g} of it lies outside"
        )
    if all_terms:
        return every, weights
    used = (weights.abs()[:, None, None] * every.abs()).amax((1, 2)) > 1e-9 * coefficients.abs().max()
    return every[used], weights[used]


def _pieces(data: np.ndarray, dt: float, first_horizon: float | None) -> Iterator[np.ndarray]:
    """Trajectories (m, T, k) cut into (m n, t, k), for n = ..., 4, 2, 1; pieces overlap where T - 1 is odd."""
    steps = data.shape[1] - 1
    shortest = max(8, steps / MAX_PIECES if first_horizon is None else first_horizon / dt)
    for halvings in range(max(0, int(np.log2(steps / shortest))), -1, -1):
        n = 2**halvings
        length = -(-steps // n)
        begin = np.linspace(0, steps - length, n).round().astype(int)
        cut = np.stack([data[:, i : i + length + 1] for i in begin])
        yield cut.reshape(-1, *cut.shape[2:])


Candidate = tuple[Equation, EquivariantLibrary | None]


def refine_increasing_degree(
    candidates: Sequence[Candidate], z: Tensor, dt: float
) -> list[RefinedEquation | None]:
    """Refine equations of increasing degree, each from the result of the degree below as well as from its own start.

    The result that began from the degree below is taken, unless the other has less than half of its error, or only
    one of the two is ``is_consistent``.

    Args:
        candidates: equations, each with the fields within which it stays or None, in libraries of which each contains
            the one before.
        z: trajectories (m, T, k) or one (T, k).
        dt: time between two samples.

    Returns:
        One result for each candidate; None for z' = 0 that nothing below improves.

    Raises:
        ValueError: as ``refine_equation`` does.
    """
    steps: list[RefinedEquation | None] = []
    below: RefinedEquation | None = None
    for equation, fields in candidates:
        alone = refine_equation(equation, z, dt, fields=fields) if equation.terms else None
        refined = _better(alone, _continued(below, equation, fields, z, dt))
        if refined is not None and refined.converged and refined.is_consistent:
            below = refined
        steps.append(refined)
    return steps


def _continued(
    below: RefinedEquation | None,
    equation: Equation,
    fields: EquivariantLibrary | None,
    z: Tensor,
    dt: float,
) -> RefinedEquation | None:
    """Refined from the result of the degree below, over whole trajectories at once: it follows them already."""
    if below is None:
        return None
    start, whole = below.equation.within(equation.library), dt * (z.shape[-2] - 1)
    return refine_equation(
        start,
        z,
        dt,
        fields=fields,
        all_terms=True,
        starts=below.starts,
        first_horizon=whole,
        tolerance=float("inf"),
    )


def _better(alone: RefinedEquation | None, continued: RefinedEquation | None) -> RefinedEquation | None:
    if alone is None or continued is None:
        return alone or continued
    if alone.is_consistent != continued.is_consistent:
        return alone if alone.is_consistent and alone.converged else continued
    return alone if alone.converged and alone.error_after < continued.error_after / 2 else continued
