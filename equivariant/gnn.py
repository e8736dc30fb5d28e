"""LieGNN: message passing on point clouds, invariant under every g that keeps the metrics."""

import torch
from torch import Tensor, nn

from equivariant.block import LieGNNBlock, psi
from equivariant.exact import check_like

__all__ = ["LieGNN", "LieGNNBlock", "psi"]


class LieGNN(nn.Module):
    """Classifier or regressor of point clouds, invariant under every g that keeps the metrics.

    Embedding of the node scalars, ``layers`` blocks, mean over the nodes, two linear maps.

    Args:
        metrics: invariant forms (r, k, k) or one (k, k).
        scalars: number s of invariant inputs per node (0: every node starts alike).
        outputs: size of the answer.
        hidden, layers, dropout, step, clamp, vectors, edge_scalars: see ``LieGNNBlock``.
        time: whether a time comes with each graph or node, one more scalar of every node.

    Shapes: ``net(scalars (b, n, s), x (b, n, v * k), mask (b, n))`` -> (b, outputs), and with a time also
    ``time=`` (b,) or (b, n). A node whose mask is False does not exist: whatever it holds, no output and no
    statistic changes.
    """

    def __init__(
        self,
        metrics: Tensor,
        scalars: int,
        outputs: int = 2,
        *,
        hidden: int = 72,
        layers: int = 6,
        dropout: float = 0.2,
        step: float = 5e-3,
        clamp: float | None = None,
        vectors: int = 1,
        edge_scalars: int = 0,
        time: bool = False,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        if layers < 1 or hidden < 1 or outputs < 1 or scalars < 0:
            raise ValueError(f"wanted positive sizes, got {layers=}, {hidden=}, {outputs=}, {scalars=}")
        self.time, self.scalars = time, scalars
        scalars = scalars + time
        kw = {"device": metrics.device, "dtype": dtype}
        self.embedding = nn.Linear(scalars, hidden, **kw)
        self.blocks = nn.ModuleList(
            LieGNNBlock(
                metrics,
                hidden,
                scalars,
                edge_scalars=edge_scalars,
                vectors=vectors,
                step=step,
                clamp=clamp,
                update_x=i + 1 < layers,
                dtype=dtype,
            )
            for i in range(layers)
        )
        self.readout = nn.Sequential(
            nn.Linear(hidden, hidden, **kw), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, outputs, **kw)
        )

    def features(
        self,
        scalars: Tensor,
        x: Tensor,
        mask: Tensor | None = None,
        edge_scalars: Tensor | None = None,
        *,
        time: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Invariant h (b, n, hidden) and equivariant x (b, n, v * k) of every node after all blocks."""
        self._check(scalars, x, mask)
        scalars = self._with_time(scalars, time)
        if mask is not None:
            # what padding holds must not even reach an infinity that 0 * inf would turn into NaN
            scalars, x = (torch.where(mask.unsqueeze(-1), t, 0) for t in (scalars, x))
        h = self.embedding(scalars)
        for block in self.blocks:
            h, x = block(h, x, mask, scalars, edge_scalars)
        return h, x

    def forward(
        self,
        scalars: Tensor,
        x: Tensor,
        mask: Tensor | None = None,
        edge_scalars: Tensor | None = None,
        *,
        time: Tensor | None = None,
    ) -> Tensor:
        h, _ = self.features(scalars, x, mask, edge_scalars, time=time)
        return self.readout(_masked_mean(h, mask))

    def _with_time(self, scalars: Tensor, time: Tensor | None) -> Tensor:
        """The scalars, and the time of each graph or node as the last of them."""
        b, n = scalars.shape[:2]
        if self.time != (time is not None):
            raise ValueError(f"built with time={self.time}, got {'no' if time is None else 'a'} time")
        if time is None:
            return scalars
        if tuple(time.shape) not in ((b,), (b, n)):
            raise ValueError(f"time must have shape ({b},) or ({b}, {n}), got {tuple(time.shape)}")
        check_like(time, scalars, "time")
        time = time.unsqueeze(-1).expand(b, n) if time.ndim == 1 else time
        return torch.cat([scalars, time.unsqueeze(-1)], dim=-1)

    def _check(self, scalars: Tensor, x: Tensor, mask: Tensor | None) -> None:
        block: LieGNNBlock = self.blocks[0]  # type: ignore[assignment]
        size = block.vectors * block.dim
        if x.ndim != 3 or x.shape[-1] != size:
            raise ValueError(f"x must have shape (b, n, {size}), got {tuple(x.shape)}")
        if tuple(scalars.shape) != (*x.shape[:2], self.scalars):
            raise ValueError(
                f"scalars must have shape {(*x.shape[:2], self.scalars)}, got {tuple(scalars.shape)}"
            )
        for name, tensor in {"scalars": scalars, "x": x}.items():
            check_like(tensor, self.embedding.weight, name)
        if mask is not None and (mask.dtype != torch.bool or mask.shape != x.shape[:2]):
            raise ValueError(
                f"mask must be boolean of shape {tuple(x.shape[:2])}, got {mask.dtype} {tuple(mask.shape)}"
            )


def _masked_mean(h: Tensor, mask: Tensor | None) -> Tensor:
    """Mean over the nodes that exist, (b, hidden); zero where there is none."""
    weights = h.new_ones(*h.shape[:-1], 1) if mask is None else mask.to(h.dtype).unsqueeze(-1)
    return (h * weights).sum(-2) / weights.sum(-2).clamp(min=1)
