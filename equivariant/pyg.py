"""LieGNN's block as a PyTorch Geometric layer: the same parameters and formula on any ``edge_index``."""

import torch
from torch import Tensor
from torch.nn.functional import linear
from torch_geometric.data import Data
from torch_geometric.nn import MessagePassing
from torch_geometric.transforms import BaseTransform
from torch_geometric.typing import OptTensor

from equivariant.augment import RandomGroupAction
from equivariant.group import Symmetry
from equivariant.nn.liegnn import LieGNNBlock
from equivariant.nn.pairs import gated_message, move_weights
from equivariant.precision import check_like
from equivariant.rep import Rep

__all__ = ["LieGNNConv", "RandomGroupTransform"]


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


class RandomGroupTransform(BaseTransform):
    """``data.pos -> g data.pos``, ``data.y -> g data.y``, ...: the same g for every row of every named field.

    Args:
        algebra: whose distribution the coefficients follow.
        fields: representation of each field's last axis by name, e.g. ``{"pos": V, "velocity": V}``.
        generator: source of randomness; default PyTorch's own, which DataLoader seeds in each worker.

    The data are copied, not changed; fields that are not named stay. Raises ``ValueError`` for a field that
    the data lack or whose size is not the representation's.
    """

    def __init__(self, algebra: Symmetry, fields: dict[str, Rep], generator: torch.Generator | None = None):
        self.fields = dict(fields)
        self.action = RandomGroupAction(algebra, *self.fields.values(), generator=generator)

    def forward(self, data: Data) -> Data:  # type: ignore[override]
        missing = [name for name in self.fields if getattr(data, name, None) is None]
        if missing:
            raise ValueError(f"the data have no field {missing}; they hold {sorted(data.keys())}")
        tensors = [getattr(data, name).unsqueeze(0) for name in self.fields]
        moved = self.action(*tensors)
        moved = (moved,) if isinstance(moved, torch.Tensor) else moved
        for name, tensor in zip(self.fields, moved, strict=True):
            # BaseTransform.__call__ hands over a shallow copy, so the caller's data keep their tensors
            setattr(data, name, tensor.squeeze(0))
        return data

    def __repr__(self) -> str:
        return f"RandomGroupTransform({', '.join(f'{name}: {rep}' for name, rep in self.fields.items())})"
