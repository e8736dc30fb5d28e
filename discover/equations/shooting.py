r"""An equation refined on whole trajectories: coefficients and starts whose integrated z(t) is the measured one.

Rates fix an equation z' = C Theta(z) in the small, and an error of its frequency grows with time: after n turns an
error of one part in a thousand is 2 pi n / 1000 radians. Here

.. math::
    \min_{w, z_0} \sum_t | z(t; w, z_0) - z_t |^2, \quad C = \sum_a w_a D_a

is solved by multiple shooting (Bock 1981): the trajectories are cut into short pieces with starts of their own, which
Levenberg-Marquardt fits, and the pieces are doubled in length until they are whole. (Fitted whole at once, a phase
that is wrong by more than half a turn is not found.) Which terms there are stays as it was: D_a are the entries of C
that are not zero, or the fields of a symmetry, so that an equation that commutes with a group still does so.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from discover.equations.equation import Equation
from discover.equations.library import EquivariantLibrary, PolynomialLibrary

__all__ = ["Candidate", "RefinedEquation", "refine_equation", "refine_ladder"]

PERTURBATION = 1e-100  # of a complex step: the derivative has no error of cancellation
FAR = 10.0  # over the size of the data: beyond it a trajectory counts as gone
MOST_PIECES = 64  # of a trajectory
TRIALS = 40  # most steps of each fit
FAITHFUL = 1e-3  # of the spread of the data: so far a fit's steps may always lead it astray
SETTLED = 1e-5  # part of the sum of squares that a last step still gained
TINY = 1e-300
OUTSIDE = 1e-6  # what of an equation may lie outside the fields it is to be refined within


@dataclass(frozen=True, kw_only=True, eq=False)
class RefinedEquation:
    """An equation after the fit to trajectories, and the evidence.

    ``equation``; ``starts`` (m, k), where its trajectories begin; ``before``, ``after``: |z(t) - z_t| / |z_t - mean|
    along whole trajectories, of the equation as it came, from the first points, and of this one; ``integrated``: the
    latter by ``Equation.integrate``, infinite where it runs off; ``horizons``: each length of the pieces [time] with
    the error after its fit; ``converged``: whether the pieces became whole; else the equation is that of the longest.
    """

    equation: Equation
    starts: Tensor
    before: float
    after: float
    integrated: float
    horizons: tuple[tuple[float, float], ...]
    converged: bool

    @property
    def faithful(self) -> bool:
        """Whether exact trajectories go where the fit, whose steps are coarser, saw them go; unstable ones do not."""
        return self.integrated <= max(2 * self.after, FAITHFUL)

    def __str__(self) -> str:
        length = f"{self.horizons[-1][0]:.4g}"
        end = f"over time {length}" if self.converged else f"pieces of time {length} could not be followed"
        exact = "" if self.faithful else f"; unstable: integrated exactly {self.integrated:.3g}"
        return f"error along trajectories {self.before:.3g} before, {self.after:.3g} after; {end}{exact}"


def refine_equation(
    equation: Equation,
    z: Tensor,
    dt: float,
    *,
    fields: EquivariantLibrary | None = None,
    every_term: bool = False,
    starts: Tensor | None = None,
    fit_starts: bool = True,
    first: float | None = None,
    most: int = 500,
    tolerance: float = 0.2,
) -> RefinedEquation:
    """Fit the coefficients that an equation has, and where each trajectory starts, to trajectories.

    Args:
        equation: what regression on rates found; its terms are kept, their sizes change.
        z: trajectories (m, T, k) or one (T, k), ``dt`` apart.
        fields: only weighted sums of these, those that the equation uses already, so that their symmetry is kept.
        every_term: also the terms of the library, or the fields, that the equation does not use.
        starts: (m, k), about where the trajectories begin, for a fit to whole ones; their first points by default.
        fit_starts: otherwise each trajectory starts at its first point, noise and all.
        first: length of the first pieces [time]; by default a 64th of the trajectories, and at least 8 steps.
        most: points of a trajectory that are compared; integration goes over all steps (Runge-Kutta of order 4, one
            step between two samples, so samples must be close: a turn in 60 steps costs a phase of 1e-7 a step).
        tolerance: pieces that are fitted with an error above it, relative to the spread of z, end the doubling.

    The cost of a step of the fit is that of (coefficients + k) m trajectories. Raises ``ValueError`` for wrong shapes,
    NaN, fewer than 9 samples, or an equation outside of ``fields``.
    """
    data = _trajectories(equation, z, dt)
    directions, weights = _directions(equation, fields, every_term)
    whole = _Problem(equation.library, directions, data, dt, most, fit_starts)
    first_guess, begins, horizons = weights, data[:, 0], []
    guess = None if starts is None else starts.detach().double().cpu().numpy()
    for pieces in _pieces(data, dt, first):
        problem = _Problem(
            equation.library, directions, pieces, dt, max(8, most * len(data) // len(pieces)), fit_starts
        )
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
        before=whole.error(first_guess, data[:, 0]),
        after=whole.error(weights, begins),
        integrated=_error_integrated(refined, begins, data, dt),
        horizons=tuple(horizons),
        converged=converged,
    )


class _Problem:
    """Residuals of trajectories and their derivatives, for unknowns (weights, starts) in one flat array."""

    def __init__(
        self,
        library: PolynomialLibrary,
        directions: np.ndarray,
        data: np.ndarray,
        dt: float,
        most: int,
        fit_starts: bool,
    ):
        used = directions.any(axis=(0, 1))
        self.factors = library.factors.numpy()[used]
        self.directions = directions[:, :, used]
        self.data, self.dt, self.fit_starts = data, dt, fit_starts
        steps = data.shape[1] - 1
        self.at = np.unique(np.linspace(0, steps, min(most, steps) + 1).round().astype(int))  # times compared
        self.centre = data.mean(axis=(0, 1))
        self.size = np.sqrt(np.mean((data - self.centre) ** 2))

    def fit(self, weights: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The weights (q,) and starts (m, k) that follow the data best, from these on."""
        unknowns = np.concatenate([weights, starts.ravel()]) if self.fit_starts else weights
        return self._unpack(_descend(lambda u: self.linearised(*self._unpack(u)), unknowns))

    def error(self, weights: np.ndarray, starts: np.ndarray) -> float:
        """|z(t) - z_t| / |z_t - mean|."""
        return float(np.sqrt(np.mean(self.residual(weights, starts) ** 2)))

    def residual(self, weights: np.ndarray, starts: np.ndarray) -> np.ndarray:
        """(t, m, k), over the spread of the data."""
        moved = self._integrate(weights[None], starts[:, None])[:, :, 0]
        return (moved - self.data[:, self.at].swapaxes(0, 1)) / self.size

    def linearised(self, weights: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Residuals (t m k,) and their derivatives (t m k, unknowns), by a complex step in each weight and start."""
        (m, k), q = starts.shape, len(weights)
        nudge = 1j * PERTURBATION * np.eye(q + k)[: q + k * self.fit_starts]
        moved = self._integrate(weights + nudge[:, :q], starts[:, None] + nudge[:, q:])
        residual = (np.real(moved[:, :, 0]) - self.data[:, self.at].swapaxes(0, 1)) / self.size
        change = np.imag(moved) / (PERTURBATION * self.size)
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
        """Points at the times compared: weights (b, q), starts (m, b, k) to (t, m, b, k); gone ones stay behind."""
        coefficients = np.einsum("bq,qip->bpi", weights, self.directions)
        far, h, wanted = FAR * self.size, self.dt, set(self.at.tolist())
        z = starts.swapaxes(0, 1).astype(coefficients.dtype)
        found = [z]
        with np.errstate(over="ignore", invalid="ignore"):
            for step in range(1, int(self.at[-1]) + 1):
                a = self._rate(z, coefficients)
                b = self._rate(z + h / 2 * a, coefficients)
                c = self._rate(z + h / 2 * b, coefficients)
                d = self._rate(z + h * c, coefficients)
                moved = z + h / 6 * (a + 2 * b + 2 * c + d)
                near = np.abs(moved.real - self.centre).max(axis=-1, keepdims=True) <= far
                z = np.where(near, moved, z)
                if step in wanted:
                    found.append(z)
        return np.stack(found).swapaxes(1, 2)

    def _rate(self, z: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
        padded = np.concatenate([z, np.ones((*z.shape[:-1], 1))], axis=-1)
        first, *others = self.factors.T
        monomials = padded[..., first]
        for other in others:
            monomials = monomials * padded[..., other]
        return monomials @ coefficients


def _error_integrated(equation: Equation, starts: np.ndarray, data: np.ndarray, dt: float) -> float:
    """|z(t) - z_t| / |z_t - mean| of trajectories (m, T, k) from starts (m, k)."""
    told = equation.integrate(torch.from_numpy(starts), dt * torch.arange(data.shape[1], dtype=torch.float64))
    missed = told.numpy().swapaxes(0, 1) - data
    error = np.linalg.norm(missed) / np.linalg.norm(data - data.mean(axis=(0, 1)))
    return float(error) if np.isfinite(error) else float("inf")


def _descend(linearised: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]], at: np.ndarray) -> np.ndarray:
    """Least squares by Levenberg and Marquardt, with residuals and derivatives from one integration."""
    (residual, slope), damping = linearised(at), 1e-3
    for _ in range(TRIALS):
        scale = np.sqrt(damping) * np.maximum(np.linalg.norm(slope, axis=0), TINY)
        system = np.concatenate([slope, np.diag(scale)])
        step = np.linalg.lstsq(system, np.concatenate([-residual, 0 * at]), rcond=None)[0]
        fresh, fresh_slope = linearised(at + step)
        gain = 1 - (fresh @ fresh) / max(residual @ residual, TINY)
        if gain > 0:
            at, residual, slope = at + step, fresh, fresh_slope
        damping *= 0.1 if gain > 0 else 10
        if 0 <= gain < SETTLED:
            break
    return at


def _trajectories(equation: Equation, z: Tensor, dt: float) -> np.ndarray:
    if z.ndim not in (2, 3) or z.shape[-1] != equation.dim or not dt > 0:
        raise ValueError(
            f"wanted z (m, T, {equation.dim}) or (T, {equation.dim}) and dt > 0, got {tuple(z.shape)} and {dt}"
        )
    data = (z if z.ndim == 3 else z[None]).detach().double().cpu()
    if not len(data) or data.shape[1] < 9:
        raise ValueError(f"a trajectory must have at least 9 samples to be followed, got {tuple(z.shape)}")
    if not data.isfinite().all():
        raise ValueError("z must be finite, got NaN or infinite ones; cut the trajectories before them")
    if not (data - data.mean((0, 1))).any():
        raise ValueError("the data do not move, so there is nothing to follow")
    return data.numpy()


def _directions(
    equation: Equation, fields: EquivariantLibrary | None, every_term: bool
) -> tuple[np.ndarray, np.ndarray]:
    """D (q, k, p) and the weights (q,) with which the equation is their sum."""
    coefficients = equation.coefficients.detach().double().cpu()
    if fields is None:
        places = (torch.ones_like(coefficients) if every_term else coefficients).nonzero()
        directions = torch.zeros(len(places), *coefficients.shape, dtype=torch.float64)
        directions[torch.arange(len(places)), places[:, 0], places[:, 1]] = 1
        weights = coefficients[places[:, 0], places[:, 1]]
    else:
        directions, weights = _within(coefficients, fields, every_term)
    if not len(weights):
        raise ValueError("an equation without terms, z' = 0, has nothing to refine")
    return directions.numpy(), weights.numpy()


def _within(coefficients: Tensor, fields: EquivariantLibrary, every_term: bool) -> tuple[Tensor, Tensor]:
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
    if every_term:
        return every, weights
    used = (weights.abs()[:, None, None] * every.abs()).amax((1, 2)) > 1e-9 * coefficients.abs().max()
    return every[used], weights[used]


def _pieces(data: np.ndarray, dt: float, first: float | None) -> Iterator[np.ndarray]:
    """Trajectories (m, T, k) cut into (m n, t, k), for n = ..., 4, 2, 1; pieces overlap where T - 1 is odd."""
    steps = data.shape[1] - 1
    shortest = max(8, steps / MOST_PIECES if first is None else first / dt)
    for halvings in range(max(0, int(np.log2(steps / shortest))), -1, -1):
        n = 2**halvings
        length = -(-steps // n)
        begin = np.linspace(0, steps - length, n).round().astype(int)
        cut = np.stack([data[:, i : i + length + 1] for i in begin])
        yield cut.reshape(-1, *cut.shape[2:])


Candidate = tuple[Equation, EquivariantLibrary | None]


def refine_ladder(candidates: Sequence[Candidate], z: Tensor, dt: float) -> list[RefinedEquation | None]:
    """Each candidate refined on trajectories z (m, T, k) or (T, k), ``dt`` apart; None for z' = 0.

    Candidates are equations, with the fields within which they are to stay or None, in libraries of which each holds
    the one before. What began from the one below is taken, unless what began from regression leaves less than half
    of its error, or it alone is ``faithful``. Raises ``ValueError`` as ``refine_equation`` does.
    """
    steps: list[RefinedEquation | None] = []
    below: RefinedEquation | None = None
    for equation, fields in candidates:
        alone = refine_equation(equation, z, dt, fields=fields) if equation.terms else None
        refined = _better(alone, _raised(below, equation, fields, z, dt))
        if refined is not None and refined.converged and refined.faithful:
            below = refined
        steps.append(refined)
    return steps


def _raised(
    below: RefinedEquation | None,
    equation: Equation,
    fields: EquivariantLibrary | None,
    z: Tensor,
    dt: float,
) -> RefinedEquation | None:
    """From the refined equation below, over whole trajectories at once: it follows them already."""
    if below is None:
        return None
    known, whole = below.equation.within(equation.library), dt * (z.shape[-2] - 1)
    return refine_equation(
        known, z, dt, fields=fields, every_term=True, starts=below.starts, first=whole, tolerance=float("inf")
    )


def _better(alone: RefinedEquation | None, raised: RefinedEquation | None) -> RefinedEquation | None:
    if alone is None or raised is None:
        return alone or raised
    if alone.faithful != raised.faithful:
        return alone if alone.faithful and alone.converged else raised
    return alone if alone.converged and alone.after < raised.after / 2 else raised
