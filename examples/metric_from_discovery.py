"""A discovered algebra in e3nn-style code: the metric it leaves invariant takes the place of the dot product.

Noisy generators (as a discovery returns them) give a metric; the metric gives the exact algebra; the layer below
works with any signature, where code for rotations would have |x_i - x_j|^2.
Run: python examples/metric_from_discovery.py
"""

import torch
from torch import Tensor, nn

from equivariant import LieAlgebra, V, catalogue, cosine, equivariance_error, invariant_metrics
from equivariant import nearest_isometries as exact_algebra


class InvariantAttention(nn.Module):
    """A layer of your own: points attend to each other by their invariant distance."""

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


def main() -> dict[str, float]:
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    truth = catalogue.lorentz()
    noise = torch.randn(truth.basis.shape, generator=generator, dtype=torch.float64)
    discovered = LieAlgebra(truth.basis + 1e-2 * noise)
    found = invariant_metrics(discovered)
    refined = exact_algebra(discovered, found.metrics[0])
    layer = InvariantAttention(found.metrics[0]).double()
    x = torch.randn(8, 5 * 4, generator=generator, dtype=torch.float64)
    rep = 5 * V

    def flat(points: Tensor) -> Tensor:
        return layer(points.view(-1, 5, 4)).flatten(1)

    return {
        "metric residual": found.residual,
        "closure before": discovered.closure(),
        "closure after": refined.closure(),
        "cosine with so(1,3)": cosine(refined, truth),
        "equivariance": equivariance_error(flat, refined, rep, rep, x),
    }


if __name__ == "__main__":
    for name, value in main().items():
        print(f"{name:20s} {value:.3g}")
