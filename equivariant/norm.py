"""Batch normalisation over the entries that exist: mean and variance ignore what the mask leaves out."""

import torch
from torch import Tensor, nn

__all__ = ["MaskedBatchNorm"]


class MaskedBatchNorm(nn.BatchNorm1d):
    """``torch.nn.BatchNorm1d`` over the last axis of x (..., h); ``mask (..., 1)`` is 1 where an entry exists.

    Same parameters, buffers and running statistics as ``BatchNorm1d`` on the rows that exist alone. A batch
    in which nothing exists is left to the running statistics.
    """

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:  # type: ignore[override]
        if self.training:
            mean, variance, count = _moments(x, mask)
            self._track(mean.detach(), variance.detach(), count)
        else:
            mean, variance = self.get_buffer("running_mean"), self.get_buffer("running_var")
        scale = self.weight * (variance + self.eps).rsqrt()
        return torch.addcmul(self.bias - mean * scale, x, scale)

    def _track(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        rate = torch.where(count > 0, self.momentum or 0.0, 0.0)
        unbiased = variance * (count / (count - 1).clamp(min=1))
        with torch.no_grad():
            for name, value in {"running_mean": mean, "running_var": unbiased}.items():
                running = self.get_buffer(name)
                running.lerp_(value.to(running), rate.to(running))
            self.get_buffer("num_batches_tracked").add_(1)


def _moments(x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and biased variance (h,) over the leading axes, and the number of rows."""
    rows = x.flatten(0, -2)
    if mask is None:
        count = torch.tensor(float(len(rows)), dtype=x.dtype, device=x.device)
        weights = rows.new_ones(len(rows), 1)
    else:
        weights = mask.to(x.dtype).expand(*x.shape[:-1], 1).flatten(0, -2)
        count = weights.sum()
    safe = count.clamp(min=1)
    mean = (weights.mT @ rows).squeeze(0) / safe
    centred = rows - mean
    variance = (weights.mT @ (centred * centred)).squeeze(0) / safe
    return mean, variance, count
