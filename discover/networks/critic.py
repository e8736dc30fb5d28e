"""The critic, which tells data (x, y) from transformed data: an MLP on whitened features; classes are embedded."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

__all__ = ["Critic", "multilayer_perceptron"]


def multilayer_perceptron(
    size_in: int, width: int, size_out: int, activation: Callable[[], nn.Module]
) -> nn.Sequential:
    """Two hidden layers.

    Args:
        size_in: inputs.
        width: of both hidden layers.
        size_out: outputs.
        activation: makes the layer between them.
    """
    hidden = [nn.Linear(size_in, width), activation(), nn.Linear(width, width), activation()]
    return nn.Sequential(*hidden, nn.Linear(width, size_out))


class Critic(nn.Module):
    """Logit that a joint sample is real.

    Args:
        features: real joint samples (n, d), whose second moments fix the whitening of the inputs.
        width: hidden width.
        classes: number of class labels, 0 for none.
        embedding: numbers that stand for a class.
        whiten: ``False`` takes the features as they are.
        floor: directions smaller than this, relative to the largest, are scaled as if they had this size.
    """

    whitening: Tensor

    def __init__(
        self,
        features: Tensor,
        *,
        width: int = 64,
        classes: int = 0,
        embedding: int = 32,
        whiten: bool = True,
        floor: float = 1e-3,
    ):
        super().__init__()
        whitening = _whitening(features, floor) if whiten else torch.eye(features.shape[1]).to(features)
        self.register_buffer("whitening", whitening)
        self.labels = nn.Embedding(classes, embedding) if classes else None
        size_in = features.shape[1] + (embedding if classes else 0)
        self.network = multilayer_perceptron(size_in, width, 1, partial(nn.LeakyReLU, 0.2))
        self.to(features)

    def features(self, joint: Tensor) -> Tensor:
        """Whitened features (n, d) of joint samples (n, d)."""
        return joint @ self.whitening

    def forward(self, features: Tensor, labels: Tensor | None = None) -> Tensor:
        """Logits (n,) from whitened features (n, d) and labels (n,)."""
        if self.labels is not None and labels is not None:
            features = torch.cat([features, self.labels(labels)], dim=1)
        return self.network(features).squeeze(1)


def _whitening(features: Tensor, floor: float) -> Tensor:
    moments = features.double().mT @ features.double() / len(features)
    values, vectors = torch.linalg.eigh(moments)
    scale = values.clamp_min(floor**2 * values.max()).clamp_min(torch.finfo(features.dtype).tiny).sqrt()
    return (vectors / scale).to(features)
