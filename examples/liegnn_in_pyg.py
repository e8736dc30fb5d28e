"""A LieGNN layer in your own PyTorch Geometric model: who is a heavy particle's decay product?

Ragged graphs of four-momenta [GeV]; the target is invariant (pair masses), so the Lorentz metric is given.
Run: python examples/liegnn_in_pyg.py
"""

import torch
from torch import Tensor, nn
from torch_geometric.data import Batch, Data
from torch_geometric.nn import global_mean_pool

from equivariant import LieGNNConv, catalogue, invariant_metrics


class Classifier(nn.Module):
    """Your model: two LieGNN layers among ordinary PyG parts."""

    def __init__(self, metrics: Tensor, hidden: int = 16):
        super().__init__()
        self.embed = nn.Linear(1, hidden)
        self.first = LieGNNConv(metrics, hidden, scalars=1)
        self.second = LieGNNConv(metrics, hidden, scalars=1, update_x=False)
        self.head = nn.Linear(hidden, 1)

    def forward(self, data: Batch) -> Tensor:
        h, x = self.first(self.embed(data.s), data.p, data.edge_index, data.s)
        h, _ = self.second(h, x, data.edge_index, data.s)
        return self.head(global_mean_pool(h, data.batch)).squeeze(-1)


def event(heavy: bool, generator: torch.Generator) -> Data:
    """Four to eight massless momenta; in a heavy event they carry three times the energy."""
    n = int(torch.randint(4, 9, (), generator=generator))
    direction = torch.randn(n, 3, generator=generator)
    p = torch.cat([direction.norm(dim=1, keepdim=True), direction], dim=1) * (3.0 if heavy else 1.0)
    i, j = torch.cartesian_prod(torch.arange(n), torch.arange(n)).T
    edges = torch.stack([i, j])[:, i != j]
    return Data(p=p, s=torch.ones(n, 1), edge_index=edges, y=torch.tensor([float(heavy)]), num_nodes=n)


def main(steps: int = 60) -> float:
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    model = Classifier(invariant_metrics(catalogue.lorentz()).metrics.float())
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(steps):
        batch = Batch.from_data_list([event(i % 2 == 0, generator) for i in range(32)])
        loss = nn.functional.binary_cross_entropy_with_logits(model(batch), batch.y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    test = Batch.from_data_list([event(i % 2 == 0, generator) for i in range(200)])
    with torch.no_grad():
        return float(((model.eval()(test) > 0) == (test.y > 0.5)).float().mean())


if __name__ == "__main__":
    print(f"accuracy {main():.3f}")
