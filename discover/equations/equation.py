"""Equations of motion dz/dt = C Theta(z), linear in monomials Theta: printed, evaluated, integrated, saved."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from discover.equations.library import PolynomialLibrary, monomials
from equivariant.files import read_tensors, write_tensors

__all__ = ["INTEGRATORS", "Equation", "RightHandSide", "euler", "runge_kutta"]

FORMAT = "equation/1"
DIVERGED = 1e6  # a trajectory beyond this multiple of the size of the starts is given up


@dataclass(frozen=True, eq=False, init=False)
class Equation:
    """An equation of motion dz/dt = C Theta(z) for z (..., k).

    Args:
        library: the p monomials Theta.
        coefficients: C (k, p), in units of z over time and over the monomial; a detached copy is stored.
        variables: k names; z1, z2, ... by default.
        time_unit: unit of t, such as ``"s"``; empty where t has none.

    Raises:
        ValueError: if a shape, a dtype or a name is wrong, or a number is not finite.

    Example:
        >>> import torch
        >>> from discover import Equation, PolynomialLibrary
        >>> library = PolynomialLibrary(dim=2, degree=1, constant=False)
        >>> oscillator = Equation(library, torch.tensor([[0.0, 2.0], [-2.0, 0.0]]), ("q", "p"), "s")
        >>> print(oscillator)
        q' = 2 p
        p' = -2 q
        >>> round(float(oscillator.frequencies()), 6)
        2.0
        >>> round(float(oscillator.integrate(torch.tensor([1.0, 0.0]), [0.0, torch.pi / 2])[-1, 0]), 3)
        -1.0
    """

    library: PolynomialLibrary
    coefficients: Tensor
    variables: tuple[str, ...]
    time_unit: str

    def __init__(
        self,
        library: PolynomialLibrary,
        coefficients: Tensor,
        variables: Sequence[str] | None = None,
        time_unit: str = "",
    ):
        names = library.variables() if variables is None else tuple(variables)
        _check(library, coefficients, names)
        self.__dict__.update(
            library=library, coefficients=coefficients.detach().clone(), variables=names, time_unit=time_unit
        )

    @property
    def dim(self) -> int:
        """Number of variables k."""
        return self.library.dim

    @property
    def terms(self) -> int:
        """Number of coefficients that are not zero."""
        return int(self.coefficients.count_nonzero())

    @property
    def is_linear(self) -> bool:
        """Whether z' = A z + b: no term above degree 1."""
        return not self.coefficients[:, self.library.degrees() > 1].any()

    def within(self, library: PolynomialLibrary) -> "Equation":
        """The same equation in a larger library; its coefficients on the additional monomials are zero.

        Args:
            library: holds all monomials of this equation's library.

        Returns:
            The equation with coefficients (k, p) of that library.

        Raises:
            ValueError: if a monomial is missing there.
        """
        here, there = self.library.names(), library.names()
        if library.dim != self.dim or not set(here) <= set(there):
            raise ValueError(f"the library must hold the monomials {list(here)}, got {list(there)}")
        coefficients = self.coefficients.new_zeros(self.dim, len(library))
        coefficients[:, [there.index(name) for name in here]] = self.coefficients
        return Equation(library, coefficients, self.variables, self.time_unit)

    def __call__(self, z: Tensor) -> Tensor:
        """dz/dt at points (..., k), in their dtype; differentiable."""
        return self.library(z) @ self.coefficients.to(z).mT

    def jacobian(self, z: Tensor) -> Tensor:
        """d(dz_i/dt) / dz_j at points (..., k): (..., k, k)."""
        return self.coefficients.to(z) @ self.library.jacobian(z)

    def linear_part(self) -> Tensor:
        """A (k, k) of z' = A z + ...: the coefficients of the terms of degree 1."""
        return self.coefficients[:, self.library.degrees() == 1]

    def eigenvalues(self) -> Tensor:
        """Eigenvalues of A of a linear equation z' = A z + b.

        Returns:
            Complex values (k,) in 1 / time, ascending in their imaginary parts.

        Raises:
            ValueError: if the equation is not linear; use the eigenvalues of ``jacobian(z)`` at a point instead.
        """
        if not self.is_linear:
            used = self.coefficients.cpu().any(dim=0)
            raise ValueError(
                "eigenvalues are defined for a linear equation, and this one has terms of degree "
                f"{int(self.library.degrees()[used].max())}; take those of jacobian(z) at a point"
            )
        values = torch.linalg.eigvals(self.linear_part().double())
        return values[values.imag.argsort()]

    def frequencies(self) -> Tensor:
        """Angular frequencies of a linear equation [rad / time], ascending; one for each conjugate pair."""
        imaginary = self.eigenvalues().imag
        size = imaginary.abs().max().clamp(min=torch.finfo(imaginary.dtype).tiny)
        return imaginary[imaginary > 1e-12 * size].sort().values

    def integrate(self, z0: Tensor, times: Tensor | Sequence[float], method: str = "rk") -> Tensor:
        """Trajectories from z0, which they pass at times[0].

        Args:
            z0: initial points (..., k).
            times: (T,), strictly ascending or descending.
            method: ``"rk"``, an adaptive Runge-Kutta method of order 8 (relative tolerance 1e-9), or ``"euler"``,
                one explicit step between consecutive times.

        Returns:
            Points (T, ..., k) in the dtype of z0; NaN or infinite from the time at which a trajectory diverges.

        Raises:
            ValueError: for wrong shapes, times that are not monotonic, or an unknown method.
        """
        steps = torch.as_tensor(times, dtype=torch.float64).cpu()
        self._check_start(z0, steps, method)
        start = z0.detach().double().cpu().reshape(-1, self.dim).numpy()
        rate = RightHandSide(self.library, self.coefficients.double().cpu().numpy())
        points = INTEGRATORS[method](rate, start, steps.numpy())
        return torch.from_numpy(points).reshape(len(steps), *z0.shape).to(z0)

    def to(self, dtype: torch.dtype, device: torch.device | str) -> "Equation":
        """A copy in another dtype and on another device."""
        return Equation(self.library, self.coefficients.to(device, dtype), self.variables, self.time_unit)

    def text(self, digits: int = 3) -> str:
        """One line for each variable, such as ``z1' = 0.91 z2 - 0.1 z1^2``, with so many significant digits."""
        names = self.library.names(self.variables)
        return "\n".join(
            f"{variable}' = {_sum(row, names, digits)}"
            for variable, row in zip(self.variables, self.coefficients.tolist(), strict=True)
        )

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        return f"Equation({self.text().replace(chr(10), '; ')})"

    def save(self, path: str | Path) -> None:
        """Write a safetensors file of format ``equation/1``; the dtype is kept.

        Args:
            path: of the file.
        """
        library = {"dim": self.dim, "degree": self.library.degree, "constant": self.library.constant}
        metadata = {
            "library": json.dumps(library),
            "variables": json.dumps(self.variables),
            "time_unit": self.time_unit,
        }
        write_tensors(path, FORMAT, {"coefficients": self.coefficients}, **metadata)

    @classmethod
    def load(cls, path: str | Path) -> "Equation":
        """Read a file written by ``save``.

        Args:
            path: of the file.

        Returns:
            The equation, in the dtype in which it was saved.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if the file does not hold a valid equation.
        """
        metadata, tensors = read_tensors(Path(path), FORMAT, "equation", "Equation.save(path)")
        try:
            library = PolynomialLibrary(**json.loads(metadata["library"]))
            return cls(
                library, tensors["coefficients"], json.loads(metadata["variables"]), metadata["time_unit"]
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} does not hold a valid equation: {error}") from None

    def _check_start(self, z0: Tensor, times: Tensor, method: str) -> None:
        if method not in INTEGRATORS:
            raise ValueError(f"unknown method {method!r}; choose from {list(INTEGRATORS)}")
        if z0.shape[-1:] != (self.dim,):
            raise ValueError(f"z0 must have shape (..., {self.dim}), got {tuple(z0.shape)}")
        if times.ndim != 1 or len(times) < 1:
            raise ValueError(f"times must have shape (T,), got {tuple(times.shape)}")
        steps = times.diff()
        if not times.isfinite().all() or not ((steps > 0).all() or (steps < 0).all()):
            raise ValueError("times must be finite and strictly ascending or descending; sort them")


def _check(library: PolynomialLibrary, coefficients: Tensor, names: tuple[str, ...]) -> None:
    expected = (library.dim, len(library))
    if tuple(coefficients.shape) != expected or not coefficients.is_floating_point():
        raise ValueError(
            f"coefficients must be real and of shape (k, p) = {expected}, got {coefficients.dtype} "
            f"{tuple(coefficients.shape)}"
        )
    if not coefficients.isfinite().all():
        raise ValueError("coefficients must be finite, got NaN or infinite ones")
    if len(names) != library.dim or len(set(names)) != library.dim:
        raise ValueError(f"variables must be {library.dim} different names, got {list(names)}")


def _sum(row: Sequence[float], names: Sequence[str], digits: int) -> str:
    """The terms with their signs between them; ``0`` if there are none."""
    parts = [_term(c, name, digits) for c, name in zip(row, names, strict=True) if c != 0]
    if not parts:
        return "0"
    (negative, first), rest = parts[0], parts[1:]
    return ("-" if negative else "") + first + "".join(f" {'-' if n else '+'} {t}" for n, t in rest)


def _term(coefficient: float, name: str, digits: int) -> tuple[bool, str]:
    """Whether it is negative, and its text without the sign; a coefficient 1 before a variable is left out."""
    number = f"{abs(coefficient):.{digits}g}"
    if name == "1":
        return coefficient < 0, number
    return coefficient < 0, name if number == "1" else f"{number} {name}"


class RightHandSide:
    """C Theta(z) for NumPy arrays z (..., k), without the terms that are zero; quicker than torch for few points."""

    def __init__(self, library: PolynomialLibrary, coefficients: np.ndarray):
        used = coefficients.any(axis=0)
        self.factors, self.coefficients = library.factors.numpy()[used], coefficients[:, used].T

    def __call__(self, z: np.ndarray) -> np.ndarray:
        return monomials(z, self.factors) @ self.coefficients


def euler(rate: RightHandSide, starts: np.ndarray, times: np.ndarray) -> np.ndarray:
    """One explicit step between consecutive times: starts (m, k), times (T,) to (T, m, k)."""
    points = [starts]
    with np.errstate(over="ignore", invalid="ignore"):
        for step in np.diff(times):
            points.append(points[-1] + step * rate(points[-1]))
    return np.stack(points)


def runge_kutta(rate: RightHandSide, starts: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Adaptive, of order 8, all starts as one system: (m, k), (T,) to (T, m, k), NaN after a divergence.

    When one trajectory diverges, the others are continued without it.
    """
    answer = np.full((len(times), *starts.shape), np.nan)
    answer[0] = starts
    alive = np.flatnonzero(np.isfinite(starts).all(axis=1))
    here, now, done = starts[alive], times[0], 1
    while len(alive) and done < len(times):
        limit = DIVERGED * (1 + np.abs(starts[alive]).max())
        found, now, here = _until_one_diverges(rate, here, now, times[done:], limit)
        answer[done : done + len(found), alive] = found
        done += len(found)
        if done < len(times):
            stay = np.arange(len(alive)) != np.abs(here).max(axis=1).argmax()
            alive, here = alive[stay], here[stay]
    return answer


INTEGRATORS = {"rk": runge_kutta, "euler": euler}


def _until_one_diverges(
    rate: RightHandSide, here: np.ndarray, now: float, times: np.ndarray, limit: float
) -> tuple[np.ndarray, float, np.ndarray]:
    """Points (t, m, k) at as many of ``times`` as were reached, and time and points (m, k) of the last step."""
    from scipy.integrate import DOP853

    with np.errstate(over="ignore", invalid="ignore"):
        solver = DOP853(
            lambda _, flat: rate(flat.reshape(here.shape)).ravel(), now, here.ravel(), times[-1], rtol=1e-9, atol=1e-12
        )  # fmt: skip
        found: list[np.ndarray] = []
        while solver.status == "running" and np.abs(solver.y).max() <= limit:
            solver.step()
            passed = (times - solver.t) * solver.direction <= 0
            fresh = np.flatnonzero(passed)[len(found) :]
            if len(fresh):
                found.extend(solver.dense_output()(times[fresh]).T.reshape(-1, *here.shape))
    points = np.stack(found) if found else np.empty((0, *here.shape))
    return points, float(solver.t), solver.y.reshape(here.shape)
