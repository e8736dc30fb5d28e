"""
A discovered metric in a layer of your own
==========================================

Noisy generators, as a discovery returns them, have an approximate invariant metric; the metric gives the exact algebra.
The metric then takes the place of the dot product in your own code, here an attention layer, with any signature.
"""

import matplotlib.pyplot as plt
import torch
from torch import Tensor, nn

from equivariant import (
    LieAlgebra,
    V,
    catalogue,
    cosine,
    equivariance_error,
    invariant_metrics,
    nearest_isometries,
)  # fmt: skip

# %%
# The Lorentz algebra with an error of one percent in every entry stands for the result of a discovery.

rng = torch.Generator().manual_seed(0)
truth = catalogue.lorentz()
noise = torch.randn(truth.basis.shape, generator=rng, dtype=torch.float64)
discovered = LieAlgebra(truth.basis + 1e-2 * noise)
found = invariant_metrics(discovered)
exact = nearest_isometries(discovered, found.metrics[0])
closure_before, closure_after = discovered.closure_error(), exact.closure_error()
cosine_with_truth = cosine(exact, truth)
print(f"residual of the metric {found.residual:.1e}")
print(f"closure error {closure_before:.1e} before, {closure_after:.1e} after")
print(f"cosine with so(1,3) {cosine_with_truth:.6f}")

# %%
# The layer reads the metric as a buffer, so it moves with the model and is saved with it.


class InvariantAttention(nn.Module):
    """Points attend to each other by their invariant distance."""

    metric: Tensor

    def __init__(self, metric: Tensor, width: int = 16):
        super().__init__()
        self.register_buffer("metric", metric)
        self.score = nn.Sequential(nn.Linear(1, width), nn.SiLU(), nn.Linear(width, 1))

    def forward(self, x: Tensor) -> Tensor:
        difference = x.unsqueeze(-2) - x.unsqueeze(-3)
        interval = torch.einsum("...i,ij,...j->...", difference, self.metric, difference).unsqueeze(-1)
        weights = self.score(torch.asinh(interval)).softmax(dim=-2)
        return (weights * x.unsqueeze(-3)).sum(-2)


torch.manual_seed(0)
layer = InvariantAttention(found.metrics[0]).double()
points = torch.randn(8, 5 * 4, generator=rng, dtype=torch.float64)
error = equivariance_error(lambda x: layer(x.view(-1, 5, 4)).flatten(1), exact, 5 * V, 5 * V, points)
print(f"equivariance error {error:.1e}")

# %%
plt.matshow(found.metrics[0], cmap="RdBu")
plt.title("the metric found")
plt.colorbar()
plt.show()
