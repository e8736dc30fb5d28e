"""
LieGNN layers in a PyTorch Geometric model
==========================================

Who comes from a heavy particle? Events are ragged graphs of four-momenta (E, px, py, pz) in GeV. The answer depends on
masses of pairs, which are Lorentz invariants, so the layer is given the Lorentz metric. A metric that was discovered
goes in the same place.
"""

import matplotlib.pyplot as plt
import torch
from torch import Tensor, nn
from torch_geometric.data import Batch, Data
from torch_geometric.nn import global_mean_pool

from equivariant import LieGNNConv, catalogue, invariant_metrics

# %%
# The metrics J of an algebra solve L\ :sup:`T` J + J L = 0 for every generator L. The Lorentz algebra has one.

found = invariant_metrics(catalogue.lorentz())
print(found.metrics)

# %%
# ``LieGNNConv`` takes node features, positions (here momenta) and ``edge_index``, like every layer of PyG.


class Classifier(nn.Module):
    """Two LieGNN layers among ordinary parts of PyG."""

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


rng = torch.Generator().manual_seed(0)


def event(heavy: bool) -> Data:
    """Four to eight massless momenta; in a heavy event they carry three times the energy."""
    n = int(torch.randint(4, 9, (), generator=rng))
    direction = torch.randn(n, 3, generator=rng)
    p = torch.cat([direction.norm(dim=1, keepdim=True), direction], dim=1) * (3.0 if heavy else 1.0)
    i, j = torch.cartesian_prod(torch.arange(n), torch.arange(n)).T
    edges = torch.stack([i, j])[:, i != j]
    return Data(p=p, s=torch.ones(n, 1), edge_index=edges, y=torch.tensor([float(heavy)]), num_nodes=n)


# %%
torch.manual_seed(0)
model = Classifier(found.metrics.float())
optimizer = torch.optim.Adam(model.parameters(), 1e-2)
losses = []
for _ in range(60):
    batch = Batch.from_data_list([event(i % 2 == 0) for i in range(32)])
    loss = nn.functional.binary_cross_entropy_with_logits(model(batch), batch.y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(float(loss.detach()))

# %%
# The score of an event does not change when the whole event is boosted.

test = Batch.from_data_list([event(i % 2 == 0) for i in range(200)])
boosted = test.clone()
boost = catalogue.lorentz().element(torch.tensor([0.0, 0.0, 0.0, 0.5, 0.0, 0.0], dtype=torch.float64))
boosted.p = test.p @ boost.float().T
model.eval()
with torch.no_grad():
    accuracy = float(((model(test) > 0) == (test.y > 0.5)).float().mean())
    change = float((model(test) - model(boosted)).abs().max())
print(f"accuracy {accuracy:.3f}; largest change of a score under the boost {change:.1e}")

# %%
plt.plot(losses)
plt.xlabel("step")
plt.ylabel("training loss")
plt.show()
