"""What commutes with every linear symmetry: mixing time steps, y_t = sum_s W_ts x_s, with numbers W."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

__all__ = ["Forecaster", "TimeFrame"]


@dataclass(frozen=True, kw_only=True, eq=False)
class TimeFrame:
    """Three matrices over the time axis, made from data; a map built of them commutes with every g.

    Args:
        base: (future, past), the ridge regression of the future steps on the past ones.
        patterns: (m, past), the principal time patterns of the past, each scaled to unit size.
        residual: (future,), the median size of the residual of the base, per future step.
    """

    base: Tensor
    patterns: Tensor
    residual: Tensor

    @classmethod
    def of(cls, x: Tensor, y: Tensor, k: int, *, smoothing: float = 1e-6, rtol: float = 1e-4) -> "TimeFrame":
        """Fit it to windows.

        Args:
            x: flat (n, past * k).
            y: flat (n, future * k).
            k: size of one step.
            smoothing: the ridge, relative to the data's variance; it keeps a jump in one step from being amplified.
            rtol: patterns weaker than this times the strongest are dropped.

        Returns:
            The linear forecast.

        Raises:
            ValueError: for windows of another shape.
        """
        past, future = _steps("x", x, k), _steps("y", y, k)
        inputs, targets = past.transpose(1, 2).flatten(0, 1), future.transpose(1, 2).flatten(0, 1)
        gram = inputs.mT @ inputs
        ridge = smoothing * gram.trace() * torch.eye(len(gram)).to(gram)
        base = torch.linalg.solve(gram + ridge, inputs.mT @ targets).mT
        left = (future - torch.einsum("ts,nsk->ntk", base, past)).square().mean(-1).sqrt()
        residual = left.median(dim=0).values
        residual = residual.clamp(min=1e-12 * float(targets.square().mean().sqrt()))
        return cls(base=base, patterns=_patterns(gram / len(inputs), rtol), residual=residual)

    @property
    def n_patterns(self) -> int:
        """m, how many time patterns a network behind this frame sees."""
        return len(self.patterns)


class Forecaster(nn.Module):
    r"""A network that corrects a linear forecast over the time axis.

    .. math:: y_t = \sum_s W_{ts} x_s + r_t\, f\Big(\sum_s P_{ms} x_s\Big)_t

    W, P, r are numbers and so commute with every g: the forecaster has exactly the symmetry of f.

    Args:
        net: f, from flat (n, m * k) to flat (n, future * k).
        frame: W, P and r.
        k: size of one step.
    """

    base: Tensor
    patterns: Tensor
    residual: Tensor

    def __init__(self, net: nn.Module, frame: TimeFrame, k: int):
        super().__init__()
        self.net, self.k = net, k
        for name in ("base", "patterns", "residual"):
            self.register_buffer(name, getattr(frame, name).to(torch.get_default_dtype()))

    def forward(self, x: Tensor) -> Tensor:
        """x (n, past * k) to y (n, future * k)."""
        past = x.unflatten(-1, (-1, self.k))
        correction = self.net((self.patterns @ past).flatten(-2)).unflatten(-1, (-1, self.k))
        return (self.base @ past + self.residual[:, None] * correction).flatten(-2)

    def extra_repr(self) -> str:
        future, past = self.base.shape
        return f"past={past}, future={future}, patterns={len(self.patterns)}, k={self.k}"


def _patterns(covariance: Tensor, rtol: float) -> Tensor:
    values, vectors = torch.linalg.eigh(covariance)
    size = values.clamp(min=0).sqrt()
    keep = size > rtol * size.max()
    return (vectors[:, keep] / size[keep]).mT.flip(0)


def _steps(name: str, flat: Tensor, k: int) -> Tensor:
    if flat.ndim != 2 or flat.shape[1] == 0 or flat.shape[1] % k:
        raise ValueError(f"{name} must have shape (n, steps * {k}), got {tuple(flat.shape)}")
    return flat.double().unflatten(1, (-1, k))
