"""The block without its symmetry: an edge sees the components psi(x_i), psi(x_j) in place of invariants."""

import torch
from torch import Tensor, nn

from equivariant.block import LieGNNBlock, psi
from equivariant.gnn import LieGNN

__all__ = ["RawBlock", "RawGNN"]


class RawBlock(LieGNNBlock):
    r"""``LieGNNBlock`` whose messages are made of components (the ablation of Gong et al. 2022, 2201.08187).

    .. math:: m_{ij} = \phi_e(h_i, h_j, \psi(x_i), \psi(x_j))

    psi(t) = sign(t) log(1 + |t|) of every component [GeV] brings momenta to the range of the other inputs, as
    it does for the invariants. All else, the moves of x too, is as in ``LieGNNBlock``; of the metrics only
    their size k is read. The first map acts on a concatenation, so nothing is computed per pair for it.
    """

    def __init__(self, metrics: Tensor, hidden: int = 72, scalars: int = 0, **settings):
        super().__init__(metrics, hidden, scalars, **settings)
        weight = self.phi_e[0].weight
        seen = 2 * (hidden + self.vectors * self.dim)
        self.phi_e[0] = nn.Linear(seen, hidden, bias=False, device=weight.device, dtype=weight.dtype)  # type: ignore[arg-type]

    def _edge_inputs(self, h: Tensor, x: Tensor, edge_scalars: Tensor | None) -> tuple[Tensor, Tensor]:
        nothing = x.new_empty(0, *x.shape[:2], x.shape[1])
        return torch.cat([h, psi(x)], dim=-1), nothing

    def _first(self) -> tuple[Tensor, Tensor, Tensor]:
        weight: Tensor = self.phi_e[0].weight  # type: ignore[assignment]
        target, source = weight.chunk(2, dim=1)
        return target, source, weight[:, :0]


class RawGNN(LieGNN):
    """``LieGNN`` of ``RawBlock``s, in shapes and settings the same; no symmetry but that of its node scalars."""

    def __init__(self, scalars: int, outputs: int = 2, *, dimension: int = 4, **settings):
        form = torch.eye(dimension, dtype=torch.float64)
        super().__init__(form, scalars, outputs, **settings)
        self.blocks = nn.ModuleList(_without_symmetry(block) for block in self.blocks)  # type: ignore[arg-type]


def _without_symmetry(block: LieGNNBlock) -> RawBlock:
    return RawBlock(
        block.metrics,
        block.hidden,
        block.scalars,
        vectors=block.vectors,
        step=block.step,
        update_x=block.update_x,
        clamp=block.clamp,
        dtype=block.phi_e[0].weight.dtype,  # type: ignore[arg-type]
    )
