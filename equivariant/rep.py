"""Representations: how the last axis of a tensor is built, a sum of tensor products of V and its dual: 5*V + T(2)."""

import ast
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, product
from math import prod
from numbers import Integral
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from equivariant.arrays import ArrayLike, as_floating, as_tensor
from equivariant.group import Group, Symmetry

__all__ = [
    "Axis",
    "Block",
    "Rep",
    "Scalar",
    "T",
    "Term",
    "V",
    "term_elements",
    "term_generators",
    "term_shape",
]


class Axis(NamedTuple):
    """One tensor index.

    Args:
        factor: the factor of the group that acts on it.
        dual: whether that acts by g^-T in place of g.
    """

    factor: int = 0
    dual: bool = False


Term: TypeAlias = tuple[Axis, ...]
Elements: TypeAlias = ArrayLike | Sequence[Tensor]


class Block(NamedTuple):
    """Where a term lies in the flat feature axis.

    Args:
        term: its axes.
        copies: how many of it.
        shape: of one copy.
        start: first entry.
        stop: entry after the last.
    """

    term: Term
    copies: int
    shape: tuple[int, ...]
    start: int
    stop: int


@dataclass(frozen=True)
class Rep:
    """A representation: a sum of terms, each a tensor product of axes. It holds no numbers of a group.

    Build one from ``V``, ``Scalar`` and ``T(p, q)``: ``5 * V + 3 * Scalar + T(2)``, duals ``V.T``, products
    ``V * V.T``, other factors of a product group ``V[1]``. ``Rep.parse`` reads what ``str`` writes.

    Features are flat: the last axis of a tensor holds the terms in the order written, copy after copy, so
    a feature of ``5 * V`` with k = 8 is 40 numbers, ``x.view(n, 5, 8)``; tensor axes are row-major.

    Args:
        terms: multiplicity and axes of each term.

    Example:
        >>> rep = 5 * V + 3 * Scalar + T(2)
        >>> rep.size(4)
        39
        >>> Rep.parse("V*V.T")
        T(1,1)
    """

    terms: tuple[tuple[int, Term], ...] = ()

    @classmethod
    def parse(cls, text: str) -> "Rep":
        """Read the string form.

        Args:
            text: sums and products of ``V``, ``V.T``, ``Scalar`` and ``T(p, q)``, as ``str`` writes them.

        Raises:
            ValueError: for anything else.
        """
        try:
            return _evaluate(ast.parse(text.strip(), mode="eval").body)
        except (SyntaxError, ValueError, TypeError, AttributeError, RecursionError, MemoryError) as error:
            raise ValueError(
                f"cannot read the representation {text!r} ({error}); write e.g. '5*V + 3*Scalar + T(2,1)'"
            ) from None

    def __add__(self, other: "Rep") -> "Rep":
        if not isinstance(other, Rep):
            return NotImplemented
        return _merge(self.terms + other.terms)

    def __mul__(self, other: "int | Rep") -> "Rep":
        if isinstance(other, Rep):
            pairs = product(self.terms, other.terms)
            return _merge(tuple((m * n, a + b) for (m, a), (n, b) in pairs))
        if not isinstance(other, Integral) or other < 0:
            raise ValueError(f"a multiplicity must be a whole number >= 0, got {other!r}")
        return _merge(tuple((int(other) * m, term) for m, term in self.terms))

    def __rmul__(self, count: int) -> "Rep":
        return self * count

    def __getitem__(self, factor: int) -> "Rep":
        """The same representation of another factor of a product group.

        Args:
            factor: its place among the factors, from 0.
        """
        if not isinstance(factor, Integral) or factor < 0:
            raise ValueError(f"a factor is a whole number >= 0, such as V[1], got {factor!r}")
        return Rep(tuple((m, tuple(Axis(int(factor), axis.dual) for axis in term)) for m, term in self.terms))

    @property
    def T(self) -> "Rep":
        """The dual: g^-T in place of g."""
        return Rep(tuple((m, tuple(Axis(a.factor, not a.dual) for a in term)) for m, term in self.terms))

    def __str__(self) -> str:
        words = [(f"{m}*" if m > 1 else "") + _term_string(term) for m, term in self.terms]
        return " + ".join(words) or "0*Scalar"

    __repr__ = __str__

    def size(self, dims: int | Sequence[int]) -> int:
        """Number of entries of a feature.

        Args:
            dims: size k of the vectors, or (k0, k1, ...) for a product group.
        """
        return sum(m * prod(term_shape(term, dims)) for m, term in self.terms)

    def blocks(self, dims: int | Sequence[int]) -> list[Block]:
        """The terms with their places in the flat axis, in order.

        Args:
            dims: size k of the vectors, or (k0, k1, ...) for a product group.
        """
        blocks, start = [], 0
        for count, term in self.terms:
            shape = term_shape(term, dims)
            blocks.append(Block(term, count, shape, start, start + count * prod(shape)))
            start = blocks[-1].stop
        return blocks

    def check(self, x: Tensor, dims: int | Sequence[int], name: str = "x") -> None:
        """Raise ``ValueError`` unless the last axis of x has this representation's size.

        Args:
            x: features (..., size).
            dims: size k of the vectors, or (k0, k1, ...) for a product group.
            name: what x is called in the message.
        """
        size = self.size(dims)
        if x.shape[-1:] != (size,):
            raise ValueError(
                f"{name} must have shape (..., {size}) for {self} with k = {dims}, got {tuple(x.shape)}"
            )

    def act(self, g: Elements, x: ArrayLike) -> Tensor:
        """g acting on features x (..., size), without building size x size matrices.

        Args:
            g: an element (k, k), or elements (*batch, k, k) whose batch is the leading part of x's; for a product
                group a tuple of them, one per factor.
            x: features (..., size).

        Returns:
            Features (..., size).
        """
        x, elements = as_floating(x), _elements(g)
        dims = [e.shape[-1] for e in elements]
        self.check(x, dims)
        inverses = [torch.linalg.inv(e) for e in elements] if self._has_duals else []
        parts = []
        for block in self.blocks(dims):
            part = x[..., block.start : block.stop].unflatten(-1, (block.copies, *block.shape))
            for i, axis in enumerate(block.term):
                matrix = inverses[axis.factor].mT if axis.dual else elements[axis.factor]
                part = _apply(matrix, part, i - len(block.shape))
            parts.append(part.reshape(*x.shape[:-1], block.stop - block.start))
        return torch.cat(parts, dim=-1) if parts else x

    def matrix(self, g: Elements) -> Tensor:
        """The matrix of a group element; large: for tests and small representations.

        Args:
            g: elements (..., k, k), or a tuple of them, one per factor.

        Returns:
            Matrices (..., size, size).
        """
        elements = _elements(g)
        size = self.size([e.shape[-1] for e in elements])
        batch = torch.broadcast_shapes(*(e.shape[:-2] for e in elements))
        elements = [e.expand(*batch, *e.shape[-2:]).unsqueeze(-3) for e in elements]
        columns = torch.eye(size, dtype=elements[0].dtype, device=elements[0].device)
        return self.act([e.squeeze(-3) for e in elements], columns.expand(*batch, size, size)).mT

    def generators(self, algebra: Symmetry) -> Tensor:
        """The matrices (c, size, size), in float64, of the generators, each of size one.

        Args:
            algebra: a ``LieAlgebra``, a ``Group``, or a sequence of them (a product).
        """
        group = Group.of(algebra)
        parts = [_repeat(term_generators(term, group), count) for count, term in self.terms]
        return _block_diagonal(parts, group)

    @property
    def _has_duals(self) -> bool:
        return any(axis.dual for _, term in self.terms for axis in term)


Scalar = Rep(((1, ()),))
V = Rep(((1, (Axis(),)),))


def T(p: int, q: int = 0) -> Rep:
    """The tensor product of p vectors and q dual vectors; T(0) is a scalar.

    Args:
        p: number of vectors.
        q: number of dual vectors.

    Returns:
        The representation.

    Raises:
        ValueError: for numbers that are negative or not whole.

    Example:
        >>> T(2).size(3), T(1, 1) == V * V.T
        (9, True)
    """
    if not (isinstance(p, Integral) and isinstance(q, Integral)) or p < 0 or q < 0:
        raise ValueError(f"T(p, q) needs whole numbers >= 0, got ({p!r}, {q!r})")
    return Rep(((1, (Axis(),) * int(p) + (Axis(dual=True),) * int(q)),))


def term_shape(term: Term, dims: int | Sequence[int]) -> tuple[int, ...]:
    """The tensor shape of one copy of a term.

    Args:
        term: its axes.
        dims: size k of the vectors, or (k0, k1, ...) for a product group.
    """
    sizes = (dims,) if isinstance(dims, int) else tuple(dims)
    if any(axis.factor >= len(sizes) for axis in term):
        raise ValueError(f"{_term_string(term)} needs another factor; the group has {len(sizes)}")
    return tuple(sizes[axis.factor] for axis in term)


def term_generators(term: Term, group: Group) -> Tensor:
    """Generators (c, d, d) on one copy of a term: the sum over its axes of 1 x ... x L x ... x 1.

    Args:
        term: its axes.
        group: the group.
    """
    shape = term_shape(term, group.dims)
    parts = []
    for f, factor in enumerate(group.factors):
        L = factor.continuous
        total = L.new_zeros(len(L), prod(shape), prod(shape))
        for i, axis in enumerate(term):
            if axis.factor == f:
                total = total + _kron(prod(shape[:i]), -L.mT if axis.dual else L, prod(shape[i + 1 :]))
        parts.append(total)
    return torch.cat(parts)


def term_elements(term: Term, group: Group) -> Tensor:
    """Discrete elements (m, d, d) on one copy of a term: the product over its axes.

    Args:
        term: its axes.
        group: the group.
    """
    shape = term_shape(term, group.dims)
    parts = []
    for f, factor in enumerate(group.factors):
        h = factor.finite
        total = torch.eye(prod(shape), dtype=h.dtype, device=h.device).expand(len(h), -1, -1)
        for i, axis in enumerate(term):
            if axis.factor == f:
                matrix = torch.linalg.inv(h).mT if axis.dual else h
                total = total @ _kron(prod(shape[:i]), matrix, prod(shape[i + 1 :]))
        parts.append(total)
    return torch.cat(parts)


def _elements(g: Elements) -> tuple[Tensor, ...]:
    """One element per factor; a tuple, or a list of tensors, is a product group."""
    several = isinstance(g, tuple | list) and all(isinstance(e, Tensor) for e in g)
    return tuple(g) if several else (as_tensor(g, "g"),)


def _kron(before: int, matrices: Tensor, after: int) -> Tensor:
    """1 x A x 1 for matrices (c, k, k)."""
    left, right = (torch.eye(n, dtype=matrices.dtype, device=matrices.device) for n in (before, after))
    c, k = matrices.shape[:2]
    wide = torch.einsum("ab,cij,de->caidbje", left, matrices, right)
    return wide.reshape(c, before * k * after, before * k * after)


def _apply(matrix: Tensor, x: Tensor, axis: int) -> Tensor:
    """Contract matrix (*batch, k, k) with one axis (counted from the end) of x (*batch, ..., k, ...)."""
    moved = x.movedim(axis, -1)
    batch = matrix.shape[:-2]
    rows = moved.reshape(*moved.shape[: len(batch)], -1, moved.shape[-1])
    return (rows @ matrix.mT).reshape(moved.shape).movedim(-1, axis)


def _repeat(matrices: Tensor, count: int) -> Tensor:
    return _kron(count, matrices, 1)


def _block_diagonal(parts: list[Tensor], group: Group) -> Tensor:
    if not parts:
        return torch.zeros(sum(len(f.continuous) for f in group.factors), 0, 0, dtype=torch.float64)
    return torch.stack([torch.block_diag(*matrices) for matrices in zip(*parts, strict=True)])


def _merge(terms: tuple[tuple[int, Term], ...]) -> Rep:
    """Equal neighbours become one multiplicity; the order, and so the layout, stays."""
    runs = [(sum(m for m, _ in run), term) for term, run in groupby(terms, key=lambda pair: pair[1])]
    return Rep(tuple((m, term) for m, term in runs if m))


def _term_string(term: Term) -> str:
    words = []
    for factor, axes in groupby(term, key=lambda axis: axis.factor):
        duals = [axis.dual for axis in axes]
        suffix = f"[{factor}]" if factor else ""
        p, q = duals.count(False), duals.count(True)
        if len(duals) > 1 and duals == [False] * p + [True] * q:
            words.append((f"T({p},{q})" if q else f"T({p})") + suffix)
        else:
            words += [f"V{suffix}.T" if dual else f"V{suffix}" for dual in duals]
    return "*".join(words) or "Scalar"


def _evaluate(node: ast.expr) -> Rep:
    """The value of a parsed expression of sums, products, names, T(p, q), .T and [factor]."""
    match node:
        case ast.Name(id="V"):
            return V
        case ast.Name(id="Scalar"):
            return Scalar
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _evaluate(left) + _evaluate(right)
        case ast.BinOp(left=ast.Constant(value=int(count)), op=ast.Mult(), right=right):
            return count * _evaluate(right)
        case ast.BinOp(left=left, op=ast.Mult(), right=right):
            return _evaluate(left) * _evaluate(right)
        case ast.Call(func=ast.Name(id="T"), args=arguments, keywords=[]):
            return T(*(ast.literal_eval(argument) for argument in arguments))
        case ast.Attribute(value=value, attr="T"):
            return _evaluate(value).T
        case ast.Subscript(value=value, slice=ast.Constant(value=int(factor))):
            return _evaluate(value)[factor]
    raise ValueError(f"{ast.unparse(node)!r} is no part of a representation")
