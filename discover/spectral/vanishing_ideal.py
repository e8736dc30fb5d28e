"""The vanishing ideal of data: polynomial equations they obey exactly, such as E^2 - px^2 - py^2 - pz^2 = 0."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress

import torch
from torch import Tensor

from discover.equations.library import PolynomialLibrary

__all__ = ["VanishingIdeal", "vanishing_ideal"]

PER_MONOMIAL = 10  # data for each monomial, so that no polynomial vanishes for want of data
SHOWN = 1e-3  # smaller coefficients, relative to the largest, are not written
MOST_ROWS = 50_000  # more data are thinned out evenly


@dataclass(frozen=True, kw_only=True, eq=False)
class VanishingIdeal:
    """Polynomials that vanish on data.

    Args:
        library: the monomials.
        coefficients: (e, p), orthonormal rows, one a polynomial.
    """

    library: PolynomialLibrary
    coefficients: Tensor

    def __len__(self) -> int:
        return len(self.coefficients)

    def gradients(self, points: Tensor) -> Tensor:
        """Derivatives (n, e, k) of every polynomial at points (n, k)."""
        return torch.einsum("ep,npk->nek", self.coefficients.to(points), self.library.jacobian(points))

    def pull_back(self, matrix: Tensor) -> "VanishingIdeal":
        """The same polynomials as functions of x, where z = matrix x: z (k,), x (d,)."""
        library = PolynomialLibrary(dim=matrix.shape[1], degree=self.library.degree)
        rng = torch.Generator().manual_seed(0)
        x = torch.randn(4 * len(library), matrix.shape[1], generator=rng, dtype=torch.float64)
        values = self.library(x @ matrix.double().mT) @ self.coefficients.mT
        coefficients = torch.linalg.lstsq(library(x), values).solution.mT
        return VanishingIdeal(library=library, coefficients=coefficients)

    def text(self, names: Sequence[str]) -> tuple[str, ...]:
        """Each equation as it is written, in names of the coordinates; units in brackets are left out."""
        monomials = self.library.names([name.split(" [")[0] for name in names])
        return tuple(_equation(row, monomials) for row in self.coefficients)


def vanishing_ideal(data: Tensor, *, degree: int = 2, exact: float = 1e-5) -> VanishingIdeal:
    """The polynomials up to a degree that vanish on data.

    Every datum counts alike, however large it is. Far too few data for the number of monomials leave nothing found.

    Args:
        data: (n, k), of about unit second moments.
        degree: largest degree.
        exact: largest value, relative to the size of the monomials, that counts as zero.

    Returns:
        The polynomials; none where the data fill their space.

    Example:
        >>> angle = torch.linspace(0, 6, 200, dtype=torch.float64)
        >>> vanishing_ideal(torch.stack([angle.cos(), angle.sin()], dim=1)).text(["x", "y"])
        ('1 - x^2 - y^2 = 0',)
    """
    data = data[:: -(-len(data) // MOST_ROWS)] if len(data) else data
    library = PolynomialLibrary(dim=data.shape[1], degree=degree)
    monomials = library(data.double().cpu())
    none = VanishingIdeal(library=library, coefficients=monomials.new_zeros(0, len(library)))
    if len(data) < PER_MONOMIAL * len(library) or not exact > 0:
        return none
    rows = monomials / monomials.norm(dim=1, keepdim=True)
    _, values, vectors = torch.linalg.svd(rows, full_matrices=False)
    zero = values <= exact * len(rows) ** 0.5
    return VanishingIdeal(library=library, coefficients=vectors[zero]) if zero.any() else none


def _equation(row: Tensor, monomials: Sequence[str]) -> str:
    shown = row.abs() > SHOWN * row.abs().max()
    scaled = row / row.abs().max() * row[shown][0].sign()  # the first term is positive
    terms = ""
    for coefficient, monomial in zip(scaled[shown].tolist(), compress(monomials, shown), strict=True):
        sign = " - " if coefficient < 0 else " + "
        size = f"{abs(coefficient):.3g}"
        terms += sign + (monomial if size == "1" else f"{size} {monomial}")
    return f"{terms.removeprefix(' + ')} = 0"
