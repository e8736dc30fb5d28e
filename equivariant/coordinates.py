"""Coordinates and generators in which a group is well conditioned, and how noisy its generators are.

Generators L_i span the same algebra in any basis, and x = P x' turns them into P^-1 L_i P: neither may change
what is found. So the generators are made orthonormal, and P minimises log det G, with the Gram matrix
G_ij = tr(L_i^T L_j) of the P^-1 L_i P. The minimum, where sum_i [L_i, L_i^T] = 0 for orthonormal L_i, is unique up
to what leaves it unchanged, since log det G is convex along P exp(t X) (Kempf, Ness 1979). Rotations become
antisymmetric there and boosts symmetric, whatever the units.

What [A, B] of elements A, B of size one has outside of the span is the noise of the generators: rounding for an
exact algebra. Where all elements commute it says nothing, since the powers of a noisy generator commute as well.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from equivariant.algebra import LieAlgebra
from equivariant.group import Factor
from equivariant.nullspace import RTOL, NullSpace

__all__ = ["Coordinates", "solve_by_evidence", "symmetric_forms"]

EXACT = 1e-4  # generators with more noise are taken as they are
ROUNDING = 1e-12  # what exact generators may leave of a zero, relative
BALANCED = 0.1  # of |sum_i [L_i, L_i^T]|: coordinates that need no change
LARGEST = 24  # size of the vectors up to which coordinates are sought
WARN = 1e-6  # a residual that an exact algebra should not have
REDUNDANT = 1e-10  # size of a generator outside of the span of the others that counts as rounding


@dataclass(frozen=True, eq=False)
class Coordinates:
    """Well-conditioned coordinates x' of one factor of a group, x = P x'.

    Args:
        original: the factor as it was given.
    """

    original: Factor

    @cached_property
    def matrix(self) -> Tensor:
        """P (k, k), symmetric and positive; the identity where nothing is gained by another."""
        h = self.original.finite
        return _balance(torch.cat([self.original.continuous, h, torch.linalg.inv(h)]))

    @cached_property
    def factor(self) -> Factor:
        """The factor in these coordinates, with orthonormal generators."""
        inverse = torch.linalg.inv(self.matrix)
        basis = _orthonormal(inverse @ self.original.continuous @ self.matrix)[0]
        return Factor(LieAlgebra(basis), inverse @ self.original.finite @ self.matrix)

    @cached_property
    def commuting(self) -> bool:
        """Whether all generators commute, so that their noise cannot be measured."""
        a, b = self._pairs
        return len(a) == 0 or float((a @ b - b @ a).abs().max()) < 1e-8

    @cached_property
    def noise(self) -> float:
        """The largest part outside of the span of brackets and of h L h^-1, of elements of size one."""
        basis, h = self.factor.continuous, self.factor.finite
        if len(basis) == 0:
            return 0.0
        a, b = self._pairs
        moved = h[:, None] @ a @ torch.linalg.inv(h)[:, None]
        moved = moved / torch.linalg.matrix_norm(moved)[..., None, None]
        rows = basis.flatten(1)
        products = torch.cat([a @ b - b @ a, moved.flatten(0, 1)]).flatten(1)
        return float((products - products @ rows.mT @ rows).norm(dim=1).max())

    @property
    def rtol(self) -> float:
        """The tolerance that the noise asks for."""
        return max(100 * self.noise, ROUNDING)

    @property
    def _pairs(self) -> tuple[Tensor, Tensor]:
        """Eight pairs of fixed random elements of size one."""
        basis = self.factor.continuous
        if len(basis) == 0:
            return basis, basis
        rng = torch.Generator().manual_seed(0)
        w = torch.randn(2, 8, len(basis), generator=rng, dtype=torch.float64).to(basis)
        a, b = torch.einsum("pnc,cij->pnij", w / w.norm(dim=-1, keepdim=True), basis)
        return a, b

    def perturbed(self) -> Factor:
        """Other numbers at the same places: what of the solutions is due to zeros alone survives this."""
        rng = torch.Generator().manual_seed(0)
        parts = []
        for matrices in (self.original.continuous, self.original.finite):
            noise = torch.rand(matrices.shape, generator=rng, dtype=torch.float64).to(matrices)
            parts.append(matrices * (0.7 + 0.6 * noise))
        return Factor(LieAlgebra(parts[0]), parts[1])


def solve_by_evidence(
    solve: Callable[[Factor, float], NullSpace],
    back: Callable[[NullSpace, Tensor], NullSpace],
    coordinates: Coordinates,
    rtol: float | None,
    count: int | None,
) -> NullSpace:
    """Solutions for one factor of a group, with a tolerance chosen by what is known of its noise.

    A given ``rtol`` is used as it is. Else exact generators that do not commute are solved in good coordinates,
    at their own noise, and noisy ones as they are, at ``RTOL``. Where all commute, both readings are tried: the
    generators count as exact where none of the singular values lies between rounding and ten times ``RTOL``. An
    algebra without provenance (not a learned one) also does where more of them vanish than for other numbers at the
    same places; else it counts as noisy, with a warning. A ``count`` of solutions that are not exact gives the
    nearest ones in the coordinates that were given.

    Args:
        solve: the solver of a factor at a tolerance.
        back: solutions of x' as solutions of x, given P with x = P x'.
        coordinates: of the factor.
        rtol: level of noise, or None to choose it.
        count: number of solutions asked for, or None.

    Returns:
        The solutions in the coordinates that were given.
    """
    if rtol is not None:
        found = solve(coordinates.original, rtol)
        if count is None and found.residual > WARN and not coordinates.commuting and coordinates.noise < WARN:
            _warn(found, f"closes to {coordinates.noise:.1g}; leave rtol out, or give one below the residual")
        return found
    if coordinates.noise > EXACT:
        return solve(coordinates.original, RTOL)
    learned = bool(coordinates.original.algebra.provenance)  # its search space may make some relations exact
    found = solve(coordinates.factor, coordinates.rtol)
    if count is not None:
        exact = found.residual < WARN
    elif coordinates.commuting:
        beyond = found.singular_values[found.dim : found.dim + 1]
        exact = bool((beyond > 10 * RTOL).all())
        exact = exact or (not learned and solve(coordinates.perturbed(), ROUNDING).dim < found.dim)
    else:
        exact = True
    if exact:
        return back(found, coordinates.matrix)
    found = solve(coordinates.original, RTOL)
    if count is None and found.residual > WARN and not learned:
        _warn(
            found, f"has only commuting generators, which may be noisy or exact; taken as noisy up to {RTOL}"
        )
    return found


def _warn(found: NullSpace, reason: str) -> None:
    warnings.warn(
        f"{found.dim} solutions violate the symmetry by {found.residual:.1g} (relative), but the algebra {reason}. "
        "Give rtol=1e-9 to keep exact solutions only",
        UserWarning,
        stacklevel=5,
    )


def symmetric_forms(k: int, antisymmetric: bool = False) -> Tensor:
    """An orthonormal basis (k (k +- 1) / 2, k, k) of the symmetric or antisymmetric matrices."""
    i, j = torch.triu_indices(k, k, offset=int(antisymmetric))
    forms = torch.zeros(len(i), k, k, dtype=torch.float64)
    n = torch.arange(len(i))
    forms[n, i, j] = 1.0
    forms[n, j, i] = -1.0 if antisymmetric else 1.0
    return forms / forms.flatten(1).norm(dim=1)[:, None, None]


def _orthonormal(matrices: Tensor) -> tuple[Tensor, Tensor]:
    """An orthonormal basis of a span of matrices (c, k, k), and the singular values of their rows."""
    rows = matrices.flatten(1)
    gram = rows @ rows.mT
    if torch.allclose(gram, torch.eye(len(gram)).to(gram), rtol=0, atol=1e-14):
        return matrices, gram.new_ones(len(gram))
    tall = torch.linalg.qr(rows.mT)
    left, values, _ = torch.linalg.svd(tall.Q @ tall.R, full_matrices=False)
    keep = values > REDUNDANT * values.max() if len(values) else values > 0
    return left.mT[keep].reshape(-1, *matrices.shape[1:]), values


def _balance(matrices: Tensor) -> Tensor:
    """P of the matrices by Newton's method, from the Hessian 4 sum_i |[L_i, X] outside of the span|^2."""
    k = matrices.shape[-1]
    identity = torch.eye(k).to(matrices)
    basis, total = _orthonormal(matrices)[0], identity
    if k > LARGEST or float(_moment(basis).norm()) <= BALANCED:
        return identity
    forms = symmetric_forms(k).to(matrices)
    for _ in range(100):
        moment, rows = _moment(basis), basis.flatten(1)
        change = (basis @ forms[:, None] - forms[:, None] @ basis).flatten(2)
        outside = (change - change @ rows.mT @ rows).flatten(1)
        _, sizes, directions = torch.linalg.svd(torch.linalg.qr(outside.mT, mode="r").R)
        slope = directions @ (forms * moment).sum((1, 2))
        # directions that leave the span as it is (units of a translation, say) decide nothing
        step = torch.where(sizes > REDUNDANT, slope / (2 * sizes**2).clamp(min=1e-300), 0).clamp(-1, 1)
        better = _descend(basis, torch.einsum("s,sij->ij", directions.mT @ step, forms))
        if better is None or float(slope[sizes > REDUNDANT].norm()) < 1e-3:
            break
        basis, factor = better
        total = total @ factor
    values, vectors = torch.linalg.eigh(total @ total.mT)
    if not float(values.min()) > 1e-14 * float(values.max()):
        return identity
    roots = (values / values.log().mean().exp()).sqrt()
    return (vectors * roots) @ vectors.mT


def _descend(basis: Tensor, direction: Tensor) -> tuple[Tensor, Tensor] | None:
    """The basis after the longest of the steps 1, 1/2, 1/4, ... that lowers log det G, and exp of the step."""
    for _ in range(12):
        factor = torch.linalg.matrix_exp(direction)
        moved, values = _orthonormal(torch.linalg.inv(factor) @ basis @ factor)
        if float(values.log().sum()) < -1e-9:
            return moved, factor
        direction = direction / 2
    return None


def _moment(basis: Tensor) -> Tensor:
    """sum_i [L_i, L_i^T]: the direction X in which log det G of the exp(-X) L_i exp(X) falls most."""
    return (basis @ basis.mT - basis.mT @ basis).sum(0)
