"""Equivariant linear maps: Hom(in, out) = {W : rho_out(L) W = W rho_in(L), rho_out(h) W = W rho_in(h)}."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
from math import prod
from pathlib import Path

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from equivariant.coordinates import Coordinates, solve_by_evidence
from equivariant.files import read_tensors, write_tensors
from equivariant.group import Factor, Group, Symmetry
from equivariant.nullspace import DENSE, NullSpace, canonical, intertwiners
from equivariant.rep import Axis, Rep, Term, term_elements, term_generators, term_shape

__all__ = ["MapSolver", "dual", "equivariant_maps", "invariants", "problem_key", "read", "write"]

FORMAT = "null-space/2"  # a new number whenever the solver's answer may change


def problem_key(group: Group, term: Term, rtol: float | None) -> str:
    """Digest of a problem: generators and discrete elements (as numbers, not by name), term and tolerance.

    Args:
        group: the group.
        term: the axes of the tensor.
        rtol: level of noise, None for the choice by evidence.

    Returns:
        SHA-256, as hexadecimal digits.
    """
    digest = hashlib.sha256(json.dumps([FORMAT, [list(axis) for axis in term], rtol]).encode())
    for factor in group.factors:
        for tensor in (factor.continuous, factor.finite):
            digest.update(json.dumps(list(tensor.shape)).encode())
            digest.update(tensor.cpu().contiguous().numpy().astype("<f8").tobytes())
    return digest.hexdigest()


def read(folder: Path, key: str) -> NullSpace | None:
    """A stored answer.

    Args:
        folder: the cache.
        key: of the problem, from ``problem_key``.

    Returns:
        The answer, or None where there is none or the file is damaged.
    """
    path = folder / f"{key}.safetensors"
    if not path.is_file():
        return None
    try:
        metadata, tensors = read_tensors(path, FORMAT, "null space", "a MapSolver with a cache")
        return NullSpace(**tensors, **json.loads(metadata["evidence"]))
    except (KeyError, ValueError, TypeError):
        return None


def write(folder: Path, key: str, found: NullSpace) -> None:
    """Store an answer; another process never sees half of a file.

    Args:
        folder: the cache; made where it does not exist.
        key: of the problem, from ``problem_key``.
        found: the answer.
    """
    tensors = {"basis": found.basis, "singular_values": found.singular_values}
    evidence = json.dumps({"residual": found.residual, "gap": found.gap})
    write_tensors(folder / f"{key}.safetensors", FORMAT, tensors, evidence=evidence)


def dual(term: Term) -> Term:
    """The term whose axes all transform by g^-T in place of g, and back."""
    return tuple(Axis(axis.factor, not axis.dual) for axis in term)


def equivariant_maps(
    rep_in: Rep, rep_out: Rep, algebra: Symmetry, *, rtol: float | None = None, count: int | None = None
) -> NullSpace:
    """Basis of the equivariant maps between two representations of one term and one copy each.

    More copies only repeat it, see ``EquivariantLinear``.

    Args:
        rep_in: representation of the input, one term such as ``V`` or ``T(2)``.
        rep_out: representation of the output, one term.
        algebra: a ``LieAlgebra``, a ``Group``, or a sequence of them for a product.
        rtol: level of noise of the generators, relative; by default chosen by evidence: exact algebras are
            solved to rounding in any basis and units, noisy ones at 1e-2 (``equivariant.coordinates``).
        count: number of maps, in place of the gap.

    Returns:
        The maps as rows that reshape to (n, size_out, size_in), and the evidence for their number.

    Raises:
        ValueError: for more than one term, or a representation of another group.

    Example:
        >>> from equivariant import T, V, catalogue
        >>> equivariant_maps(T(2), T(2), catalogue.rotation(3)).dim  # trace, symmetric and antisymmetric part
        3
    """
    term = _single_term(rep_out) + dual(_single_term(rep_in))
    return invariants(term, Group.of(algebra), rtol=rtol, count=count)


def invariants(
    term: Term,
    group: Group,
    *,
    rtol: float | None = None,
    count: int | None = None,
    coordinates: Sequence[Coordinates] | None = None,
) -> NullSpace:
    """Invariant tensors of a term: rows (n, size), the products of those of the group's factors.

    Args:
        term: the axes of the tensor.
        group: the group; factors that act on none of the axes do not count.
        rtol: level of noise of the generators, relative; default by evidence.
        count: number of tensors, in place of the gap (of one factor only).
        coordinates: of each factor, where they are known already.

    Returns:
        The invariant tensors and the evidence for their number.
    """
    shape = term_shape(term, group.dims)
    coordinates = [Coordinates(f) for f in group.factors] if coordinates is None else coordinates
    factors = sorted({axis.factor for axis in term})
    if count is not None and len(factors) > 1:
        raise ValueError(f"count needs a term of one factor, got factors {factors}; leave count out")
    parts = [
        _invariants_of_factor(
            tuple(Axis(0, axis.dual) for axis in term if axis.factor == f), coordinates[f], rtol, count
        )
        for f in factors
    ]
    if len(parts) == 1:
        return parts[0]
    basis = group.factors[0].algebra.basis.new_ones(1, 1, dtype=torch.float64)
    for part in parts:
        basis = torch.einsum("ma,nb->mnab", basis, part.basis).flatten(2).flatten(0, 1)
    places = sorted(range(len(term)), key=lambda i: term[i].factor)
    back = [1 + places.index(i) for i in range(len(term))]
    basis = basis.reshape(-1, *(shape[i] for i in places)).permute(0, *back).reshape(len(basis), prod(shape))
    beyond = [part.singular_values[part.dim : part.dim + 1] for part in parts]
    zeros = max((float(part.singular_values[: part.dim].max()) for part in parts if part.dim), default=0.0)
    return NullSpace(
        basis=canonical(basis),
        singular_values=torch.cat([basis.new_full((len(basis),), zeros), *beyond])[: len(basis) + 1],
        residual=max((part.residual for part in parts), default=0.0),
        gap=min((part.gap for part in parts), default=float("inf")),
    )


class MapSolver:
    """Hom(into, out) for terms of one group, each solved once: what the layers of one model share.

    Args:
        group: the group.
        rtol: level of noise of the generators, relative; default by evidence.
        cache: a folder that keeps the answers between runs, under the digest of their content; default: none.
    """

    def __init__(self, group: Group, *, rtol: float | None = None, cache: str | Path | None = None):
        self.group, self.rtol = group, rtol
        self.cache = None if cache is None else Path(cache).expanduser()
        self._coordinates = [Coordinates(factor) for factor in group.factors]
        self._solved: dict[Term, NullSpace] = {}

    def __call__(self, out: Term, into: Term) -> NullSpace:
        term = out + dual(into)
        if term not in self._solved:
            self._solved[term] = self._solve(term)
        return self._solved[term]

    def _solve(self, term: Term) -> NullSpace:
        if self.cache is None:
            return invariants(term, self.group, rtol=self.rtol, coordinates=self._coordinates)
        key = problem_key(self.group, term, self.rtol)
        found = read(self.cache, key)
        if found is None:
            found = invariants(term, self.group, rtol=self.rtol, coordinates=self._coordinates)
            write(self.cache, key, found)
        return replace(
            found,
            basis=found.basis.to(self.group.device),
            singular_values=found.singular_values.to(self.group.device),
        )


def _invariants_of_factor(
    term: Term, coordinates: Coordinates, rtol: float | None, count: int | None
) -> NullSpace:
    """Invariant tensors of one factor: orbits of indices for permutations, else a linear problem."""
    permutations = _permutations(coordinates.original) if count is None else None
    if permutations is not None:
        return _orbits(term, permutations.to(coordinates.original.algebra.basis.device))

    def solve(factor: Factor, rtol: float) -> NullSpace:
        return _solve_between_halves(term, factor, rtol, count, scaled=factor is not coordinates.original)

    def back(found: NullSpace, matrix: Tensor) -> NullSpace:
        if torch.equal(matrix, torch.eye(len(matrix)).to(matrix)) or not found.dim:
            return found
        rows = Rep(((1, term),)).act(matrix, found.basis)
        rows = torch.linalg.qr((rows / rows.norm(dim=1, keepdim=True)).mT).Q.mT
        return replace(found, basis=canonical(rows))

    return solve_by_evidence(solve, back, coordinates, rtol, count)


def _solve_between_halves(
    term: Term, factor: Factor, rtol: float, count: int | None, scaled: bool
) -> NullSpace:
    """Invariant tensors as the maps between the two halves of a term.

    Cutting the axes a b into a and b turns an invariant tensor into a map from the dual of b to a: the
    largest matrices are those of half of the term, so no generator of the whole term is ever built.
    ``scaled``: discrete elements count by their distance from the identity.
    """
    group = Group((factor,))
    cut = _balanced_cut(term_shape(term, group.dims))
    out, into = term[:cut], dual(term[cut:])
    left, right = term_elements(out, group), term_elements(into, group)
    if scaled:
        h = factor.finite
        distance = torch.linalg.matrix_norm(h - torch.eye(h.shape[-1]).to(h), 2)
        far = distance > 1e-12
        left, right = (
            (side[far] - torch.eye(side.shape[-1]).to(side)) / distance[far, None, None]
            for side in (left, right)
        )
    left = torch.cat([term_generators(out, group), left])
    right = torch.cat([term_generators(into, group), right])
    if scaled and count is None and left.shape[-1] * right.shape[-1] > DENSE:
        found = _solve_by_casimir(left, right, factor.continuous, rtol)
        if found is not None:
            return found
    return intertwiners(left, right, rtol=rtol, count=count)


def _solve_by_casimir(left: Tensor, right: Tensor, basis: Tensor, rtol: float) -> NullSpace | None:
    """The maps left_a W = W right_a between eigenspaces of the Casimir operator; None where it does not help.

    K = sum_ij (B^-1)_ij L_i L_j with B_ij = tr(L_i L_j) commutes with the algebra, and K_left W = W K_right: so W
    maps each eigenspace into that of the same eigenvalue, and each pair is a problem of its own, a small one.
    """
    form = torch.einsum("iab,jba->ij", basis, basis)
    if not len(form) or not float(torch.linalg.cond(form)) < 1e6:
        return None
    inverse = torch.linalg.inv(form)
    spectra = []
    for side in (left, right):
        L = side[: len(basis)]
        casimir = (L @ torch.einsum("ij,jbc->ibc", inverse, L)).sum(0)
        size = max(float(torch.linalg.matrix_norm(casimir)), 1.0)
        broken = torch.cat([casimir @ side - side @ casimir, casimir[None] - casimir.mT])
        if float(broken.abs().max()) > 1e-8 * size:
            return None
        spectra.append(torch.linalg.eigh((casimir + casimir.mT) / 2))
    low, high = (values for values, _ in spectra)
    levels = torch.cat([low, high]).sort().values
    apart = 1e-6 * max(float(levels.abs().max()), 1.0)
    starts = levels[torch.cat([levels.new_ones(1) > 0, levels.diff() > apart])]
    scale = max(float(torch.linalg.matrix_norm(side, 2).max()) for side in (left, right))
    rows, zeros = [levels.new_zeros(0, len(low) * len(high))], [levels[:0]]
    beyond = [levels.new_full((1,), float(starts.diff().min()) if len(starts) > 1 else 1.0)]
    residual, gap = 0.0, float("inf")
    for start, end in zip(starts, torch.cat([starts[1:], starts.new_full((1,), torch.inf)]), strict=True):
        u, v = (q[:, (e > start - apart / 2) & (e < end - apart / 2)] for e, q in spectra)
        if not (u.numel() and v.numel()):
            continue
        found = intertwiners(u.mT @ left @ u, v.mT @ right @ v, rtol=rtol, scale=scale)
        maps = found.basis.reshape(found.dim, u.shape[1], v.shape[1])
        rows.append((u @ maps @ v.mT).flatten(1))
        zeros.append(found.singular_values[: found.dim])
        beyond.append(found.singular_values[found.dim :])
        residual, gap = max(residual, found.residual), min(gap, found.gap)
    return NullSpace(
        basis=canonical(torch.cat(rows)),
        singular_values=torch.cat([torch.cat(zeros).sort().values, torch.cat(beyond).sort().values]),
        residual=residual,
        gap=gap,
    )


def _permutations(factor: Factor) -> Tensor | None:
    """The permutations (m, k), h e_j = e_p(j), where the group has nothing else."""
    h = factor.finite
    if len(factor.continuous) or not len(h):
        return None
    places = h.argmax(dim=1)
    exact = torch.nn.functional.one_hot(places, h.shape[-1]).mT.to(h)
    distinct = (exact.sum(2) == 1).all()
    return places if bool(distinct) and float((h - exact).abs().max()) < 1e-12 else None


def _orbits(term: Term, permutations: Tensor) -> NullSpace:
    """Invariant tensors of permutations: one for each orbit of the index tuples, constant there, 0 elsewhere."""
    shape = (permutations.shape[1],) * len(term)
    index = torch.arange(prod(shape)).reshape(shape)
    targets = []
    for permutation in permutations.cpu():
        moved = index
        for axis in range(len(term)):
            moved = moved.index_select(axis, permutation)
        targets.append(moved.flatten())
    source = index.flatten().repeat(len(targets))
    edges = coo_array((np.ones(len(source)), (source, torch.cat(targets))), shape=(index.numel(),) * 2)
    number, label = connected_components(edges, directed=False)
    basis = torch.nn.functional.one_hot(torch.from_numpy(label).long(), number).mT.double()
    basis = basis / basis.norm(dim=1, keepdim=True)
    return NullSpace(
        basis=canonical(basis).to(permutations.device),
        singular_values=basis.new_zeros(number).to(permutations.device),
        residual=0.0,
        gap=float("inf"),
    )


def _balanced_cut(shape: tuple[int, ...]) -> int:
    """Where to cut a shape so that the larger part is as small as possible."""
    left = [1, *accumulate(shape, lambda a, b: a * b)]
    return min(range(len(left)), key=lambda cut: max(left[cut], prod(shape) // left[cut]))


def _single_term(rep: Rep) -> Term:
    if len(rep.terms) != 1 or rep.terms[0][0] != 1:
        raise ValueError(f"expected one copy of one term, such as V or T(2), got {rep}")
    return rep.terms[0][1]
