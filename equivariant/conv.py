"""LieGNN's block as a PyTorch Geometric layer: the same parameters and formula on any ``edge_index``."""

import torch
from torch import Tensor
from torch.nn.functional import linear
from torch_geometric.nn import MessagePassing
from torch_geometric.typing import OptTensor

from equivariant.block import LieGNNBlock
from equivariant.exact import check_like
from equivariant.pairs import gated_message, move_weights

__all__ = ["LieGNNConv"]


class LieGNNConv(LieGNNBlock, MessagePassing):
    """``LieGNNBlock`` on ragged graphs; a state dict of one loads into the other.

    Args: as ``LieGNNBlock``.

    Shapes: h (N, hidden), x (N, v * k), ``edge_index (2, E)`` from source j (row 0) to target i (row 1),
    scalars (N, s), edge scalars (E, e) -> h, x of the same shapes. A graph without edges gets no messages.
    """

    def forward(  # type: ignore[override]
        self,
        h: Tensor,
        x: Tensor,
        edge_index: Tensor,
        scalars: Tensor | None = None,
        edge_scalars: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        self._check_graph(h, x, edge_index)
        target, source = self._node_terms(h)
        received, moved, degree = self.propagate(
            edge_index, target=target, source=source, x=x, edge_scalars=edge_scalars, size=(len(h), len(h))
        )
        x = x + self.step * moved / degree.clamp(min=1) if self.phi_x is not None else x
        return self._update(h, received, scalars, None), x

    def message(  # type: ignore[override]
        self, target_i: Tensor, source_j: Tensor, x_i: Tensor, x_j: Tensor, edge_scalars: OptTensor
    ) -> Tensor:
        a, b = (x.unflatten(-1, (self.vectors, self.dim)).permute(2, 1, 0) for x in (x_i, x_j))
        dots = torch.einsum("kve,rkl,lve->rve", a, self.metrics.to(a.dtype), b)
        features = self._invariants(a - b, dots, edge_scalars).mT
        maps = self._maps()
        normal = self.phi_e[1](linear(features, maps.first) + target_i + source_j)
        message = gated_message(normal, maps)
        moves = move_weights(message, maps)
        steps = (moves.unsqueeze(-1) * (a - b).permute(2, 1, 0)[:, : moves.shape[1]]).flatten(1)
        steps = steps if self.clamp is None else steps.clamp(-self.clamp, self.clamp)
        return torch.cat([message, steps, message.new_ones(len(message), 1)], dim=-1)

    def update(self, inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # type: ignore[override]
        width = inputs.shape[-1] - self.hidden - 1
        received, moved, degree = inputs.split([self.hidden, width, 1], dim=-1)
        return received, moved, degree

    def _check_graph(self, h: Tensor, x: Tensor, edge_index: Tensor) -> None:
        size = self.vectors * self.dim
        if h.shape[-1] != self.hidden or tuple(x.shape) != (len(h), size):
            raise ValueError(
                f"wanted h (N, {self.hidden}) and x (N, {size}), got {tuple(h.shape)}, {tuple(x.shape)}"
            )
        for name, tensor in {"h": h, "x": x}.items():
            check_like(tensor, self.phi_m[0].weight, name)  # type: ignore[arg-type]
        if edge_index.ndim != 2 or len(edge_index) != 2 or edge_index.is_floating_point():
            raise ValueError(f"edge_index must be integer of shape (2, E), got {tuple(edge_index.shape)}")
        if edge_index.numel() and not torch.compiler.is_compiling():
            low, high = int(edge_index.min()), int(edge_index.max())
            if low < 0 or high >= len(h):
                raise ValueError(f"edge_index must lie in 0..{len(h) - 1}, got {low}..{high}")
