"""Equivariant linear layer: y = W x + b with W = sum_a theta_a Q_a, Q a basis of Hom(rep_in, rep_out)."""

from math import prod

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from equivariant.arrays import ArrayLike
from equivariant.group import Group, Symmetry
from equivariant.intertwiners import MapSolver
from equivariant.precision import ExactConstants, as_input
from equivariant.rep import Rep

__all__ = ["EquivariantLinear"]


class EquivariantLinear(ExactConstants):
    r"""Every linear map that commutes with the group, learned (Finzi et al. 2021, arXiv 2104.09459).

    .. math:: y = W x + b, \qquad \rho_{out}(g) W = W \rho_{in}(g), \quad \rho_{out}(g) b = b

    Terms are solved in pairs, one copy each; m copies to n copies then cost n x m weights per solution and no
    further solving. The weight matrix is assembled once per call, never per sample.

    The solved maps are part of the state dict. One whose maps span another space, that of another group, is refused.

    Args:
        rep_in: how the last axis of the input is built.
        rep_out: how the last axis of the output is built.
        algebra: a ``LieAlgebra``, a ``Group``, or a sequence of them for a product.
        bias: add the invariant vectors of ``rep_out``.
        rtol: level of noise of the generators, see ``equivariant.nullspace``.
        solver: shared between layers so that no pair is solved twice.
        dtype: of the parameters; default PyTorch's default dtype.
        gain: variance of the output over that of the input at the start.

    Attributes:
        residual: the largest relative violation of the solved maps: rounding for an exact algebra, the level of
            noise for a noisy one.

    Shapes:
        x (..., rep_in.size) -> (..., rep_out.size).

    Raises:
        ValueError: where the group acts about another point than zero.

    Example:
        >>> from equivariant import V, catalogue
        >>> EquivariantLinear(2 * V, V, catalogue.lorentz())
        EquivariantLinear(2*V -> V, weights=2, residual=...)
    """

    theta: Tensor

    def __init__(
        self,
        rep_in: Rep,
        rep_out: Rep,
        algebra: Symmetry,
        bias: bool = True,
        *,
        rtol: float | None = None,
        solver: MapSolver | None = None,
        dtype: torch.dtype | None = None,
        gain: float = 1.0,
    ):
        super().__init__()
        self.gain = gain
        group = Group.of(algebra)
        group.check_origin()
        solver = MapSolver(group, rtol=rtol) if solver is None else solver
        with group.device:  # under torch.device("meta") the maps must still be solved
            self._set_up(rep_in, rep_out, group, solver, bias, dtype)

    def _set_up(
        self,
        rep_in: Rep,
        rep_out: Rep,
        group: Group,
        solver: MapSolver,
        bias: bool,
        dtype: torch.dtype | None,
    ) -> None:
        self.rep_in, self.rep_out, self.dims = rep_in, rep_out, group.dims
        self.in_blocks, self.out_blocks = rep_in.blocks(group.dims), rep_out.blocks(group.dims)
        self.residual = 0.0
        self._pairs = [(a, b) for a in range(len(self.out_blocks)) for b in range(len(self.in_blocks))]
        self._sizes = [self._register(f"map_{a}_{b}", a, b, solver) for a, b in self._pairs]
        self._bias_sizes = [
            self._register(f"map_{a}_bias", a, None, solver) for a in range(len(rep_out.terms))
        ]
        self.theta = nn.Parameter(torch.empty(sum(self._sizes), device=group.device, dtype=dtype))
        self.bias = nn.Parameter(self.theta.new_empty(sum(self._bias_sizes))) if bias else None
        self.reset_parameters()

    def _register(self, name: str, a: int, b: int | None, solver: MapSolver) -> int:
        """Store the maps of one pair of blocks as a buffer (n, o, i); returns their number of weights."""
        out = self.out_blocks[a]
        term, copies, shape = ((), 1, ()) if b is None else self.in_blocks[b][:3]
        found = solver(out.term, term)
        self.residual = max(self.residual, found.residual)
        self.register_buffer(name, found.basis.reshape(found.dim, prod(out.shape), prod(shape)))
        return found.dim * out.copies * copies

    def reset_parameters(self) -> None:
        """Uniform weights that give every output entry ``gain`` times the variance of the input's."""
        with torch.no_grad():
            for part, (a, b) in zip(self.theta.split(self._sizes), self._pairs, strict=True):
                part.uniform_(-1, 1).mul_(self._bound(a, b))
            if self.bias is not None:
                self.bias.uniform_(-1, 1).mul_(max(self.rep_in.size(self.dims), 1) ** -0.5)

    def _bound(self, a: int, b: int) -> float:
        """n maps of norm one from m copies give o entries the variance n m / o, uniform weights a third of it."""
        o = prod(self.out_blocks[a].shape)
        inputs = [len(self._maps(a, i)) * block.copies for i, block in enumerate(self.in_blocks)]
        return (3 * self.gain * o / max(sum(inputs), 1)) ** 0.5

    def _maps(self, a: int, b: int | str) -> Tensor:
        return self.get_buffer(f"map_{a}_{b}")

    def weight(self) -> Tensor:
        """The dense weight matrix (out, in)."""
        parts = dict(zip(self._pairs, self.theta.split(self._sizes), strict=True))
        rows = [self.theta.new_zeros(0, self.rep_in.size(self.dims))]
        for a, out in enumerate(self.out_blocks):
            row = [self.theta.new_zeros(out.stop - out.start, 0)]
            for b, into in enumerate(self.in_blocks):
                row.append(_assemble(parts[a, b], self._maps(a, b), out.copies, into.copies))
            rows.append(torch.cat(row, dim=1))
        return torch.cat(rows)

    def bias_vector(self) -> Tensor | None:
        """The dense bias (out,), or None."""
        if self.bias is None:
            return None
        parts = zip(self.bias.split(self._bias_sizes), self.out_blocks, strict=True)
        columns = [_assemble(p, self._maps(a, "bias"), out.copies, 1) for a, (p, out) in enumerate(parts)]
        return torch.cat([self.bias.new_zeros(0, 1), *columns]).squeeze(1)

    def forward(self, x: ArrayLike) -> Tensor:
        x = as_input(x, self.theta)
        self.rep_in.check(x, self.dims)
        return linear(x, self.weight(), self.bias_vector())

    def _same_group(self, name: str, own: Tensor, given: Tensor) -> bool:
        """Whether the maps (n, o, i) span the same space."""
        first, second = own.flatten(1).mT, given.flatten(1).mT
        outside = second - first @ torch.linalg.lstsq(first, second).solution
        return bool(outside.norm() <= 1e-4 * second.norm())

    def dense(self) -> nn.Linear:
        """A plain ``torch.nn.Linear`` with the present weights, for evaluation; it stays as it is."""
        weight, bias = self.weight().detach(), self.bias_vector()
        layer = nn.Linear(weight.shape[1], weight.shape[0], bias is not None, weight.device, weight.dtype)
        layer.weight.data = weight
        if bias is not None:
            layer.bias.data = bias.detach()
        return layer

    def extra_repr(self) -> str:
        weights = self.theta.numel()
        return f"{self.rep_in} -> {self.rep_out}, weights={weights}, residual={self.residual:.1e}"


def _assemble(theta: Tensor, maps: Tensor, copies_out: int, copies_in: int) -> Tensor:
    """sum_n theta_pqn Q_noi as a matrix (p o, q i)."""
    n, o, i = maps.shape
    if n == 0:
        return theta.new_zeros(copies_out * o, copies_in * i)
    mixed = theta.view(copies_out, copies_in, n) @ maps.to(theta.dtype).flatten(1)
    return mixed.view(copies_out, copies_in, o, i).transpose(1, 2).reshape(copies_out * o, copies_in * i)
