"""Equations of rising degree refined on trajectories, each begun from the one below as well as from regression.

An equation that regression on rates proposes may leave the data before it has gone far, the more so the higher its
degree: what the data do not fix of it is then what makes it run away. The refined equation of the degree below stays
near the data for the whole time, and is a point of the larger family from which the fit can go on (continuation).
"""

from collections.abc import Sequence

from torch import Tensor

from discover.equations.equation import Equation
from discover.equations.equivariant_library import EquivariantLibrary
from discover.equations.shooting import RefinedEquation, refine_equation

__all__ = ["Candidate", "refine_ladder"]

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
