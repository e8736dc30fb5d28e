"""The baseline: LorentzNet's network as the papers describe it, written plainly with gathers and ``index_add_``."""

import torch
from torch import Tensor, nn

__all__ = ["PlainLieGNN", "complete_edges"]


def psi(t: Tensor) -> Tensor:
    return t.sign() * (t.abs() + 1).log()


def complete_edges(batch: int, nodes: int) -> tuple[Tensor, Tensor]:
    """Target and source of every ordered pair of different nodes, for graphs stored one after another."""
    i, j = torch.cartesian_prod(torch.arange(nodes), torch.arange(nodes)).T
    keep = i != j
    start = nodes * torch.arange(batch)[:, None]
    return (i[keep] + start).flatten(), (j[keep] + start).flatten()


class PlainBlock(nn.Module):
    """One block: concatenate, four small networks, sum by index."""

    metric: Tensor

    def __init__(self, metric: Tensor, hidden: int, scalars: int, step: float, update_x: bool):
        super().__init__()
        self.register_buffer("metric", metric)
        self.step, self.update_x = step, update_x
        self.phi_e = nn.Sequential(
            nn.Linear(2 * hidden + 2, hidden, bias=False),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
            nn.ReLU(),
        )
        self.phi_m = nn.Sequential(nn.Linear(hidden, 1), nn.Sigmoid())
        self.phi_h = nn.Sequential(
            nn.Linear(2 * hidden + scalars, hidden),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Linear(hidden, hidden),
        )
        self.phi_x = nn.Sequential(nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 1, bias=False))

    def forward(self, h: Tensor, x: Tensor, edges: tuple[Tensor, Tensor], s: Tensor) -> tuple[Tensor, Tensor]:
        i, j = edges
        difference = x[i] - x[j]
        norms = ((difference @ self.metric) * difference).sum(1, keepdim=True)
        dots = ((x[i] @ self.metric) * x[j]).sum(1, keepdim=True)
        message = self.phi_e(torch.cat([h[i], h[j], psi(norms), psi(dots)], dim=1))
        message = message * self.phi_m(message)
        if self.update_x:
            moves = (difference * self.phi_x(message)).clamp(-100, 100)
            total = torch.zeros_like(x).index_add_(0, i, moves)
            count = torch.zeros_like(x).index_add_(0, i, torch.ones_like(moves))
            x = x + self.step * total / count.clamp(min=1)
        received = torch.zeros_like(h).index_add_(0, i, message)
        return h + self.phi_h(torch.cat([h, received, s], dim=1)), x


class PlainLieGNN(nn.Module):
    """Embedding, blocks, mean over nodes, read-out; every graph has the same number of nodes."""

    def __init__(
        self, metric: Tensor, scalars: int, outputs: int, hidden: int, layers: int, step: float = 5e-3
    ):
        super().__init__()
        self.embedding = nn.Linear(scalars, hidden)
        self.blocks = nn.ModuleList(
            PlainBlock(metric, hidden, scalars, step, i + 1 < layers) for i in range(layers)
        )
        self.readout = nn.Sequential(
            nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout(0.2), nn.Linear(hidden, outputs)
        )

    def forward(self, scalars: Tensor, x: Tensor, edges: tuple[Tensor, Tensor]) -> Tensor:
        b, n = x.shape[:2]
        flat, x = scalars.flatten(0, 1), x.flatten(0, 1)
        h = self.embedding(flat)
        for block in self.blocks:
            h, x = block(h, x, edges, flat)
        return self.readout(h.view(b, n, -1).mean(1))
