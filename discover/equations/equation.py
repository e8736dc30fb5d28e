"""An equation of motion as a value: dz/dt = C Theta(z), printed as people write it, integrated, kept in a file."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from discover.equations.library import PolynomialLibrary
from equivariant.files import read_tensors

__all__ = ["FAR", "FORMAT", "METHODS", "Equation", "Rate", "euler", "runge_kutta"]

FAR = 1e6  # over the size of the starts: beyond it a trajectory counts as gone


class Rate:
    """C Theta(z) for z (..., k), as quickly as numpy can for few points."""

    def __init__(self, library: PolynomialLibrary, coefficients: np.ndarray):
        used = coefficients.any(axis=0)
        self.factors, self.coefficients = library.factors.numpy()[used], coefficients[:, used].T

    def __call__(self, z: np.ndarray) -> np.ndarray:
        padded = np.concatenate([z, np.ones((*z.shape[:-1], 1))], axis=-1)
        return padded[..., self.factors].prod(axis=-1) @ self.coefficients


def euler(rate: Rate, starts: np.ndarray, times: np.ndarray) -> np.ndarray:
    """One explicit step between each two times: starts (m, k), times (T,) to (T, m, k)."""
    points = [starts]
    with np.errstate(over="ignore", invalid="ignore"):
        for step in np.diff(times):
            points.append(points[-1] + step * rate(points[-1]))
    return np.stack(points)


def runge_kutta(rate: Rate, starts: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Adaptive, of order 8, all starts as one system: (m, k), (T,) to (T, m, k), NaN from where one has run off.

    When the farthest one is gone, the others go on from there without it.
    """
    answer = np.full((len(times), *starts.shape), np.nan)
    answer[0] = starts
    alive = np.flatnonzero(np.isfinite(starts).all(axis=1))
    here, now, done = starts[alive], times[0], 1
    while len(alive) and done < len(times):
        far = FAR * (1 + np.abs(starts[alive]).max())
        found, now, here = _until_one_is_gone(rate, here, now, times[done:], far)
        answer[done : done + len(found), alive] = found
        done += len(found)
        if done < len(times):
            stay = np.arange(len(alive)) != np.abs(here).max(axis=1).argmax()
            alive, here = alive[stay], here[stay]
    return answer


def _until_one_is_gone(
    rate: Rate, here: np.ndarray, now: float, times: np.ndarray, far: float
) -> tuple[np.ndarray, float, np.ndarray]:
    """Points (t, m, k) at as many of ``times`` as were reached, and when and where the last step ended."""
    from scipy.integrate import DOP853

    with np.errstate(over="ignore", invalid="ignore"):
        solver = DOP853(
            lambda _, flat: rate(flat.reshape(here.shape)).ravel(), now, here.ravel(), times[-1], rtol=1e-9, atol=1e-12
        )  # fmt: skip
        found: list[np.ndarray] = []
        while solver.status == "running" and np.abs(solver.y).max() <= far:
            solver.step()
            behind = (times - solver.t) * solver.direction <= 0
            fresh = np.flatnonzero(behind)[len(found) :]
            if len(fresh):
                found.extend(solver.dense_output()(times[fresh]).T.reshape(-1, *here.shape))
    points = np.stack(found) if found else np.empty((0, *here.shape))
    return points, float(solver.t), solver.y.reshape(here.shape)


FORMAT = "equation/1"
METHODS = {"rk": runge_kutta, "euler": euler}


@dataclass(frozen=True, eq=False, init=False)
class Equation:
    """dz/dt = C Theta(z) for z (..., k).

    Args:
        library: the monomials Theta, p of them.
        coefficients: C (k, p), in units of z over time and over the monomial. A copy is kept, detached.
        variables: k names; default z1, z2, ...
        time_unit: the unit of t, such as ``"s"``; empty where t has none.

    Raises ``ValueError`` when a shape, a dtype, a name or a number is wrong.
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
        values = {
            "library": library,
            "coefficients": coefficients.detach().clone(),
            "variables": names,
            "time_unit": time_unit,
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def dim(self) -> int:
        """k, number of variables."""
        return self.library.dim

    @property
    def terms(self) -> int:
        """How many coefficients are not zero."""
        return int(self.coefficients.count_nonzero())

    @property
    def is_linear(self) -> bool:
        """Whether z' = A z + b: no term above degree 1."""
        return not self.coefficients[:, self.library.degrees() > 1].any()

    def within(self, library: PolynomialLibrary) -> "Equation":
        """The same equation in a library that holds all of this one's monomials; its other terms are zero.

        Raises ``ValueError`` for a library that does not.
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
        """A (k, k) of z' = A z + ..., the terms of degree 1."""
        return self.coefficients[:, self.library.degrees() == 1]

    def eigenvalues(self) -> Tensor:
        """Complex eigenvalues (k,) of A of a linear equation, in 1 / time, by their imaginary parts.

        Raises ``ValueError`` for an equation that is not linear: look at ``jacobian(z)`` at a point instead.
        """
        if not self.is_linear:
            raise ValueError(
                f"eigenvalues belong to a linear equation, and this one has terms of degree {self._degree()}; "
                "take those of jacobian(z) at a point"
            )
        values = torch.linalg.eigvals(self.linear_part().double())
        return values[values.imag.argsort()]

    def frequencies(self) -> Tensor:
        """Angular frequencies of a linear equation, radians over time, ascending: each pair of eigenvalues once."""
        imaginary = self.eigenvalues().imag
        size = imaginary.abs().max().clamp(min=torch.finfo(imaginary.dtype).tiny)
        return imaginary[imaginary > 1e-12 * size].sort().values

    def integrate(self, z0: Tensor, times: Tensor | Sequence[float], method: str = "rk") -> Tensor:
        """Trajectories from z0 (..., k) at times[0] on: (T, ..., k), in the dtype of z0.

        Args:
            z0: where each begins. times: (T,), ascending or descending.
            method: ``"rk"``, an adaptive Runge-Kutta of order 8 (relative tolerance 1e-9), or ``"euler"``, one
                explicit step between each two times.

        A trajectory that runs off to infinity is NaN or infinite from there on; that is an answer, not an error.
        Raises ``ValueError`` for wrong shapes, times that do not go one way, or an unknown method.
        """
        steps = torch.as_tensor(times, dtype=torch.float64).cpu()
        self._check_start(z0, steps, method)
        start = z0.detach().double().cpu().reshape(-1, self.dim).numpy()
        rate = Rate(self.library, self.coefficients.double().cpu().numpy())
        moved = METHODS[method](rate, start, steps.numpy())
        return torch.from_numpy(moved).reshape(len(steps), *z0.shape).to(z0)

    def to(self, dtype: torch.dtype, device: torch.device | str) -> "Equation":
        """A copy in another dtype or on another device."""
        return Equation(self.library, self.coefficients.to(device, dtype), self.variables, self.time_unit)

    def text(self, digits: int = 3) -> str:
        """One line for each variable, such as ``z1' = 0.91 z2 - 0.1 z1^2``, numbers to so many digits."""
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
        """Write a safetensors file of format ``equation/1``; dtype is kept."""
        library = {
            "dim": self.dim,
            "degree": self.library.degree,
            "constant": self.library.constant,
        }
        metadata = {
            "format": FORMAT,
            "library": json.dumps(library),
            "variables": json.dumps(self.variables),
            "time_unit": self.time_unit,
        }
        save_file({"coefficients": self.coefficients.cpu().contiguous()}, Path(path), metadata)

    @classmethod
    def load(cls, path: str | Path) -> "Equation":
        """Read a file that ``save`` wrote.

        Raises ``FileNotFoundError`` for a missing file and ``ValueError`` for one that is no such file.
        """
        metadata, tensors = read_tensors(Path(path), FORMAT, "equation", "Equation.save(path)")
        try:
            library = PolynomialLibrary(**json.loads(metadata["library"]))
            return cls(
                library, tensors["coefficients"], json.loads(metadata["variables"]), metadata["time_unit"]
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} does not hold a valid equation: {error}") from None

    def _degree(self) -> int:
        used = self.coefficients.abs().sum(0).cpu() > 0
        return int(self.library.degrees()[used].max()) if used.any() else 0

    def _check_start(self, z0: Tensor, times: Tensor, method: str) -> None:
        if method not in METHODS:
            raise ValueError(f"unknown method {method!r}; choose from {list(METHODS)}")
        if z0.shape[-1:] != (self.dim,):
            raise ValueError(f"z0 must have shape (..., {self.dim}), got {tuple(z0.shape)}")
        if times.ndim != 1 or len(times) < 1:
            raise ValueError(f"times must have shape (T,), got {tuple(times.shape)}")
        steps = times.diff()
        if not times.isfinite().all() or not ((steps > 0).all() or (steps < 0).all()):
            raise ValueError("times must be finite and go one way, without repeats; sort them")


def _check(library: PolynomialLibrary, coefficients: Tensor, names: tuple[str, ...]) -> None:
    wanted = (library.dim, len(library))
    if tuple(coefficients.shape) != wanted or not coefficients.is_floating_point():
        raise ValueError(
            f"coefficients must be real and of shape (k, p) = {wanted}, got {coefficients.dtype} "
            f"{tuple(coefficients.shape)}"
        )
    if not coefficients.isfinite().all():
        raise ValueError("coefficients must be finite, got NaN or infinite ones")
    if len(names) != library.dim or len(set(names)) != library.dim:
        raise ValueError(f"variables must be {library.dim} different names, got {list(names)}")


def _sum(row: Sequence[float], names: Sequence[str], digits: int) -> str:
    """Signs between the terms, no coefficient 1 before a variable, 0 for nothing."""
    parts = [_term(c, name, digits) for c, name in zip(row, names, strict=True) if c != 0]
    if not parts:
        return "0"
    (negative, first), rest = parts[0], parts[1:]
    return ("-" if negative else "") + first + "".join(f" {'-' if n else '+'} {t}" for n, t in rest)


def _term(coefficient: float, name: str, digits: int) -> tuple[bool, str]:
    number = f"{abs(coefficient):.{digits}g}"
    if name == "1":
        return coefficient < 0, number
    return coefficient < 0, name if number == "1" else f"{number} {name}"
