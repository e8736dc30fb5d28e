"""What held-out windows say of an autoencoder and a group: relative errors, and samples for a verdict."""

from math import ceil

import torch
from torch import Tensor

from discover.data.samples import Part, Samples
from discover.latent.autoencoder import Autoencoder
from discover.latent.group import GivenGroup
from discover.latent.trainer import Players
from discover.latent.windows import Windows

__all__ = ["encoded", "equivariance_error", "reconstruction_error", "samples_of"]

CHUNK = 4096  # snapshots encoded at a time
MOST = 8000  # windows looked at


def _index(windows: Windows) -> Tensor:
    """Evenly spread windows, all where they are few."""
    return torch.arange(0, len(windows), ceil(len(windows) / MOST), device=windows.starts.device)


def encoded(autoencoder: Autoencoder, windows: Windows) -> Tensor:
    """Latent windows (n, w, k)."""
    x = windows.snapshots(_index(windows))
    z = torch.cat([autoencoder.inward(part) for part in x.flatten(0, 1).split(CHUNK)])
    return z.unflatten(0, x.shape[:2])


def reconstruction_error(autoencoder: Autoencoder, windows: Windows) -> float:
    """Relative error |psi(phi(x)) - x| / |x - mean| of snapshots, with what the reduction leaves out."""
    x = windows.snapshots(_index(windows))[:, 0]
    parts = x.split(CHUNK)
    lost = sum(float((autoencoder.outward(autoencoder.inward(p)) - p).double().square().sum()) for p in parts)
    size = sum(float(p.double().square().sum()) for p in parts)
    return (lost / size + float(autoencoder.reduction.residual) ** 2) ** 0.5


def equivariance_error(players: Players, windows: Windows, z: Tensor) -> float | None:
    """Relative error |phi(g x) - g phi(x)| / |z - mean|, each coordinate against its own size; else ``None``."""
    w = windows.moves(_index(windows))
    if w is None or not isinstance(players.group, GivenGroup):
        return None
    moved = torch.einsum("nwij,nwj->nwi", players.group.element(w), z[:, :-1])
    errors = (z[:, 1:] - moved).square().mean((0, 1))
    variance = (z - z.mean((0, 1))).square().mean((0, 1))
    return float((errors / variance.clamp_min(1e-12)).mean().sqrt())


def samples_of(z: Tensor, windows: Windows, resolution: float, random: torch.Generator) -> Samples:
    """Windows z (n, w, k) with their labels, as ``certify`` reads them, blurred by ``resolution`` of their size.

    Data on a thin set give any error away, however small; blurred, errors below the resolution are forgiven.
    """
    index = _index(windows)
    vectors, numbers = z.double().cpu(), windows.invariants(index)
    blur = torch.randn(vectors.shape, generator=random, dtype=vectors.dtype)
    vectors = vectors + resolution * vectors.square().mean().sqrt() * blur
    none = vectors.new_zeros(len(vectors), 0)
    scalars = none if numbers is None else numbers.double().cpu()
    x = Part(vectors=vectors, scalars=scalars)
    kinds = windows.kinds(index)
    if kinds is None:
        return Samples(x=x, y=None)
    y = Part(vectors=none.reshape(len(vectors), 0, vectors.shape[-1]), scalars=none, labels=kinds.cpu())
    return Samples(x=x, y=y)
