"""A predictor of y from x: an MLP for the part of y that is not equivariant under every linear group."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from discover.data.samples import Part, Samples
from discover.networks.critic import Critic, multilayer_perceptron

__all__ = ["Predictor", "target_of"]


class Predictor(nn.Module):
    """An MLP for the part of y that is no fixed combination of the vectors of x.

    Combinations A x over copies are equivariant under every linear group and so say nothing about any; they are fitted
    by least squares and subtracted. The first ``vectors`` times k entries of an output transform as vectors. Scalars
    are standardised; labels are predicted as probabilities (Brier score).

    Args:
        samples: to be fitted to.
        width: of both hidden layers.
    """

    def __init__(self, samples: Samples, *, width: int = 128):
        super().__init__()
        x, y = samples.x, target_of(samples)
        self.classes, self.vectors = samples.classes, y.vectors.shape[1]
        self.combination = nn.Buffer(_combination(x.vectors, y.vectors))
        rest = self._rest(samples)
        self.center, self.scale = nn.Buffer(_centers(rest, y)), nn.Buffer(_scales(rest, y))
        self.whitening = nn.Buffer(Critic(x.flat(), width=1).whitening)
        size_out = rest.shape[1] + self.classes
        self.network = multilayer_perceptron(x.flat().shape[1], width, size_out, nn.SiLU).to(rest)

    def features(self, x: Part) -> Tensor:
        """Whitened inputs (n, d)."""
        return x.flat() @ self.whitening

    def forward(self, x: Part) -> Tensor:
        """Predictions (n, o): what is left of y, standardised, then the probabilities of the classes."""
        out = self.network(self.features(x))
        numbers = out.shape[1] - self.classes
        return torch.cat([out[:, :numbers], out[:, numbers:].softmax(dim=1)], dim=1)

    def jvp(self, x: Part, tangent: Tensor) -> tuple[Tensor, Tensor]:
        """Value (n, o), and derivative (n, o) along a tangent, of what is left of y and of the centred logits.

        Args:
            x: inputs.
            tangent: of their vectors, (n, m, k).
        """
        fixed = torch.zeros_like(x.scalars)
        direction = torch.cat([tangent.flatten(1), fixed], dim=1) @ self.whitening
        value, derivative = torch.func.jvp(self._scores, (self.features(x),), (direction,))[:2]
        return value, derivative

    def _scores(self, features: Tensor) -> Tensor:
        out = self.network(features)
        numbers = out.shape[1] - self.classes
        if not self.classes:
            return out
        logits = out[:, numbers:]
        return torch.cat([out[:, :numbers], logits - logits.mean(1, keepdim=True)], dim=1)

    def error(self, samples: Samples) -> Tensor:
        """Squared error (n,)."""
        return (self(samples.x) - self._target(samples)).square().sum(1)

    def loss(self, samples: Samples) -> Tensor:
        """Mean squared error (Brier score for labels)."""
        return self.error(samples).mean()

    def explained_variance(self, samples: Samples) -> float:
        """R^2: one minus the error over that of the best constant; 0 for a target that never changes."""
        target = self._target(samples)
        baseline = (target - target.mean(0)).square().sum(1)
        return 1 - float(self.error(samples).mean() / baseline.mean()) if baseline.any() else 0.0

    def largest_growth(self, samples: Samples, transformed: Samples, rng: torch.Generator) -> Tensor:
        """How much the squared error (n,) would grow under g if prediction and target were unrelated.

        For vectors, the distance by which g moves the target. Scalars and labels do not move: there, the distance
        between the predictions for two samples.

        Args:
            samples: (x, y).
            transformed: (g x, g y).
            rng: pairs the samples.
        """
        after, before = self._target(transformed), self._target(samples)
        vectors = target_of(samples).vectors.flatten(1).shape[1]
        prediction = self(samples.x)
        shuffle = torch.randperm(len(before), generator=rng, device=rng.device)
        exchanged = (prediction[shuffle] - prediction)[:, vectors:].square().sum(1)
        return (after - before)[:, :vectors].square().sum(1) + exchanged

    def _rest(self, samples: Samples) -> Tensor:
        y = target_of(samples)
        rest = y.vectors - torch.einsum("ts,nsk->ntk", self.combination, samples.x.vectors)
        return torch.cat([rest.flatten(1), y.scalars], dim=1)

    def _target(self, samples: Samples) -> Tensor:
        rest = (self._rest(samples) - self.center) / self.scale
        labels = samples.labels
        return rest if labels is None else torch.cat([rest, F.one_hot(labels, self.classes).to(rest)], dim=1)


def target_of(samples: Samples) -> Part:
    """The target y. Raises ``ValueError`` where there is none."""
    if samples.y is None:
        raise ValueError("a predictor needs a target y, got none")
    return samples.y


def _combination(x: Tensor, y: Tensor) -> Tensor:
    """A (t, s) by least squares: y_t = sum_s A_ts x_s for vectors x (n, s, k), y (n, t, k)."""
    inputs, outputs = (v.double().transpose(1, 2).flatten(0, 1) for v in (x, y))
    return (torch.linalg.pinv(inputs) @ outputs).mT.to(x)


def _centers(rest: Tensor, y: Part) -> Tensor:
    """Zero for vectors, whose origin is the fixed point of the group; the mean for scalars."""
    centers = rest.mean(0)
    centers[: y.vectors.flatten(1).shape[1]] = 0
    return centers


def _scales(rest: Tensor, y: Part) -> Tensor:
    """One scale for all entries of all vectors, so that scaling is equivariant; one for each scalar."""
    vectors = y.vectors.flatten(1).shape[1]
    scales = (rest - rest.mean(0)).square().mean(0).sqrt()
    scales[:vectors] = rest[:, :vectors].square().mean().sqrt() if vectors else 1
    return torch.where(scales > 0, scales, 1)
