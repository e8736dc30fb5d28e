"""PyTorch Geometric: LieGNN's block as a ``MessagePassing`` layer, and augmentation as a transform of ``Data``."""

import torch
from torch import Tensor
from torch.nn.functional import linear
from torch_geometric.data import Data
from torch_geometric.nn import MessagePassing
from torch_geometric.transforms import BaseTransform
from torch_geometric.typing import OptTensor

from equivariant.arrays import ArrayLike, as_tensor
from equivariant.augment import RandomGroupAction
from equivariant.group import Symmetry
from equivariant.nn.liegnn import LieGNNBlock
from equivariant.nn.pairs import gated_message, move_weights
from equivariant.precision import as_input, as_optional_input
from equivariant.rep import Rep

__all__ = ["LieGNNConv", "RandomGroupTransform"]


class LieGNNConv(LieGNNBlock, MessagePassing):
    """``LieGNNBlock`` on ragged graphs; a state dict of one loads into the other.

    Args:
        metrics: invariant forms (r, k, k) or one (k, k), e.g. ``invariant_metrics(algebra).metrics``.
        hidden: width of h.
        scalars: number s of invariant inputs per node.
        edge_scalars: number e of invariant inputs per edge.
        vectors: number v of vectors per node, side by side in the last axis of x.
        step: size of the steps of x.
        update_x: False leaves x as it is (the last layer of a classifier).
        clamp: bound on each component of a step; see ``LieGNNBlock``.
        dtype: of the parameters; default PyTorch's default dtype.

    Shapes:
        h (N, hidden), x (N, v * k), ``edge_index (2, E)`` from source j (row 0) to target i (row 1), scalars (N, s),
        edge scalars (E, e) -> h, x of the same shapes. A graph without edges gets no messages.

    Raises:
        ValueError: for inputs of another shape, dtype or device, and edges of nodes that do not exist.

    Example:
        >>> layer = LieGNNConv(torch.eye(3), hidden=8)
        >>> h, x = layer(torch.zeros(4, 8), torch.randn(4, 3), torch.tensor([[0, 1, 2], [1, 2, 3]]))
        >>> h.shape, x.shape
        (torch.Size([4, 8]), torch.Size([4, 3]))
    """

    def forward(  # type: ignore[override]
        self,
        h: ArrayLike,
        x: ArrayLike,
        edge_index: ArrayLike,
        scalars: ArrayLike | None = None,
        edge_scalars: ArrayLike | None = None,
    ) -> tuple[Tensor, Tensor]:
        like: Tensor = self.phi_m[0].weight  # type: ignore[assignment]
        h = as_input(h, like, "h", ("N", self.hidden))
        nodes = len(h)
        x = as_input(x, like, "x", (nodes, self.vectors * self.dim))
        edge_index = self._edges(as_tensor(edge_index, "edge_index"), nodes)
        scalars = as_optional_input(scalars, like, "scalars", (nodes, self.scalars))
        edges = edge_index.shape[1]
        edge_scalars = as_optional_input(edge_scalars, like, "edge_scalars", (edges, self.edge_scalars))
        target, source = self._node_terms(h)
        received, moved, degree = self.propagate(
            edge_index, target=target, source=source, x=x, edge_scalars=edge_scalars, size=(nodes, nodes)
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

    @staticmethod
    def _edges(edge_index: Tensor, nodes: int) -> Tensor:
        """Edges as int64, once they are pairs of nodes that exist."""
        whole = not (edge_index.is_floating_point() or edge_index.dtype == torch.bool)
        if edge_index.ndim != 2 or len(edge_index) != 2 or not (whole or edge_index.numel() == 0):
            raise ValueError(
                "edge_index must be whole numbers of shape (2, E), "
                f"got {edge_index.dtype} of shape {tuple(edge_index.shape)}"
            )
        if edge_index.numel() and not (torch.compiler.is_compiling() or edge_index.is_meta):
            low, high = int(edge_index.min()), int(edge_index.max())
            if low < 0 or high >= nodes:
                raise ValueError(f"edge_index must lie in 0..{nodes - 1}, got {low}..{high}")
        return edge_index.long()


class RandomGroupTransform(BaseTransform):
    """``data.pos -> g data.pos``, ``data.y -> g data.y``, ...: the same random g for every row of every named field.

    The data are copied, not changed; fields that are not named stay.

    Args:
        algebra: whose distribution the coefficients follow.
        fields: representation of each field's last axis by name, e.g. ``{"pos": V, "velocity": V}``.
        generator: source of randomness; default PyTorch's own. In a ``DataLoader`` every worker draws differently.

    Raises:
        ValueError: when called, for a field that the data lack or whose size is not the representation's.

    Example:
        >>> from equivariant import V, catalogue
        >>> rotate = RandomGroupTransform(catalogue.rotation(3), {"pos": V})
        >>> data = Data(pos=torch.eye(3))
        >>> torch.allclose(rotate(data).pos.norm(dim=1), torch.ones(3))
        True
    """

    def __init__(self, algebra: Symmetry, fields: dict[str, Rep], generator: torch.Generator | None = None):
        self.fields = dict(fields)
        self.action = RandomGroupAction(algebra, *self.fields.values(), generator=generator)

    def forward(self, data: Data) -> Data:  # type: ignore[override]
        """The data with the named fields transformed by one random g.

        Args:
            data: what a data set gives.

        Returns:
            The same object as came in; a call hands over a shallow copy.
        """
        missing = [name for name in self.fields if getattr(data, name, None) is None]
        if missing:
            raise ValueError(f"the data have no field {missing}; they hold {sorted(data.keys())}")
        given = self.action(*(getattr(data, name).unsqueeze(0) for name in self.fields))
        for name, tensor in zip(self.fields, given if isinstance(given, tuple) else (given,), strict=True):
            # BaseTransform.__call__ hands over a shallow copy, so the caller's data keep their tensors
            setattr(data, name, tensor.squeeze(0))
        return data

    def __repr__(self) -> str:
        return f"RandomGroupTransform({', '.join(f'{name}: {rep}' for name, rep in self.fields.items())})"
