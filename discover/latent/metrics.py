"""Errors of a latent model on held-out windows, and the samples that its symmetry is evaluated on."""

from math import ceil

import torch
from torch import Tensor

from discover.data.samples import Part, Samples
from discover.latent.autoencoder import Autoencoder
from discover.latent.group import GivenGroup
from discover.latent.model import LatentModel
from discover.latent.windows import Windows

__all__ = ["encode_windows", "equivariance_error", "latent_samples", "reconstruction_error"]

CHUNK = 4096  # snapshots encoded at a time
MOST = 8000  # windows looked at


def _index(windows: Windows) -> Tensor:
    """Evenly spread windows, all where they are few."""
    return torch.arange(0, len(windows), ceil(len(windows) / MOST), device=windows.starts.device)


def encode_windows(autoencoder: Autoencoder, windows: Windows) -> Tensor:
    """Latent windows (n, w, k), of at most 8,000 evenly spread windows."""
    x = windows.snapshots(_index(windows))
    z = torch.cat([autoencoder.encode_flat(part) for part in x.flatten(0, 1).split(CHUNK)])
    return z.unflatten(0, x.shape[:2])


def reconstruction_error(autoencoder: Autoencoder, windows: Windows) -> float:
    """Relative error |psi(phi(x)) - x| / |x - mean| of snapshots, the error of the reduction included."""
    parts = windows.snapshots(_index(windows))[:, 0].split(CHUNK)
    lost = sum(
        float((autoencoder.decode_flat(autoencoder.encode_flat(p)) - p).double().square().sum())
        for p in parts
    )
    size = sum(float(p.double().square().sum()) for p in parts)
    return (lost / size + float(autoencoder.reduction.residual) ** 2) ** 0.5


def equivariance_error(model: LatentModel, windows: Windows, z: Tensor) -> float | None:
    """Relative error |phi(g x) - g phi(x)| / |z - mean| for known elements, each coordinate against its own size.

    Args:
        model: with a given group.
        windows: with known elements.
        z: their latent windows, from ``encode_windows``.

    Returns:
        The error, or ``None`` where no elements are known.
    """
    w = windows.elements_at(_index(windows))
    if w is None or not isinstance(model.group, GivenGroup):
        return None
    transformed = torch.einsum("nwij,nwj->nwi", model.group.element(w), z[:, :-1])
    errors = (z[:, 1:] - transformed).square().mean((0, 1))
    variance = (z - z.mean((0, 1))).square().mean((0, 1))
    return float((errors / variance.clamp_min(1e-12)).mean().sqrt())


def latent_samples(z: Tensor, windows: Windows, resolution: float, rng: torch.Generator) -> Samples:
    """Latent windows as samples for ``certify``, with noise.

    Without noise any error, however small, is seen on data that lie on a thin set; with it, errors below the
    resolution do not count.

    Args:
        z: latent windows (n, w, k), from ``encode_windows``.
        windows: the same windows, for their labels.
        resolution: standard deviation of the noise, relative to the root mean square of z.
        rng: source of the noise.
    """
    index = _index(windows)
    vectors, numbers = z.double().cpu(), windows.labels_at(index)
    noise = torch.randn(vectors.shape, generator=rng, dtype=vectors.dtype)
    vectors = vectors + resolution * vectors.square().mean().sqrt() * noise
    none = vectors.new_zeros(len(vectors), 0)
    x = Part(vectors=vectors, scalars=none if numbers is None else numbers.double().cpu())
    classes = windows.classes_at(index)
    if classes is None:
        return Samples(x=x, y=None)
    y = Part(vectors=none.reshape(len(vectors), 0, vectors.shape[-1]), scalars=none, labels=classes.cpu())
    return Samples(x=x, y=y)
