"""The equation of motion keeps the symmetry: z' = f(z) and g z' = f(g z), one vector field for all moved motions.

A field fitted to (g z, g z') alike for every g is the mean of g^-1 f(g z) over the group, which commutes with it; what
it misses of z' is the part of the motion that does not. Equivariance of the flow as a term of a loss: EquivSINDy (Yang
et al. 2024, arXiv 2405.16756), there for an f of monomials and a symmetry that is known.
"""

import torch
from torch import Tensor, nn

__all__ = ["LatentMotion"]


class LatentMotion(nn.Module):
    """A vector field f(z) = A z + b on R^k, with A and b from a network of z and |z|^2; learned beside its latent.

    Any field can be written so; one that turns about the origin is nearly constant in A.
    """

    def __init__(self, latent_dim: int, width: int):
        super().__init__()
        self.network = nn.Sequential(
            nn.Linear(latent_dim + 1, width), nn.GELU(), nn.Linear(width, width), nn.GELU(),
            nn.Linear(width, latent_dim * (latent_dim + 1)),
        )  # fmt: skip

    def forward(self, z: Tensor) -> Tensor:
        """dz/dt at z (n, k)."""
        seen = torch.cat([z, z.square().sum(1, keepdim=True)], dim=1)
        matrix = self.network(seen).unflatten(1, (z.shape[1], -1))
        return torch.einsum("nij,nj->ni", matrix[:, :, 1:], z) + matrix[:, :, 0]

    def loss(self, g: Tensor, z: Tensor, dz: Tensor) -> Tensor:
        """Sum of |f(g z) - g z'|^2 over that of |g z'|^2, with an element g (n, k, k) for each z and z' (n, k).

        All of them get gradients. Nothing is gained by a smaller z' or g z'.
        """
        moved, rates = (torch.einsum("nij,nj->ni", g, vector) for vector in (z, dz))
        tiny = torch.finfo(dz.dtype).tiny
        return (self(moved) - rates).square().sum() / rates.square().sum().clamp(min=tiny)
