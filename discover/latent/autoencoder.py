"""The map to the latent space and back, z = phi(x) and x = psi(z), rebuilt from a description that json can write."""

from copy import deepcopy
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import Any, cast

import torch
from torch import Tensor, nn

from discover.latent.reduction import Reduction

__all__ = ["Architecture", "Autoencoder"]

KERNEL = 5
SINGLE_CHANNEL = {"mlp": 0, "conv1d": 1, "conv2d": 2}  # axes of a snapshot without a channel axis


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """What an autoencoder is built from.

    Args:
        encoder: ``"mlp"``, ``"conv1d"`` or ``"conv2d"``.
        shape: of one snapshot.
        latent_dim: k.
        modes: coefficients of a snapshot, 0 for its entries.
        width: hidden units, or channels.
        depth: hidden layers, or convolutions of stride two.
        padding: of convolutions, ``"zeros"`` or ``"circular"`` (a ring).

    Raises:
        ValueError: for an unknown encoder or padding, or a shape that does not fit the encoder.
    """

    encoder: str
    shape: tuple[int, ...]
    latent_dim: int
    modes: int
    width: int
    depth: int
    padding: str = "zeros"

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(self.shape))
        if self.encoder not in SINGLE_CHANNEL:
            raise ValueError(f"unknown encoder {self.encoder!r}; choose from {sorted(SINGLE_CHANNEL)}")
        if self.padding not in ("zeros", "circular"):
            raise ValueError(f"unknown padding {self.padding!r}; choose from ['circular', 'zeros']")
        axes = SINGLE_CHANNEL[self.encoder]
        if axes and (len(self.shape) not in (axes, axes + 1) or self.modes):
            raise ValueError(
                f"{self.encoder} takes snapshots of {axes} axes, or {axes + 1} with channels first, and no modes; got "
                f"shape {self.shape} and {self.modes} modes"
            )

    @property
    def size(self) -> int:
        """Entries of one snapshot."""
        return prod(self.shape)


class Autoencoder(nn.Module):
    """Encoder and decoder of snapshots that are reduced to coefficients.

    ``encode`` and ``decode`` are for snapshots (..., *shape), ``encode_flat`` and ``decode_flat`` for coefficients
    (n, r), which the training sees.

    Args:
        architecture: what it is built from.
    """

    def __init__(self, architecture: Architecture):
        super().__init__()
        self.architecture = architecture
        self.reduction = Reduction(architecture.size, architecture.modes)
        a, size = architecture, self.reduction.size
        if a.encoder == "mlp":
            self.encoder = _perceptron(size, a.width, a.depth, a.latent_dim)
            self.decoder = _perceptron(a.latent_dim, a.width, a.depth, size)
        else:
            self.encoder, self.decoder = _convolutions(a)

    def encode_flat(self, coefficients: Tensor) -> Tensor:
        """z (n, k) of coefficients (n, r)."""
        return self.encoder(coefficients * self.reduction.gain)

    def decode_flat(self, z: Tensor) -> Tensor:
        """Coefficients (n, r) of z (n, k)."""
        return self.decoder(z) * self.reduction.spread

    def encode(self, x: Tensor) -> Tensor:
        """z (..., k) of snapshots (..., *shape).

        Raises:
            ValueError: for snapshots of another shape.
        """
        shape = self.architecture.shape
        if x.ndim < len(shape) or tuple(x.shape[x.ndim - len(shape) :]) != shape:
            raise ValueError(
                f"snapshots must have shape (..., {', '.join(map(str, shape))}), got {tuple(x.shape)}"
            )
        lead = x.shape[: x.ndim - len(shape)]
        z = self.encode_flat(self.reduction(x.reshape(-1, self.architecture.size)))
        return z.reshape(*lead, self.architecture.latent_dim)

    def decode(self, z: Tensor) -> Tensor:
        """Snapshots (..., *shape) of z (..., k).

        Raises:
            ValueError: for another k.
        """
        k = self.architecture.latent_dim
        if z.shape[-1:] != (k,):
            raise ValueError(f"latent vectors must have shape (..., {k}), got {tuple(z.shape)}")
        x = self.reduction.inverse(self.decode_flat(z.reshape(-1, k)))
        return x.reshape(*z.shape[:-1], *self.architecture.shape)

    def in_frame(self, frame: Tensor) -> "Autoencoder":
        """A copy with latent vectors F z: F is multiplied into the last layer of the encoder, F^-1 into the first of
        the decoder.

        Args:
            frame: F (k, k), invertible.
        """
        other = deepcopy(self)
        last, first = _end(other.encoder, -1), _end(other.decoder, 0)
        into = frame.double().to(last.weight.device)
        with torch.no_grad():
            last.weight.copy_(into @ last.weight.double())
            last.bias.copy_(into @ last.bias.double())
            first.weight.copy_(first.weight.double() @ torch.linalg.inv(into))
        return other

    def forward(self, x: Tensor) -> Tensor:
        """The reconstruction of snapshots (..., *shape)."""
        return self.decode(self.encode(x))


def _end(layers: nn.Module, index: int) -> nn.Linear:
    """The linear layer that ends an encoder or begins a decoder."""
    return cast(nn.Linear, cast(nn.Sequential, layers)[index])


def _perceptron(size_in: int, width: int, depth: int, size_out: int) -> nn.Sequential:
    """Smooth, since an equation asks for derivatives of the encoder, and those for gradients."""
    sizes = [size_in, *[width] * depth]
    hidden = [layer for i, o in pairwise(sizes) for layer in (nn.Linear(i, o), nn.GELU())]
    return nn.Sequential(*hidden, nn.Linear(sizes[-1], size_out))


def _convolutions(a: Architecture) -> tuple[nn.Module, nn.Module]:
    axes = SINGLE_CHANNEL[a.encoder]
    channels, grid = (1, a.shape) if len(a.shape) == axes else (a.shape[0], a.shape[1:])
    grids = [tuple(grid)]
    for _ in range(a.depth):
        grids.append(tuple((n + 1) // 2 for n in grids[-1]))
    flat = a.width * prod(grids[-1])
    down = [_convolution(a, axes, channels if i == 0 else a.width, a.width, 2) for i in range(a.depth)]
    encoder = nn.Sequential(
        nn.Unflatten(1, (channels, *grid)),
        *_with_activation(down),
        nn.Flatten(),
        nn.Linear(flat, a.latent_dim),
    )
    up = [
        layer
        for i, to in enumerate(reversed(grids[:-1]))
        for layer in (
            nn.GELU(),
            nn.Upsample(size=to),
            _convolution(a, axes, a.width, a.width if i < a.depth - 1 else channels, 1),
        )
    ]
    decoder = nn.Sequential(
        nn.Linear(a.latent_dim, a.width), nn.GELU(), nn.Linear(a.width, flat), nn.Unflatten(1, (a.width, *grids[-1])),
        *up, nn.Flatten(),
    )  # fmt: skip
    return encoder, decoder


def _convolution(a: Architecture, axes: int, size_in: int, size_out: int, stride: int) -> nn.Module:
    kind: Any = nn.Conv1d if axes == 1 else nn.Conv2d
    return kind(size_in, size_out, KERNEL, stride=stride, padding=KERNEL // 2, padding_mode=a.padding)


def _with_activation(layers: list[nn.Module]) -> list[nn.Module]:
    return [part for layer in layers for part in (layer, nn.GELU())]
