"""Equations of motion known in closed form, and their trajectories."""

import torch
from torch import Tensor

from discover.equations.equation import Equation
from discover.equations.library import PolynomialLibrary


def equation(degree: int, *rows: dict[str, float], constant: bool = True) -> Equation:
    """From one {monomial: coefficient} for each variable."""
    library = PolynomialLibrary(dim=len(rows), degree=degree, constant=constant)
    names = library.names()
    coefficients = torch.zeros(len(rows), len(library), dtype=torch.float64)
    for i, row in enumerate(rows):
        for name, value in row.items():
            coefficients[i, names.index(name)] = value
    return Equation(library, coefficients)


def trajectories(motion: Equation, starts: list[list[float]], dt: float, steps: int) -> Tensor:
    """(m, T, k), T = steps."""
    times = dt * torch.arange(steps, dtype=torch.float64)
    return motion.integrate(torch.tensor(starts, dtype=torch.float64), times).transpose(0, 1)


def harmonic() -> Equation:
    return equation(2, {"z2": 0.91}, {"z1": -0.91})


def van_der_pol() -> Equation:
    return equation(3, {"z2": 1.0}, {"z1": -1.0, "z2": 1.5, "z1^2 z2": -1.5})


def lorenz() -> Equation:
    return equation(
        2,
        {"z1": -10.0, "z2": 10.0},
        {"z1": 28.0, "z2": -1.0, "z1 z3": -1.0},
        {"z1 z2": 1.0, "z3": -8 / 3},
    )


def turning() -> Equation:
    """z' = axis x z: a rigid rotation in three dimensions."""
    return equation(2, {"z2": -0.5, "z3": 0.3}, {"z1": 0.5, "z3": -0.7}, {"z1": -0.3, "z2": 0.7})


def normal_form() -> Equation:
    """lambda-omega: z' = (1 - r^2) z + (1.5 - 0.4 r^2) J z, which commutes with rotations."""
    return equation(
        3,
        {"z1": 1.0, "z2": -1.5, "z1^3": -1.0, "z1 z2^2": -1.0, "z1^2 z2": 0.4, "z2^3": 0.4},
        {"z1": 1.5, "z2": 1.0, "z1^2 z2": -1.0, "z2^3": -1.0, "z1^3": -0.4, "z1 z2^2": -0.4},
    )


def breathing() -> Equation:
    """z' = (1 - r^2) z in three dimensions, which commutes with so(3)."""
    cubes = [("z1^3", "z1 z2^2", "z1 z3^2"), ("z1^2 z2", "z2^3", "z2 z3^2"), ("z1^2 z3", "z2^2 z3", "z3^3")]
    return equation(3, *({f"z{i + 1}": 1.0} | dict.fromkeys(names, -1.0) for i, names in enumerate(cubes)))
