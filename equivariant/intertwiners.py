"""Equivariant linear maps: Hom(in, out) = {W : rho_out(L) W = W rho_in(L), rho_out(h) W = W rho_in(h)}."""

import hashlib
import json
import os
import tempfile
from dataclasses import replace
from itertools import accumulate
from math import prod
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from equivariant.group import Group, Symmetry
from equivariant.nullspace import RTOL, NullSpace, intertwiners
from equivariant.rep import Axis, Rep, Term, term_elements, term_generators, term_shape

__all__ = ["MapSolver", "dual", "equivariant_maps", "invariants", "problem_key", "read", "write"]

FORMAT = "null-space/1"  # a new number whenever the solver's answer may change


def problem_key(group: Group, term: Term, rtol: float) -> str:
    """Digest of the generators and discrete elements (as numbers, not by name), the term, and the tolerance."""
    digest = hashlib.sha256(json.dumps([FORMAT, [list(axis) for axis in term], rtol]).encode())
    for factor in group.factors:
        for tensor in (factor.continuous, factor.finite):
            digest.update(json.dumps(list(tensor.shape)).encode())
            digest.update(tensor.cpu().contiguous().numpy().astype("<f8").tobytes())
    return digest.hexdigest()


def read(folder: Path, key: str) -> NullSpace | None:
    """The stored answer, or None where there is none or the file is damaged."""
    path = folder / f"{key}.safetensors"
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            evidence = json.loads((file.metadata() or {})["evidence"])
            tensors = {name: file.get_tensor(name) for name in ("basis", "singular_values")}
        return NullSpace(**tensors, **evidence)
    except (SafetensorError, KeyError, ValueError, TypeError):
        return None


def write(folder: Path, key: str, found: NullSpace) -> None:
    """Store an answer; another process never sees half of a file."""
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {"basis": found.basis, "singular_values": found.singular_values}
    evidence = {"residual": found.residual, "gap": found.gap}
    handle, unfinished = tempfile.mkstemp(dir=folder)
    os.close(handle)
    save_file(
        {name: tensor.cpu().contiguous() for name, tensor in tensors.items()},
        unfinished,
        {"format": FORMAT, "evidence": json.dumps(evidence)},
    )
    os.replace(unfinished, folder / f"{key}.safetensors")


def dual(term: Term) -> Term:
    """The term whose axes all transform by g^-T in place of g, and back."""
    return tuple(Axis(axis.factor, not axis.dual) for axis in term)


def equivariant_maps(
    rep_in: Rep, rep_out: Rep, algebra: Symmetry, *, rtol: float = RTOL, count: int | None = None
) -> NullSpace:
    """Basis of the equivariant maps between two representations of one term and one copy each.

    The basis rows reshape to (n, size_out, size_in); more copies only repeat it, see ``EquivariantLinear``.
    """
    term = _single_term(rep_out) + dual(_single_term(rep_in))
    return invariants(term, Group.of(algebra), rtol=rtol, count=count)


def invariants(term: Term, group: Group, *, rtol: float = RTOL, count: int | None = None) -> NullSpace:
    """Invariant tensors of a term: rows (n, size), solved as the maps between its two halves.

    Cutting the axes a b into a and b turns an invariant tensor into a map from the dual of b to a: the
    largest matrices are those of half of the term, so no generator of the whole term is ever built.
    """
    cut = _balanced_cut(term_shape(term, group.dims))
    out, into = term[:cut], dual(term[cut:])
    left = torch.cat([term_generators(out, group), term_elements(out, group)])
    right = torch.cat([term_generators(into, group), term_elements(into, group)])
    return intertwiners(left, right, rtol=rtol, count=count)


class MapSolver:
    """Hom(into, out) for terms of one group, each solved once: what the layers of one model share.

    With ``cache`` a folder, answers are also kept there between runs, under the digest of their content.
    """

    def __init__(self, group: Group, *, rtol: float = RTOL, cache: str | Path | None = None):
        self.group, self.rtol = group, rtol
        self.cache = None if cache is None else Path(cache).expanduser()
        self._solved: dict[Term, NullSpace] = {}

    def __call__(self, out: Term, into: Term) -> NullSpace:
        term = out + dual(into)
        if term not in self._solved:
            self._solved[term] = self._solve(term)
        return self._solved[term]

    def _solve(self, term: Term) -> NullSpace:
        if self.cache is None:
            return invariants(term, self.group, rtol=self.rtol)
        key = problem_key(self.group, term, self.rtol)
        found = read(self.cache, key)
        if found is None:
            found = invariants(term, self.group, rtol=self.rtol)
            write(self.cache, key, found)
        return replace(
            found,
            basis=found.basis.to(self.group.device),
            singular_values=found.singular_values.to(self.group.device),
        )


def _balanced_cut(shape: tuple[int, ...]) -> int:
    """Where to cut a shape so that the larger part is as small as possible."""
    left = [1, *accumulate(shape, lambda a, b: a * b)]
    return min(range(len(left)), key=lambda cut: max(left[cut], prod(shape) // left[cut]))


def _single_term(rep: Rep) -> Term:
    if len(rep.terms) != 1 or rep.terms[0][0] != 1:
        raise ValueError(f"wanted one copy of one term, such as V or T(2), got {rep}")
    return rep.terms[0][1]
