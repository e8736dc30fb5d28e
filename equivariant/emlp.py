"""Equivariant multilayer perceptron: linear map, bilinear products, gates; x -> gate(W x + B(W x, W x))."""

from itertools import combinations_with_replacement, pairwise
from math import prod

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from equivariant.exact import ExactConstants
from equivariant.group import Group, Symmetry
from equivariant.linear import EquivariantLinear
from equivariant.maps import MapSolver
from equivariant.nullspace import RTOL
from equivariant.rep import Rep, Scalar, T, V

__all__ = ["EMLP", "Bilinear", "EMLPBlock", "Gated", "gated", "hidden_rep"]

LARGEST_PRODUCT = 4096  # numbers in one bilinear map; larger tensor products cost more than they give
GAIN, LAST_GAIN = 0.7, 1 / 3  # with these an output starts as large as that of a plain network of that size


def gated(rep: Rep) -> Rep:
    """The representation with one more scalar for each copy that is not a scalar: its gate."""
    return rep + sum(copies for copies, term in rep.terms if term) * Scalar


def hidden_rep(width: int, algebra: Symmetry, solver: MapSolver | None = None) -> Rep:
    """``width`` numbers: half scalars, a quarter vectors (and other duals), a quarter matrices.

    Matrices of which two copies do not fit leave their place to vectors; what remains becomes scalars.
    """
    if width < 1:
        raise ValueError(f"a width must be positive, got {width}")
    group = Group.of(algebra)
    solver = MapSolver(group) if solver is None else solver
    factors = range(len(group.factors))
    matrices = [kind for f in factors for kind in _kinds(2, f, solver)]
    vectors = [kind for f in factors for kind in _kinds(1, f, solver)]
    second = _share(width // 4, matrices, group, least=2)
    first = _share(width // 2 - second.size(group.dims), vectors, group, least=1)
    return (width - first.size(group.dims) - second.size(group.dims)) * Scalar + first + second


def _share(width: int, kinds: list[Rep], group: Group, least: int) -> Rep:
    """As many copies of each kind as fit in an equal part of the width; none where fewer than ``least`` do."""
    rep = Rep()
    for kind in kinds:
        copies = width // (len(kinds) * kind.size(group.dims))
        rep = rep + (copies if copies >= least else 0) * kind
    return rep


def _kinds(order: int, factor: int, solver: MapSolver) -> list[Rep]:
    """T(order), and its mixed and dual forms where no invertible map makes the dual a vector."""
    (_, vector), (_, covector) = V[factor].terms[0], V[factor].T.terms[0]
    found = solver(covector, vector)
    k = solver.group.dims[factor]
    mixed = sum(found.basis).reshape(k, k) if found.dim else torch.zeros(k, k)  # type: ignore[union-attr]
    same = bool(torch.linalg.cond(mixed) < 1e6)
    return [T(order)[factor]] if same else [T(p, order - p)[factor] for p in range(order, -1, -1)]


class Gated(nn.Module):
    """Scalars pass through silu, every other copy is multiplied by the sigmoid of its gate.

    Shapes: (..., gated(rep).size) -> (..., rep.size); the gates are the last entries.
    """

    def __init__(self, rep: Rep, dims: tuple[int, ...]):
        super().__init__()
        self.rep, self.dims, self.blocks = rep, dims, rep.blocks(dims)
        self._gates = [block.copies for block in self.blocks if block.term]

    def forward(self, x: Tensor) -> Tensor:
        gated(self.rep).check(x, self.dims)
        gates = iter(x[..., self.rep.size(self.dims) :].sigmoid().split(self._gates, dim=-1))
        parts = []
        for block in self.blocks:
            part = x[..., block.start : block.stop]
            if block.term:
                copies = part.unflatten(-1, (block.copies, -1))
                parts.append((copies * next(gates).unsqueeze(-1)).flatten(-2))
            else:
                parts.append(torch.nn.functional.silu(part))
        return torch.cat(parts, dim=-1) if parts else x

    def extra_repr(self) -> str:
        return str(self.rep)


class Bilinear(ExactConstants):
    """Products of features: out_j = sum_n theta_jn Q_n (u_j x v_j), Q a basis of Hom(s x t, out).

    For every two non-scalar terms s, t (their copies paired in order, one step apart where s = t) and every
    output term; gates already multiply by scalars. The maps are mixed once per call, never per sample, and
    products of more than ``LARGEST_PRODUCT`` numbers are left out.

    Shapes: (..., rep.size) -> (..., rep.size).
    """

    theta: Tensor

    def __init__(self, rep: Rep, group: Group, solver: MapSolver, dtype: torch.dtype | None = None):
        super().__init__()
        self.rep, self.dims, self.blocks = rep, group.dims, rep.blocks(group.dims)
        self.residual = 0.0
        self._products, self._counts = [], []
        tensors = [i for i, block in enumerate(self.blocks) if block.term]
        for s, t in combinations_with_replacement(tensors, 2):
            for out in range(len(self.blocks)):
                self._register(s, t, out, solver)
        self.theta = nn.Parameter(torch.empty(sum(self._counts), device=group.device, dtype=dtype))
        self.reset_parameters()

    def _register(self, s: int, t: int, out: int, solver: MapSolver) -> None:
        blocks = [self.blocks[i] for i in (s, t, out)]
        if prod(prod(block.shape) for block in blocks) > LARGEST_PRODUCT:
            return
        found = solver(blocks[2].term, blocks[0].term + blocks[1].term)
        if found.dim:
            self.residual = max(self.residual, found.residual)
            self.register_buffer(f"map_{s}_{t}_{out}", found.basis)
            self._products.append((s, t, out))
            self._counts.append(found.dim * min(block.copies for block in blocks))

    def reset_parameters(self) -> None:
        """Products start at a hundredth of the variance of what they are added to."""
        with torch.no_grad():
            for part, (s, t, out) in zip(self.theta.split(self._counts), self._products, strict=True):
                maps = self.get_buffer(f"map_{s}_{t}_{out}")
                rivals = sum(product[2] == out for product in self._products)
                part.normal_().mul_((0.01 * prod(self.blocks[out].shape) / (len(maps) * rivals)) ** 0.5)

    def forward(self, x: Tensor) -> Tensor:
        self.rep.check(x, self.dims)
        sums: dict[int, list[Tensor]] = {}
        for theta, (s, t, out) in zip(self.theta.split(self._counts), self._products, strict=True):
            maps = self.get_buffer(f"map_{s}_{t}_{out}").to(x.dtype)
            sums.setdefault(out, []).append(self._product(x, theta, maps, s, t, out))
        parts = []
        for i, block in enumerate(self.blocks):
            size = block.stop - block.start
            padded = [pad(part, (0, size - part.shape[-1])) for part in sums.get(i, [])]
            parts.append(sum(padded[1:], padded[0]) if padded else x.new_zeros(*x.shape[:-1], size))
        return torch.cat(parts, dim=-1) if parts else x

    def _product(self, x: Tensor, theta: Tensor, maps: Tensor, s: int, t: int, out: int) -> Tensor:
        left, right, target = (self.blocks[i] for i in (s, t, out))
        copies = min(left.copies, right.copies, target.copies)
        u = x[..., left.start : left.stop].unflatten(-1, (left.copies, -1))[..., :copies, :]
        v = x[..., right.start : right.stop].unflatten(-1, (right.copies, -1))
        v = (v.roll(1, dims=-2) if s == t else v)[..., :copies, :]
        mixed = (theta.view(copies, -1) @ maps).view(copies, -1, u.shape[-1] * v.shape[-1])
        outer = (u.unsqueeze(-1) * v.unsqueeze(-2)).flatten(-2)
        return torch.einsum("...js,jos->...jo", outer, mixed).flatten(-2)

    def extra_repr(self) -> str:
        return f"{self.rep}, products={len(self._products)}, residual={self.residual:.1e}"


class EMLPBlock(nn.Module):
    """Linear map to ``gated(rep_out)``, plus bilinear products of the result, then gates.

    Shapes: (..., rep_in.size) -> (..., rep_out.size).
    """

    def __init__(
        self,
        rep_in: Rep,
        rep_out: Rep,
        algebra: Symmetry,
        *,
        solver: MapSolver | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        group = Group.of(algebra)
        solver = MapSolver(group) if solver is None else solver
        self.linear = EquivariantLinear(rep_in, gated(rep_out), group, solver=solver, dtype=dtype, gain=GAIN)
        self.bilinear = Bilinear(gated(rep_out), group, solver, dtype=dtype)
        self.gate = Gated(rep_out, group.dims)

    def forward(self, x: Tensor) -> Tensor:
        x = self.linear(x)
        return self.gate(x + self.bilinear(x))


class EMLP(nn.Module):
    r"""Equivariant multilayer perceptron (Finzi, Welling, Wilson 2021, arXiv 2104.09459).

    .. math:: f(\rho_{in}(g) x) = \rho_{out}(g) f(x) \quad \text{for every } g

    Args:
        rep_in, rep_out: how the last axis of input and output is built, e.g. ``5 * V``.
        algebra: a ``LieAlgebra``, a ``Group`` (discrete elements), or a sequence of them (a product).
        hidden: a ``Rep``, or a width that ``hidden_rep`` shares among scalars, vectors and matrices.
        layers: number of blocks before the last linear map.
        rtol: level of noise of the generators; a noisy algebra gives a model of its nearest solved maps, and
            ``residual`` says how far these are from equivariant.

    Shapes: (..., rep_in.size) -> (..., rep_out.size).
    """

    def __init__(
        self,
        rep_in: Rep,
        rep_out: Rep,
        algebra: Symmetry,
        hidden: int | Rep = 384,
        layers: int = 3,
        *,
        rtol: float = RTOL,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        if layers < 0:
            raise ValueError(f"layers must be >= 0, got {layers}")
        group = Group.of(algebra)
        solver = MapSolver(group, rtol=rtol)
        self.rep_in, self.rep_out, self.dims = rep_in, rep_out, group.dims
        middle = hidden if isinstance(hidden, Rep) else hidden_rep(hidden, group, solver)
        reps = [rep_in, *[middle] * layers]
        blocks = [EMLPBlock(a, b, group, solver=solver, dtype=dtype) for a, b in pairwise(reps)]
        last = EquivariantLinear(reps[-1], rep_out, group, solver=solver, dtype=dtype, gain=LAST_GAIN)
        self.layers = nn.Sequential(*blocks, last)

    @property
    def residual(self) -> float:
        """The largest relative violation of equivariance among the solved maps."""
        return max(float(getattr(module, "residual", 0.0)) for module in self.layers.modules())

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)

    def extra_repr(self) -> str:
        return f"{self.rep_in} -> {self.rep_out}"
