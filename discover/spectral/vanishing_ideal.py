"""Polynomial equations that data obey exactly, such as E^2 - px^2 - py^2 - pz^2 = 0, and how people write them."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress

import torch
from torch import Tensor

from discover.equations.library import PolynomialLibrary

__all__ = ["Variety", "vanishing"]

PER_MONOMIAL = 10  # data for each monomial, so that no polynomial vanishes for want of data
SHOWN = 1e-3  # smaller coefficients, relative to the largest, are not written


@dataclass(frozen=True, kw_only=True, eq=False)
class Variety:
    """The set where polynomials vanish: ``coefficients`` (e, p) of the monomials of ``library``, orthonormal rows."""

    library: PolynomialLibrary
    coefficients: Tensor

    def __len__(self) -> int:
        return len(self.coefficients)

    def gradients(self, points: Tensor) -> Tensor:
        """Derivatives (n, e, k) of every polynomial at points (n, k)."""
        return torch.einsum("ep,npk->nek", self.coefficients.to(points), self.library.jacobian(points))

    def seen_from(self, matrix: Tensor) -> "Variety":
        """The same set for coordinates x with z = matrix x: z (k,), x (d,); polynomials of x."""
        library = PolynomialLibrary(dim=matrix.shape[1], degree=self.library.degree)
        random = torch.Generator().manual_seed(0)
        x = torch.randn(4 * len(library), matrix.shape[1], generator=random, dtype=torch.float64)
        values = self.library(x @ matrix.double().mT) @ self.coefficients.mT
        coefficients = torch.linalg.lstsq(library(x), values).solution.mT
        return Variety(library=library, coefficients=coefficients)

    def text(self, names: Sequence[str]) -> tuple[str, ...]:
        """Each equation as people write it, in names of the coordinates; units in brackets are left out."""
        monomials = self.library.names([name.split(" [")[0] for name in names])
        return tuple(_equation(row, monomials) for row in self.coefficients)


def vanishing(data: Tensor, *, degree: int = 2, exact: float = 1e-5) -> Variety:
    """The polynomials up to a degree that vanish on data (n, k), up to ``exact`` of the size of their monomials.

    Every datum weighs alike, however large it is; give data of about unit second moments. Far too few data for
    the number of monomials leave nothing found.
    """
    library = PolynomialLibrary(dim=data.shape[1], degree=degree)
    monomials = library(data.double().cpu())
    none = Variety(library=library, coefficients=monomials.new_zeros(0, len(library)))
    if len(data) < PER_MONOMIAL * len(library) or not exact > 0:
        return none
    rows = monomials / monomials.norm(dim=1, keepdim=True)
    _, values, vectors = torch.linalg.svd(rows, full_matrices=False)
    zero = values <= exact * len(rows) ** 0.5
    return Variety(library=library, coefficients=vectors[zero]) if zero.any() else none


def _equation(row: Tensor, monomials: Sequence[str]) -> str:
    shown = row.abs() > SHOWN * row.abs().max()
    scaled = row / row.abs().max() * row[shown][0].sign()  # the first term is positive
    terms = ""
    for coefficient, monomial in zip(scaled[shown].tolist(), compress(monomials, shown), strict=True):
        sign = " - " if coefficient < 0 else " + "
        size = f"{abs(coefficient):.3g}"
        terms += sign + (monomial if size == "1" else f"{size} {monomial}")
    return f"{terms.removeprefix(' + ')} = 0"
