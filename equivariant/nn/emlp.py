"""Equivariant multilayer perceptron: blocks of a linear map, products of pairs of features, and gates.

A block computes z = W x + b, y = z + B(z, z) and then gates y: scalars go through silu, every other copy is multiplied
by the sigmoid of a scalar of its own. W, b and B are equivariant (``EquivariantLinear``), so the whole is.

``EMLP.dense`` gives a ``FrozenEMLP`` for evaluation, in which every matrix is assembled once.
"""

from itertools import combinations_with_replacement, pairwise
from math import prod
from numbers import Integral
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from equivariant.arrays import ArrayLike
from equivariant.expm import is_traced
from equivariant.group import Group, Symmetry
from equivariant.intertwiners import MapSolver
from equivariant.nn.linear import EquivariantLinear
from equivariant.precision import as_input
from equivariant.rep import Block, Rep, Scalar, T, V

__all__ = ["EMLP", "Bilinear", "EMLPBlock", "FrozenBlock", "FrozenEMLP", "Gated", "gated", "hidden_rep"]

PRODUCT_GAIN = 0.01  # products start at a tenth of the size of what they are added to
GAIN, LAST_GAIN = 0.7, 1 / 3  # with these an output starts as large as that of a plain network of that size


class EMLP(nn.Module):
    r"""Equivariant multilayer perceptron (Finzi, Welling, Wilson 2021, arXiv 2104.09459, section 7).

    .. math:: f(\rho_{in}(g) x) = \rho_{out}(g) f(x) \quad \text{for every } g

    Under autocast the answer has the lower precision; without it x must have the dtype of the parameters. Arrays and
    lists are converted. A state dict of a model of another group is refused.

    Args:
        rep_in: how the last axis of the input is built, e.g. ``5 * V``.
        rep_out: how the last axis of the output is built.
        algebra: a ``LieAlgebra``, a ``Group`` (discrete elements), or a sequence of them (a product).
        hidden: a ``Rep``, or a width that ``hidden_rep`` divides among scalars, vectors and matrices.
        layers: number of blocks before the last linear map.
        rtol: level of noise of the generators; a noisy algebra gives a model of its nearest solved maps, and
            ``residual`` says how far these are from equivariant.
        cache: a folder that keeps the solved maps between runs; default: nothing is written.
        dtype: of the parameters; default PyTorch's default dtype.

    Shapes:
        x (..., rep_in.size) -> (..., rep_out.size).

    Raises:
        ValueError: where a size is not positive, or a representation needs a factor that the group lacks.

    Example:
        >>> from equivariant import catalogue
        >>> model = EMLP(2 * V, Scalar, catalogue.rotation(3), hidden=16, layers=1)
        >>> x = torch.randn(5, 6)
        >>> g = catalogue.rotation(3).sample(1)[0].float()
        >>> torch.allclose(model(x), model((x.view(5, 2, 3) @ g.mT).flatten(1)), atol=1e-5)
        True
    """

    def __init__(
        self,
        rep_in: Rep,
        rep_out: Rep,
        algebra: Symmetry,
        hidden: int | Rep = 384,
        layers: int = 3,
        *,
        rtol: float | None = None,
        cache: str | Path | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        if not isinstance(layers, Integral) or layers < 0:
            raise ValueError(f"layers must be a whole number >= 0, got {layers!r}")
        group = Group.of(algebra)
        solver = MapSolver(group, rtol=rtol, cache=cache)
        self.rep_in, self.rep_out, self.dims = rep_in, rep_out, group.dims
        with group.device:  # under torch.device("meta") the maps must still be solved
            middle = hidden if isinstance(hidden, Rep) else hidden_rep(hidden, group, solver)
            if middle.size(group.dims) == 0:
                raise ValueError(f"hidden must hold at least one number, got {middle}")
            reps = [rep_in, *[middle] * layers]
            blocks = [EMLPBlock(a, b, group, solver=solver, dtype=dtype) for a, b in pairwise(reps)]
            last = EquivariantLinear(reps[-1], rep_out, group, solver=solver, dtype=dtype, gain=LAST_GAIN)
        self.layers = nn.Sequential(*blocks, last)

    def dense(self) -> "FrozenEMLP":
        """A copy for evaluation, with every weight matrix assembled once; it does not follow this model."""
        *blocks, last = self.layers
        with torch.no_grad():
            constants = [block.constants() for block in blocks]  # type: ignore[operator]
            end: nn.Linear = last.dense()  # type: ignore[operator]
            return FrozenEMLP(constants, end.weight.detach(), end.bias.detach())

    @property
    def residual(self) -> float:
        """The largest relative violation of equivariance among the solved maps."""
        return max(float(getattr(module, "residual", 0.0)) for module in self.layers.modules())

    def forward(self, x: ArrayLike) -> Tensor:
        return self.layers(x)

    def extra_repr(self) -> str:
        return f"{self.rep_in} -> {self.rep_out}"


class EMLPBlock(nn.Module):
    """Linear map to ``gated(rep_out)``, plus bilinear products of the result, then gates.

    Args:
        rep_in: how the last axis of the input is built.
        rep_out: how the last axis of the output is built.
        algebra: a ``LieAlgebra``, a ``Group``, or a sequence of them (a product).
        solver: shared between layers so that no pair of terms is solved twice.
        dtype: of the parameters; default PyTorch's default dtype.

    Shapes:
        x (..., rep_in.size) -> (..., rep_out.size).

    Example:
        >>> from equivariant import catalogue
        >>> EMLPBlock(V, 4 * Scalar + 2 * V, catalogue.lorentz())(torch.randn(7, 4)).shape
        torch.Size([7, 12])
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

    def forward(self, x: ArrayLike) -> Tensor:
        return self.gate(self.bilinear(self.linear(x)))

    def constants(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """What a ``FrozenBlock`` is made of."""
        layer, pairs = self.linear.dense(), self.bilinear.pairs()
        products = self.bilinear.linear.weight()
        return layer.weight.detach(), layer.bias.detach(), products, pairs, self.gate.rows().to(pairs)


def hidden_rep(width: int, algebra: Symmetry, solver: MapSolver | None = None) -> Rep:
    """A representation of ``width`` numbers: half scalars, a quarter vectors (and other duals), a quarter matrices.

    Matrices of which two copies do not fit leave their place to vectors; what remains becomes scalars.

    Args:
        width: number of entries, at least 1.
        algebra: whose vectors and matrices they are.
        solver: which tells whether vectors and their duals are alike.

    Example:
        >>> from equivariant import catalogue
        >>> hidden_rep(100, catalogue.rotation(3))
        52*Scalar + 10*V + 2*T(2)
    """
    if not isinstance(width, Integral) or width < 1:
        raise ValueError(f"a width must be a whole number >= 1, got {width!r}")
    width, group = int(width), Group.of(algebra)
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


def gated(rep: Rep) -> Rep:
    """The representation with one more scalar for each copy that is not a scalar: its gate.

    Args:
        rep: of the features to be gated.

    Example:
        >>> gated(3 * Scalar + 2 * V)
        3*Scalar + 2*V + 2*Scalar
    """
    return rep + sum(copies for copies, term in rep.terms if term) * Scalar


class Gated(nn.Module):
    """Scalars go through silu, every other copy is multiplied by the sigmoid of its gate.

    Args:
        rep: of the output.
        dims: size of the vectors of each factor of the group.

    Shapes:
        x (..., gated(rep).size) -> (..., rep.size); the gates are the last entries of x.
    """

    def __init__(self, rep: Rep, dims: tuple[int, ...]):
        super().__init__()
        self.rep, self.full, self.dims, self.blocks = rep, gated(rep), dims, rep.blocks(dims)
        gates = [block.copies for block in self.blocks if block.term]
        self._sizes = [*(block.stop - block.start for block in self.blocks), *gates]

    def forward(self, x: Tensor) -> Tensor:
        self.full.check(x, self.dims)
        parts = x.split(self._sizes, dim=-1)
        gates = iter(parts[len(self.blocks) :])
        done = []
        for block, part in zip(self.blocks, parts, strict=False):
            if block.term:
                copies = part.unflatten(-1, (block.copies, -1))
                done.append((copies * next(gates).sigmoid().unsqueeze(-1)).flatten(-2))
            else:
                done.append(silu(part))
        return torch.cat(done, dim=-1) if done else x

    def rows(self) -> Tensor:
        """For each feature of ``rep`` the place of its gate in ``gated(rep)``, -1 for scalars."""
        gate, found = self.rep.size(self.dims), []
        for block in self.blocks:
            copies = torch.arange(gate, gate + block.copies) if block.term else -torch.ones(block.copies)
            found.append(copies.long().repeat_interleave(prod(block.shape)))
            gate += block.copies if block.term else 0
        return torch.cat(found or [torch.zeros(0, dtype=torch.long)])

    def extra_repr(self) -> str:
        return str(self.rep)


class Bilinear(nn.Module):
    """x + B(x, x), B an equivariant linear map of tensor products u_j x v_j of features of x.

    For every two non-scalar terms s, t the first copies are multiplied in pairs (one step apart where s = t);
    gates already multiply by scalars. Small products come first, until a quarter of the features' size is spent:
    the linear map before it can put whatever should be multiplied into these copies.

    Args:
        rep: of input and output.
        group: the group.
        solver: shared between layers so that no pair of terms is solved twice.
        dtype: of the parameters; default PyTorch's default dtype.

    Shapes:
        x (..., rep.size) -> (..., rep.size).
    """

    def __init__(self, rep: Rep, group: Group, solver: MapSolver, dtype: torch.dtype | None = None):
        super().__init__()
        self.rep, self.dims, self.blocks = rep, group.dims, rep.blocks(group.dims)
        self.products = _products(self.blocks, rep.size(group.dims) // 4)
        terms = [(n, self.blocks[s].term + self.blocks[t].term) for s, t, n in self.products]
        self.product_rep = sum((n * Rep(((1, term),)) for n, term in terms), Rep())
        self.linear = EquivariantLinear(
            self.product_rep, rep, group, bias=False, solver=solver, dtype=dtype, gain=PRODUCT_GAIN
        )

    def forward(self, x: Tensor) -> Tensor:
        self.rep.check(x, self.dims)
        if not self.products:
            return x
        parts = x.split([block.stop - block.start for block in self.blocks], dim=-1)
        products = torch.cat([self._product(parts, parts, *p) for p in self.products], dim=-1)
        rows, factors = (t.reshape(-1, t.shape[-1]) for t in (x, products))
        # one call multiplies and adds: the sum costs no pass of its own
        return torch.addmm(rows, factors, self.linear.weight().mT).view(x.shape)

    def pairs(self) -> Tensor:
        """Which features each product multiplies, (2, p)."""
        device = self.linear.theta.device
        index = torch.arange(self.rep.size(self.dims), device=device)
        ones = torch.ones_like(index)
        chosen = []
        sizes = [block.stop - block.start for block in self.blocks]
        for u, v in ((index, ones), (ones, index)):
            left, right = u.split(sizes), v.split(sizes)
            parts = [self._product(left, right, *product) for product in self.products]
            chosen.append(torch.cat(parts or [index[:0]]))
        return torch.stack(chosen)

    def _product(
        self, parts: tuple[Tensor, ...], others: tuple[Tensor, ...], s: int, t: int, n: int
    ) -> Tensor:
        u = parts[s].unflatten(-1, (self.blocks[s].copies, -1))[..., :n, :]
        v = others[t].unflatten(-1, (self.blocks[t].copies, -1))
        v = v[..., 1 : n + 1, :] if s == t and n < self.blocks[t].copies else v[..., :n, :]
        return (u.unsqueeze(-1) * v.unsqueeze(-2)).flatten(-3)

    def extra_repr(self) -> str:
        return f"{self.rep} from {self.product_rep}"


def _products(blocks: list[Block], budget: int) -> list[tuple[int, int, int]]:
    """(s, t, copies): which non-scalar blocks to multiply, and how many copies, within a budget of numbers.

    The smallest product is always there, even where it alone is larger than the budget.
    """
    pairs = combinations_with_replacement([i for i, block in enumerate(blocks) if block.term], 2)
    sizes = sorted((prod(blocks[s].shape) * prod(blocks[t].shape), s, t) for s, t in pairs)
    chosen = []
    for rank, (size, s, t) in enumerate(sizes):
        fitting = max(0, budget) // (size * (len(sizes) - rank))
        copies = min(blocks[s].copies, blocks[t].copies, fitting)
        if copies == 0 and not chosen:
            copies = 1
        if copies:
            chosen.append((s, t, copies))
            budget -= copies * size
    return chosen


class FrozenEMLP(nn.Module):
    """What ``EMLP.dense`` gives: the answers of the model as it is now, without its parameters.

    Args:
        blocks: constants of each block, see ``FrozenBlock``.
        weight: of the last linear map, (out, features).
        bias: of the last linear map, (out,).

    Shapes:
        x (..., rep_in.size) -> (..., rep_out.size).
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, blocks: list[tuple[Tensor, ...]], weight: Tensor, bias: Tensor):
        super().__init__()
        self.size = blocks[0][0].shape[1] if blocks else weight.shape[1]
        frozen: list[FrozenBlock] = []
        for constants in reversed(blocks):
            after = frozen[0].weight if frozen else weight
            block = FrozenBlock(*constants, wanted=(after != 0).any(0).nonzero().squeeze(1))
            if frozen:
                frozen[0].take(block.wanted)
            else:
                weight = weight[:, block.wanted]
            frozen.insert(0, block)
        self.blocks = nn.Sequential(*frozen)
        self.register_buffer("weight", weight.contiguous())
        self.register_buffer("bias", bias)

    def forward(self, x: ArrayLike) -> Tensor:
        x = as_input(x, self.weight)
        if x.shape[-1:] != (self.size,):
            raise ValueError(f"x must have shape (..., {self.size}), got {tuple(x.shape)}")
        rows = self.blocks(x.reshape(-1, self.size).mT)
        return torch.addmm(self.bias, rows.mT, self.weight.mT).view(*x.shape[:-1], len(self.bias))


class FrozenBlock(nn.Module):
    """One block of an ``EMLP``: z = W x + b, y = z + B (z_u z_v), then scalars to silu(y), others times their gate.

    Rows of z: the wanted scalars, the other wanted features, the gates of these, and what only products need.

    Args:
        weight: W of the linear map, (rows, in).
        bias: b of the linear map, (rows,).
        products: the matrix B, (rows, p).
        pairs: rows (2, p) of the full z that are multiplied.
        gates: for each feature the row of the full z that is its gate, -1 for a scalar.
        wanted: the features that are to be given, in the order of the answer.

    Shapes:
        x (in, n) -> (wanted, n), features in rows.
    """

    weight: Tensor
    bias: Tensor
    products: Tensor
    pairs: Tensor
    gate_of: Tensor

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor,
        products: Tensor,
        pairs: Tensor,
        gates: Tensor,
        *,
        wanted: Tensor,
    ):
        super().__init__()
        wanted = wanted[(gates[wanted] >= 0).argsort(stable=True)]
        own = gates[wanted][gates[wanted] >= 0]
        opened, gate_of = own.unique(return_inverse=True)
        changed = torch.cat([wanted, opened])
        useful = (products[changed] != 0).any(0)
        pairs = pairs[:, useful]
        more = pairs.unique()
        rows = torch.cat([changed, more[~torch.isin(more, changed)]])
        place = torch.empty(len(weight), dtype=torch.long, device=weight.device)
        place[rows] = torch.arange(len(rows), device=weight.device)
        self.wanted, self.scalars = wanted, len(wanted) - len(own)
        constants = {
            "weight": weight[rows],
            "bias": bias[rows, None],
            "products": products[changed][:, useful],
        }
        for name, tensor in {**constants, "pairs": place[pairs], "gate_of": gate_of}.items():
            self.register_buffer(name, tensor.contiguous())

    def forward(self, x: Tensor) -> Tensor:
        z = torch.addmm(self.bias, self.weight, x)
        product = z[self.pairs[0]].mul_(z[self.pairs[1]])
        # under autocast z has the lower precision, and what is added in place must have it too
        changed, products = z[: len(self.products)], self.products.to(z.dtype)
        # in place costs no memory, but vmap has no rule for it
        y = changed.addmm(products, product) if is_traced(x) else changed.addmm_(products, product)
        size = self.scalars + len(self.gate_of)
        silu(y[: self.scalars], inplace=True)
        y[self.scalars : size].mul_(y[size:].sigmoid()[self.gate_of])
        return y[:size]

    def take(self, features: Tensor) -> None:
        """From now on the input holds only these of the features, in this order."""
        self.weight = self.weight[:, features].contiguous()

    def extra_repr(self) -> str:
        return f"{self.weight.shape[1]} -> {len(self.wanted)} features, {self.pairs.shape[1]} products"
