"""Libraries of terms: monomials Theta(z) = (1, z1, z2, z1^2, ...), and the vector fields equivariant under a group."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations_with_replacement
from math import factorial

import numpy as np
import torch
from scipy.linalg import qr
from torch import Tensor

from equivariant.algebra import LieAlgebra
from equivariant.metric import invariant_metrics, nearest_isometries
from equivariant.nullspace import RTOL, NullSpace, intertwiners

__all__ = ["EquivariantLibrary", "PolynomialLibrary", "monomials", "to_isometries"]

Factors = tuple[int, ...]  # which variables are multiplied, ascending: z1 z1 z2 is (0, 0, 1)


@dataclass(frozen=True, kw_only=True)
class PolynomialLibrary:
    """All monomials of k variables up to a degree, in graded order: 1, z1, z2, z1^2, z1 z2, z2^2, ...

    A linear map of z mixes the monomials of each degree, so a group that acts on z acts on the library by a matrix.
    This makes equivariance a linear constraint on the coefficients of an equation of motion.

    Args:
        dim: number of variables k.
        degree: the highest degree.
        constant: whether the monomial 1 is among them.

    Raises:
        ValueError: for a dimension or a degree below 1.

    Example:
        >>> import torch
        >>> from discover import PolynomialLibrary
        >>> library = PolynomialLibrary(dim=2, degree=2)
        >>> library.names()
        ('1', 'z1', 'z2', 'z1^2', 'z1 z2', 'z2^2')
        >>> library(torch.tensor([2.0, 3.0]))
        tensor([1., 2., 3., 4., 6., 9.])
    """

    dim: int
    degree: int = 2
    constant: bool = True

    def __post_init__(self) -> None:
        for name in ("dim", "degree"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")

    def __len__(self) -> int:
        return len(self._monomials)

    def __call__(self, z: Tensor) -> Tensor:
        """Theta(z): points (..., k) to monomials (..., p); differentiable, any dtype and device."""
        return self._all_monomials(z)[..., self._skipped :]

    def names(self, variables: Sequence[str] | None = None) -> tuple[str, ...]:
        """The monomials as text.

        Args:
            variables: k names; z1, z2, ... by default.

        Returns:
            One name for each monomial, such as ``"z1^2 z2"``.

        Raises:
            ValueError: if there are not k names.
        """
        variables = self.variables() if variables is None else tuple(variables)
        if len(variables) != self.dim:
            raise ValueError(
                f"expected {self.dim} names of variables, got {len(variables)}: {list(variables)}"
            )
        return tuple(_name(factors, variables) for factors in self._monomials)

    def variables(self) -> tuple[str, ...]:
        """The default names z1, z2, ..."""
        return tuple(f"z{i + 1}" for i in range(self.dim))

    def degrees(self) -> Tensor:
        """Degree of each monomial, (p,) integers."""
        return torch.tensor([len(factors) for factors in self._monomials])

    @cached_property
    def factors(self) -> Tensor:
        """The variables whose product each monomial is, (p, degree) integers; k stands for the number 1."""
        rows = [factors + (self.dim,) * (self.degree - len(factors)) for factors in self._monomials]
        return torch.tensor(rows)

    def jacobian(self, z: Tensor) -> Tensor:
        """dTheta_a / dz_j at points (..., k): (..., p, k); differentiable."""
        return torch.einsum("jpq,...q->...pj", self._derivatives.to(z), self._all_monomials(z))

    def action(self, generators: Tensor) -> Tensor:
        """The action of generators on the library, M(L) with d/dt Theta(exp(tL) z) = M(L) Theta(z) at t = 0.

        Args:
            generators: L (..., k, k).

        Returns:
            M(L) (..., p, p), exact and linear in L.

        Raises:
            ValueError: for generators of another size.
        """
        if generators.shape[-2:] != (self.dim, self.dim):
            raise ValueError(
                f"generators must have shape (..., {self.dim}, {self.dim}), got {tuple(generators.shape)}"
            )
        row, column, j, i, factor = self._generator_terms
        p = len(self)
        entries = generators[..., j, i] * factor.to(generators)
        flat = generators.new_zeros(*generators.shape[:-2], p * p)
        place = (row * p + column).to(generators.device)
        return flat.index_add(-1, place, entries).unflatten(-1, (p, p))

    def shift(self, offset: Tensor) -> Tensor:
        """The action of a translation, S with Theta(z + offset) = S Theta(z).

        Args:
            offset: (k,).

        Returns:
            S (p, p), exact: the exponential series of a nilpotent derivative ends.

        Raises:
            ValueError: for a library without its constant, which is not closed under translations.
        """
        if not self.constant or tuple(offset.shape) != (self.dim,):
            raise ValueError(
                f"a shift needs constant=True and an offset of shape ({self.dim},), got constant={self.constant} "
                f"and {tuple(offset.shape)}"
            )
        step = torch.einsum("j,jpq->pq", offset, self._derivatives.to(offset))
        power = torch.eye(len(self), dtype=offset.dtype, device=offset.device)
        total = power
        for n in range(1, self.degree + 1):
            power = power @ step
            total = total + power / factorial(n)
        return total

    @property
    def _skipped(self) -> int:
        return 0 if self.constant else 1

    @cached_property
    def _monomials(self) -> tuple[Factors, ...]:
        return self._with_constant[self._skipped :]

    @cached_property
    def _with_constant(self) -> tuple[Factors, ...]:
        degrees = range(self.degree + 1)
        return tuple(f for d in degrees for f in combinations_with_replacement(range(self.dim), d))

    @cached_property
    def _steps(self) -> tuple[tuple[Tensor, Tensor], ...]:
        """For each degree above 0: its monomials as one of the degree below (index within it) times a variable."""
        steps = []
        for degree in range(1, self.degree + 1):
            lower = list(combinations_with_replacement(range(self.dim), degree - 1))
            place = {factors: n for n, factors in enumerate(lower)}
            here = list(combinations_with_replacement(range(self.dim), degree))
            parents = torch.tensor([place[factors[:-1]] for factors in here])
            steps.append((parents, torch.tensor([factors[-1] for factors in here])))
        return tuple(steps)

    @cached_property
    def _derivatives(self) -> Tensor:
        """D (k, p, q) with dTheta/dz_j = D_j Theta; the q monomials include the constant always."""
        place = {factors: n for n, factors in enumerate(self._with_constant)}
        derivatives = torch.zeros(self.dim, len(self), len(place), dtype=torch.float64)
        for row, factors in enumerate(self._monomials):
            for j in set(factors):
                derivatives[j, row, place[_without(factors, j)]] = factors.count(j)
        return derivatives

    @cached_property
    def _generator_terms(self) -> tuple[Tensor, ...]:
        """Every L_ji z_i d/dz_j of a monomial: row, column, j, i, and the power of z_j in it."""
        place = {factors: n for n, factors in enumerate(self._monomials)}
        terms = [
            (row, place[tuple(sorted((*_without(factors, j), i)))], j, i, factors.count(j))
            for row, factors in enumerate(self._monomials)
            for j in sorted(set(factors))
            for i in range(self.dim)
        ]
        return tuple(torch.tensor(terms).T)

    def _all_monomials(self, z: Tensor) -> Tensor:
        """All monomials with the constant first, also where the library leaves it out."""
        if z.shape[-1:] != (self.dim,):
            raise ValueError(f"z must have shape (..., {self.dim}), got {tuple(z.shape)}")
        levels = [torch.ones_like(z[..., :1])]
        for parents, variables in self._steps:
            levels.append(levels[-1][..., parents.to(z.device)] * z[..., variables.to(z.device)])
        return torch.cat(levels, dim=-1)


def _without(factors: Factors, j: int) -> Factors:
    at = factors.index(j)
    return factors[:at] + factors[at + 1 :]


def _name(factors: Factors, variables: Sequence[str]) -> str:
    if not factors:
        return "1"
    counts = {i: factors.count(i) for i in factors}
    return " ".join(variables[i] + (f"^{n}" if n > 1 else "") for i, n in counts.items())


def monomials(z: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Values (..., p) of monomials at points (..., k), given their ``factors`` (p, degree) as of a library."""
    padded = np.concatenate([z, np.ones((*z.shape[:-1], 1))], axis=-1)
    first, *others = factors.T
    product = padded[..., first]
    for other in others:
        product = product * padded[..., other]
    return product


@dataclass(frozen=True, kw_only=True, eq=False)
class EquivariantLibrary:
    """A basis of the polynomial vector fields that are equivariant under a group, Q_a Theta(z - origin).

    Args:
        library: the monomials Theta.
        basis: Q (q, k, p), sparse: each Q_a has an entry 1 where all others have 0.
        origin: fixed point (k,) of the group.
        null_space: of the constraints, with its singular values, residual and gap.

    Example:
        The fields z, J z, r^2 z and r^2 J z of a rotation in the plane:

        >>> from discover import EquivariantLibrary, PolynomialLibrary
        >>> from equivariant import catalogue
        >>> fields = EquivariantLibrary.of(PolynomialLibrary(dim=2, degree=3), catalogue.rotation(2))
        >>> len(fields), tuple(fields.basis.shape)
        (4, (4, 2, 10))
    """

    library: PolynomialLibrary
    basis: Tensor
    origin: Tensor
    null_space: NullSpace

    @classmethod
    def of(
        cls, library: PolynomialLibrary, algebra: LieAlgebra, *, rtol: float = RTOL, count: int | None = None
    ) -> "EquivariantLibrary":
        """Solve the constraints Q M(L) = L Q for all generators L of an algebra, in float64.

        Args:
            library: monomials.
            algebra: of the symmetry, exact or learned, about its origin.
            rtol: noise of the generators, as for ``null_space``.
            count: number of solutions, as for ``null_space``; found from ``rtol`` by default.

        Returns:
            The library of all solutions.

        Raises:
            ValueError: for an algebra of another dimension or without generators, or one about another origin than 0
                where the library has no constant.
        """
        if algebra.dim != library.dim or not algebra.n_generators:
            raise ValueError(
                f"expected a symmetry of {library.dim} variables with at least one generator, got "
                f"{algebra.n_generators} of {algebra.dim}"
            )
        origin = algebra.origin.double().cpu()
        if origin.any() and not library.constant:
            raise ValueError(
                "a symmetry about another origin than 0 needs constant=True, or data relative to that origin"
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
        """Coefficients on Theta(z) of the field sum_a weights_a Q_a Theta(z - origin).

        Args:
            weights: (q,).

        Returns:
            C (k, p).
        """
        about = torch.einsum("a,aip->ip", weights.to(self.basis), self.basis)
        return about @ self.library.shift(-self.origin) if self.origin.any() else about


def to_isometries(algebra: LieAlgebra) -> LieAlgebra:
    """The nearest generators that leave an invariant form exactly invariant, the form being the one nearest to 1.

    No cubic field is exactly equivariant under a learned L; under its nearest isometry there are some.

    Args:
        algebra: exact or learned.

    Returns:
        The algebra of the nearest generators, about the same origin.

    Raises:
        ValueError: if the algebra has no invariant form, such as a scaling.
    """
    forms = invariant_metrics(algebra, rtol=RTOL).metrics
    nearest = torch.einsum("a,aij->ij", forms.diagonal(dim1=1, dim2=2).sum(1), forms)
    return nearest_isometries(algebra, nearest if nearest.any() else forms[0])


def _sparse(rows: Tensor) -> Tensor:
    """Another basis of the same span: each row has an entry 1 where all others have 0."""
    if not len(rows):
        return rows
    order = qr(rows.numpy(), mode="r", pivoting=True)[-1]
    pivots = torch.as_tensor(order[: len(rows)]).long().sort().values
    reduced = torch.linalg.solve(rows[:, pivots], rows)
    return torch.where(reduced.abs() > 1e-9, reduced, 0.0)
