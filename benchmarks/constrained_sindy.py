"""The gain of SINDy from a symmetry: the same noisy trajectories, with the constraint and without.

    python benchmarks/constrained_sindy.py --out results/constrained_sindy.json

Two equations of motion with a rotation symmetry: the normal form of an oscillation (lambda-omega, cubic, 2
variables) and the mean-field model of a wake (quadratic, 3 variables, rotation of the first two). Measured are
positions with Gaussian noise (a part of their standard deviation) on short trajectories that start anywhere or
only in a sector of 60 degrees. Every method sees the same smoothed positions and rates (pysindy's).

Methods: ``pysindy``, its own library and STLSQ, at the best of three thresholds *for the true coefficients* (so no
choice of ours holds it back); ``free``, our SINDy without a symmetry; ``symmetry``, with the exact generator;
``learned``, with a generator 3 % off, made an isometry first. Reported, medians over seeds: the relative error of
the coefficients, and the relative error of forecasts from eight other starts over 20 units of time (3 to 5
turns), a forecast that has diverged counting as 1 from there on. Seconds are processor seconds of one thread.
"""

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cyclopts
import numpy as np
import torch
from common import timed, write_result
from torch import Tensor

from discover.equations.equation import Equation, RightHandSide
from discover.equations.library import PolynomialLibrary
from discover.equations.sindy import SINDy, differentiate, from_pysindy, require_pysindy
from equivariant import LieAlgebra, catalogue

THRESHOLDS = (0.02, 0.05, 0.1)  # pysindy's, on raw coefficients; the smallest true ones are 0.1 and 0.4
STEP, SAMPLES, WINDOW = 0.05, 40, 15
HORIZON = torch.arange(0, 20.01, 0.05, dtype=torch.float64)
STARTS = 8


def _equation(degree: int, *rows: dict[str, float]) -> Equation:
    library = PolynomialLibrary(dim=len(rows), degree=degree)
    values = [[row.get(name, 0.0) for name in library.names()] for row in rows]
    return Equation(library, torch.tensor(values, dtype=torch.float64))


def oscillation() -> tuple[Equation, LieAlgebra]:
    """z' = (1 - r^2) z + (1.5 - 0.4 r^2) J z."""
    equation = _equation(
        3,
        {"z1": 1.0, "z2": -1.5, "z1^3": -1.0, "z1 z2^2": -1.0, "z1^2 z2": 0.4, "z2^3": 0.4},
        {"z1": 1.5, "z2": 1.0, "z1^2 z2": -1.0, "z2^3": -1.0, "z1^3": -0.4, "z1 z2^2": -0.4},
    )
    return equation, catalogue.rotation(2)


def wake() -> tuple[Equation, LieAlgebra]:
    """Mean-field model of a cylinder wake (Noack et al. 2003), with mu = 0.1, omega = 1, A = -0.1, lambda = 1."""
    equation = _equation(
        2,
        {"z1": 0.1, "z2": -1.0, "z1 z3": -0.1},
        {"z1": 1.0, "z2": 0.1, "z2 z3": -0.1},
        {"z3": -1.0, "z1^2": 1.0, "z2^2": 1.0},
    )
    return equation, catalogue.direct_sum(catalogue.rotation(2), LieAlgebra(torch.zeros(0, 1, 1)))


SYSTEMS: dict[str, Callable[[], tuple[Equation, LieAlgebra]]] = {"oscillation": oscillation, "wake": wake}


def starts(dim: int, count: int, sector: float, random: torch.Generator) -> Tensor:
    """(count, dim): radius 0.2 to 1.5 within a sector [degrees]; the third variable 0 to 1."""
    radius, angle, rest = torch.rand(3, count, dtype=torch.float64, generator=random)
    radius, angle = 0.2 + 1.3 * radius, torch.deg2rad(sector * angle)
    return torch.stack([radius * angle.cos(), radius * angle.sin(), rest], dim=1)[:, :dim]


def measured(
    true: Equation, trajectories: int, noise: float, sector: float, random: torch.Generator
) -> Tensor:
    """(m, T, k)."""
    z0 = starts(true.dim, trajectories, sector, random)
    clean = true.integrate(z0, STEP * torch.arange(SAMPLES)).transpose(0, 1)
    spread = clean.flatten(0, 1).std(0)
    return clean + noise * spread * torch.randn(clean.shape, dtype=torch.float64, generator=random)


def off(algebra: LieAlgebra, by: float, random: torch.Generator) -> LieAlgebra:
    """Generators with Gaussian errors on the entries of their block, relative to the largest entry."""
    block = algebra.basis.abs().sum(0).sum(0) > 0
    errors = by * torch.randn(algebra.basis.shape, dtype=torch.float64, generator=random)
    return LieAlgebra(algebra.basis + errors * block * block[:, None])


def by_pysindy(z: Tensor, rates: Tensor, true: Equation) -> Equation:
    """The package by itself, at the threshold that comes nearest to the truth."""
    package = require_pysindy()
    found = []
    for threshold in THRESHOLDS:
        library = package.PolynomialLibrary(degree=true.library.degree)
        model = package.SINDy(optimizer=package.STLSQ(threshold=threshold), feature_library=library)
        model.fit(z.numpy(), t=STEP, x_dot=rates.numpy(), feature_names=list(true.variables))
        found.append(from_pysindy(model))
    return min(found, key=lambda equation: coefficient_error(equation, true))


def coefficient_error(equation: Equation, true: Equation) -> float:
    """Relative, over the library of both."""
    return float((_aligned(equation, true) - true.coefficients).norm() / true.coefficients.norm())


def _aligned(equation: Equation, true: Equation) -> Tensor:
    """Coefficients in the order of the true equation's terms (``from_pysindy`` takes the lowest degree it can)."""
    ours = dict(zip(equation.library.names(), equation.coefficients.unbind(1), strict=True))
    nothing = torch.zeros(true.dim, dtype=torch.float64)
    return torch.stack([ours.get(name, nothing) for name in true.library.names()], dim=1)


def fixed_steps(equation: Equation, z0: Tensor) -> Tensor:
    """Classical Runge-Kutta of order 4 with fixed steps, since wrong equations may be stiff."""
    rate = RightHandSide(equation.library, equation.coefficients.double().numpy())
    points, step = [z0.numpy()], float(HORIZON[1] - HORIZON[0])
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in HORIZON[1:]:
            z = points[-1]
            a = rate(z)
            b = rate(z + step / 2 * a)
            c = rate(z + step / 2 * b)
            points.append(z + step / 6 * (a + 2 * b + 2 * c + rate(z + step * c)))
    return torch.from_numpy(np.stack(points))


def forecast_error(equation: Equation, z0: Tensor, truth: Tensor) -> float:
    """Median over starts of the mean over time of min(1, |z_hat - z| / rms |z|)."""
    path = fixed_steps(equation, z0)
    size = truth.square().sum(-1).mean(0).sqrt()
    missed = ((path - truth).norm(dim=-1) / size).nan_to_num(1.0, 1.0).clamp(max=1.0)
    return float(missed.mean(0).median())


def one(system: str, trajectories: int, noise: float, sector: float, seed: int) -> list[dict[str, Any]]:
    """All methods on the same data."""
    true, algebra = SYSTEMS[system]()
    random = torch.Generator().manual_seed(seed)
    points, speeds = differentiate(
        measured(true, trajectories, noise, sector, random), STEP, "smooth", WINDOW
    )
    z, rates = points.flatten(0, 1), speeds.flatten(0, 1)
    z0 = starts(true.dim, STARTS, 360.0, random)
    truth = fixed_steps(true, z0)
    degree, learned = true.library.degree, off(algebra, 0.03, random)
    methods: dict[str, Callable[[], Equation]] = {
        "pysindy": lambda: by_pysindy(z, rates, true),
        "free": lambda: SINDy(degree=degree).fit(z, rates=rates).equation_,
        "symmetry": lambda: SINDy(degree=degree, symmetry=algebra).fit(z, rates=rates).equation_,
        "learned": lambda: (
            SINDy(degree=degree, symmetry=learned, isometries=True).fit(z, rates=rates).equation_
        ),
    }
    about = {"system": system, "trajectories": trajectories, "noise": noise, "sector": sector, "seed": seed}
    rows = []
    for name, method in methods.items():
        equation, seconds = timed(method)
        rows.append(
            about
            | {
                "method": name,
                "coefficient_error": coefficient_error(equation, true),
                "forecast_error": forecast_error(equation, z0, truth),
                "terms": equation.terms,
                "true_terms": true.terms,
                "seconds": seconds,
            }
        )
    return rows


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Medians over seeds of each setting and method."""
    keys = ("system", "trajectories", "noise", "sector", "method")
    kinds = dict.fromkeys(tuple(row[key] for key in keys) for row in rows)
    lines = []
    for kind in kinds:
        group = [row for row in rows if tuple(row[key] for key in keys) == kind]
        values = {
            name: statistics.median(row[name] for row in group)
            for name in ("coefficient_error", "forecast_error", "terms", "seconds")
        }
        lines.append(dict(zip(keys, kind, strict=True)) | {"seeds": len(group)} | values)
    return lines


def main(out: Path, *, seeds: int = 10, first_seed: int = 100) -> None:
    """Run the study.

    Args:
        out: result file (JSON).
        seeds: data sets of each setting.
        first_seed: seeds count up from here; the settings were chosen on seeds below 100.
    """
    torch.set_num_threads(1)
    settings = [
        (system, trajectories, noise, sector)
        for system in SYSTEMS
        for sector in (360.0, 60.0)
        for trajectories in (1, 4, 20)
        for noise in (0.01, 0.05)
    ]
    seed_range = range(first_seed, first_seed + seeds)
    rows, seconds = timed(
        lambda: [row for setting in settings for seed in seed_range for row in one(*setting, seed)]
    )
    lines = summary(rows)
    write_result(out, {"seconds": seconds, "summary": lines, "rows": rows})
    for line in lines:
        print({key: f"{value:.3g}" if isinstance(value, float) else value for key, value in line.items()})


if __name__ == "__main__":
    cyclopts.run(main)
