"""What LaLiGAN learns: an autoencoder, a group on its latent space and, on demand, an equation and a vector field."""

import torch
from torch import Tensor, nn

from discover.equations.joint import LatentEquation
from discover.latent.autoencoder import Autoencoder
from discover.latent.group import GivenGroup, LatentGenerator

__all__ = ["LatentModel", "LatentMotion", "anchor_loss", "equivariance_loss"]

LEAST_VARIANCE = 1e-4  # of a direction of the latent, relative to the mean of all


class LatentModel(nn.Module):
    """Everything whose running average is the result.

    Args:
        autoencoder: between snapshots and latent vectors.
        group: acts on latent vectors.
        equation: of motion of the latent vectors.
        motion: vector field that is to be equivariant.
    """

    def __init__(
        self,
        autoencoder: Autoencoder,
        group: LatentGenerator | GivenGroup,
        equation: LatentEquation | None = None,
        motion: "LatentMotion | None" = None,
    ):
        super().__init__()
        self.autoencoder, self.group, self.equation, self.motion = autoencoder, group, equation, motion

    def encode(self, x: Tensor) -> Tensor:
        """Latent windows (n, w, k) of windows of coefficients (n, w, r)."""
        return self.autoencoder.encode_flat(x.flatten(0, 1)).unflatten(0, x.shape[:2])

    def decode(self, z: Tensor) -> Tensor:
        """Windows of coefficients (n, w, r) of latent windows (n, w, k)."""
        return self.autoencoder.decode_flat(z.flatten(0, 1)).unflatten(0, z.shape[:2])


class LatentMotion(nn.Module):
    """A vector field f(z) = A z + b on R^k, with A and b from a network of z and |z|^2.

    Any field can be written so; for one that rotates about the origin A is nearly constant. Fitted to (g z, g z')
    alike for every g, f is the mean of g^-1 f(g z) over the group, which is equivariant; its error is the part of the
    motion that is not. Equivariance of the flow as a term of a loss: EquivSINDy (Yang et al. 2024, arXiv 2405.16756),
    there for an f of monomials and a symmetry that is known.

    Args:
        latent_dim: k.
        width: of the two hidden layers.
    """

    def __init__(self, latent_dim: int, width: int):
        super().__init__()
        self.network = nn.Sequential(
            nn.Linear(latent_dim + 1, width), nn.GELU(), nn.Linear(width, width), nn.GELU(),
            nn.Linear(width, latent_dim * (latent_dim + 1)),
        )  # fmt: skip

    def forward(self, z: Tensor) -> Tensor:
        """dz/dt at z (n, k)."""
        features = torch.cat([z, z.square().sum(1, keepdim=True)], dim=1)
        matrix = self.network(features).unflatten(1, (z.shape[1], -1))
        return torch.einsum("nij,nj->ni", matrix[:, :, 1:], z) + matrix[:, :, 0]

    def loss(self, g: Tensor, z: Tensor, dz: Tensor) -> Tensor:
        """Sum of |f(g z) - g z'|^2 over the sum of |g z'|^2, differentiable in everything.

        Args:
            g: group elements (n, k, k).
            z: latent vectors (n, k).
            dz: their rates of change z' (n, k).
        """
        transformed, rates = (torch.einsum("nij,nj->ni", g, vector) for vector in (z, dz))
        tiny = torch.finfo(dz.dtype).tiny
        return (self(transformed) - rates).square().sum() / rates.square().sum().clamp(min=tiny)


def anchor_loss(z: Tensor) -> Tensor:
    """|mean z|^2 + |cov z - 1|^2 of latent windows (n, w, k)."""
    flat = z.flatten(0, 1)
    mean = flat.mean(0)
    covariance = (flat - mean).mT @ (flat - mean) / len(flat)
    unit = torch.eye(len(mean), device=z.device, dtype=z.dtype)
    return mean.square().sum() + (covariance - unit).square().sum()


def equivariance_loss(group: GivenGroup, z: Tensor, coefficients: Tensor) -> Tensor:
    """Mean of |z_t+1 - g_t z_t|^2 in units in which z has unit covariance, so that no direction can shrink unseen.

    Args:
        group: of the elements g.
        z: latent windows (n, w, k).
        coefficients: of the elements g_t, (n, w - 1, c).
    """
    transformed = torch.einsum("nwij,nwj->nwi", group.element(coefficients), z[:, :-1])
    flat = z.flatten(0, 1)
    centred = flat - flat.mean(0)
    covariance = centred.mT @ centred / len(flat)
    floor = LEAST_VARIANCE * covariance.diagonal().mean().clamp_min(1e-12)
    unit = torch.eye(flat.shape[1], device=z.device, dtype=z.dtype)
    factor = torch.linalg.cholesky(covariance + floor * unit)
    errors = (z[:, 1:] - transformed).flatten(0, -2).mT
    return torch.linalg.solve_triangular(factor, errors, upper=False).mT.square().mean()
