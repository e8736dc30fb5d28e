"""Which algebra of the catalogue is this? The nearest one by principal angles, as far as the data can tell."""

from dataclasses import dataclass

import torch
from torch import Tensor

from equivariant import catalogue
from equivariant.algebra import LieAlgebra
from equivariant.compare import principal_angles, span

__all__ = ["Match", "candidates", "identify"]


@dataclass(frozen=True, kw_only=True)
class Match:
    """A catalogue algebra and the largest principal angle [rad] between it and the one asked about."""

    algebra: LieAlgebra
    angle: float

    @property
    def name(self) -> str:
        """The catalogue's name, such as ``"4*so(2)"``."""
        return str(self.algebra.provenance["name"])


def identify(algebra: LieAlgebra, data: Tensor | None = None, tolerance: float = 0.1) -> Match | None:
    """The nearest catalogue algebra with as many generators, or ``None`` when none lies within ``tolerance`` [rad].

    With data (..., k) a generator is what it does to their span.
    """
    found = span(algebra, data)
    if not len(found):
        return None
    angles = []
    for candidate in candidates(algebra.dim):
        if len(span(candidate, data)) == len(found):
            angles.append((float(principal_angles(algebra, candidate, data).max()), candidate))
    angle, nearest = min(angles, key=lambda pair: pair[0], default=(torch.inf, None))
    return Match(algebra=nearest, angle=angle) if nearest is not None and angle <= tolerance else None


def candidates(k: int) -> list[LieAlgebra]:
    """The catalogue's algebras on vectors of size k: the smaller ones first, so they win a tie."""
    names = [f"scaling({k})", f"so({k})", f"sl({k})", f"gl({k})"]
    names += [f"{k // n}*so({n})" for n in range(2, k) if k % n == 0]
    names += [f"{k // n}*so(1,{n - 1})" for n in range(2, k + 1) if k % n == 0]
    names += [f"sp({k})"] if k % 2 == 0 else []
    names += [f"translation({k - 1})", f"se({k - 1})", f"aff({k - 1})"] if k > 1 else []
    found = [catalogue.by_name(name.removeprefix("1*")) for name in names]
    found += [catalogue.union(algebra, catalogue.scaling(k)) for algebra in found if _scalable(algebra, k)]
    return sorted((algebra for algebra in found if algebra.n_generators), key=lambda a: a.n_generators)


def _scalable(algebra: LieAlgebra, k: int) -> bool:
    """Rotations and Lorentz groups, which leave the scale open."""
    return "so(" in str(algebra.provenance["name"]) and k > 1
