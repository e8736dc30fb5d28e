"""Right-hand sides that keep a symmetry: all C with C Theta(g z) = g C Theta(z), so L C - C M(L) = 0 for every L.

Linear in C, so no generator is inverted and so(3), whose generators are singular, is as good as any. The paper
names a symmetry of the equation as future work (LaLiGAN, arXiv 2310.00105); EquivSINDy (arXiv 2405.16756) has it.
"""

from dataclasses import dataclass

import torch
from scipy.linalg import qr
from torch import Tensor

from discover.equations.library import PolynomialLibrary
from equivariant.algebra import LieAlgebra
from equivariant.metric import invariant_metrics, nearest_isometries
from equivariant.nullspace import RTOL, NullSpace, intertwiners

__all__ = ["EquivariantLibrary", "to_isometries"]


@dataclass(frozen=True, kw_only=True, eq=False)
class EquivariantLibrary:
    """Vector fields Q_a Theta(z - origin) that commute with a group, and the evidence for their number.

    ``library``: the monomials Theta; ``basis`` Q (q, k, p), sparse: each Q_a has an entry 1 where all others
    have 0; ``origin`` (k,); ``null_space``: of the solver, with its singular values, residual and gap.
    """

    library: PolynomialLibrary
    basis: Tensor
    origin: Tensor
    null_space: NullSpace

    @classmethod
    def of(
        cls, library: PolynomialLibrary, algebra: LieAlgebra, *, rtol: float = RTOL, count: int | None = None
    ) -> "EquivariantLibrary":
        """Solve the constraints of an algebra about its origin, in float64.

        Args:
            library: monomials. algebra: of the symmetry, exact or learned.
            rtol, count: noise of the generators and number of solutions, as for ``null_space``.

        Raises ``ValueError`` for an algebra of another dimension, or of no generators, or about a centre that the
        library cannot move to because it has no constant.
        """
        if algebra.dim != library.dim or not algebra.n_generators:
            raise ValueError(
                f"wanted a symmetry of {library.dim} variables with at least one generator, got "
                f"{algebra.n_generators} of {algebra.dim}"
            )
        origin = algebra.origin.double().cpu()
        if origin.any() and not library.constant:
            raise ValueError(
                "a symmetry about a centre other than 0 needs constant=True, or data about their centre"
            )
        generators = algebra.basis.double().cpu()
        found = intertwiners(generators, library.action(generators), rtol=rtol, count=count)
        basis = _sparse(found.basis).reshape(-1, library.dim, len(library))
        return cls(library=library, basis=basis, origin=origin, null_space=found)

    def __len__(self) -> int:
        return len(self.basis)

    def __call__(self, z: Tensor) -> Tensor:
        """Q_a Theta(z - origin) at points (..., k): (..., k, q)."""
        return torch.einsum("aip,...p->...ia", self.basis.to(z), self.library(z - self.origin.to(z)))

    def coefficients(self, weights: Tensor) -> Tensor:
        """C (k, p) on Theta(z) of the field sum_a weights_a Q_a Theta(z - origin)."""
        about = torch.einsum("a,aip->ip", weights.to(self.basis), self.basis)
        return about @ self.library.shift(-self.origin) if self.origin.any() else about


def to_isometries(algebra: LieAlgebra) -> LieAlgebra:
    """The nearest generators that keep an invariant form exactly, of all such forms the one nearest to 1.

    A learned L keeps no cubic field exactly; its nearest isometry does. Raises ``ValueError`` where the algebra
    keeps no form, such as a scaling.
    """
    forms = invariant_metrics(algebra).metrics
    nearest = torch.einsum("a,aij->ij", forms.diagonal(dim1=1, dim2=2).sum(1), forms)
    return nearest_isometries(algebra, nearest if nearest.any() else forms[0])


def _sparse(rows: Tensor) -> Tensor:
    """Another basis of the same span: 1 at one entry of each row, 0 there in all others."""
    if not len(rows):
        return rows
    order = qr(rows.numpy(), mode="r", pivoting=True)[-1]
    pivots = torch.as_tensor(order[: len(rows)]).long().sort().values
    reduced = torch.linalg.solve(rows[:, pivots], rows)
    return torch.where(reduced.abs() > 1e-9, reduced, 0.0)
