"""Batch normalisation over the entries that exist, then ReLU: y = relu(gamma (x - mean) / std + beta)."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

__all__ = ["MaskedBatchNorm"]


class MaskedBatchNorm(nn.BatchNorm1d):
    """``torch.nn.BatchNorm1d`` over the last axis of x (..., h); ``mask (..., 1)`` is 1 where an entry exists.

    Same parameters, buffers and running statistics as ``BatchNorm1d`` on the rows that exist alone. A batch
    in which nothing exists is left to the running statistics.
    """

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:  # type: ignore[override]
        if self.training:
            mean, variance, count = _moments(x, _weights(x, mask))
            self._track(mean.detach(), variance.detach(), count)
        else:
            mean, variance = self.get_buffer("running_mean"), self.get_buffer("running_var")
        scale = self.weight * (variance + self.eps).rsqrt()
        return torch.addcmul(self.bias - mean * scale, x, scale)

    def relu(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """relu(norm(x)), for the large tensors of edges: keeps two of them for backward in place of eight.

        In training its gradient can be taken once, not twice, and must be zero where the mask is, as it is
        behind a masked sum.
        """
        if not self.training:
            return self(x, mask).relu_()
        weights = _weights(x, mask)
        y, mean, variance, count = _NormRelu.apply(
            x.flatten(0, -2), weights, self.weight, self.bias, self.eps
        )
        self._track(mean, variance, count)
        return y.view(x.shape)

    def _track(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        rate = torch.where(count > 0, self.momentum or 0.0, 0.0)
        unbiased = variance * (count / (count - 1).clamp(min=1))
        with torch.no_grad():
            for name, value in {"running_mean": mean, "running_var": unbiased}.items():
                running = self.get_buffer(name)
                running.lerp_(value.to(running), rate.to(running))
            self.get_buffer("num_batches_tracked").add_(1)


class _NormRelu(torch.autograd.Function):
    """relu(gamma (x - mean) / std + beta) of rows (m, h), with mean and std over rows of weight one."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, weights: Tensor, gamma: Tensor, beta: Tensor, eps: float) -> tuple[Tensor, ...]:
        mean, variance, count = _moments(x, weights)
        scale = gamma * (variance + eps).rsqrt()
        return torch.addcmul(beta - mean * scale, x, scale).relu_(), mean, variance, count

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        x, weights, gamma, _, eps = inputs
        y, mean, variance, count = output
        ctx.save_for_backward(x, weights, gamma, y, mean, (variance + eps).rsqrt(), count)
        ctx.mark_non_differentiable(mean, variance, count)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        x, weights, gamma, y, mean, inverse, count = ctx.saved_tensors
        grad = torch.where(y > 0, grad, 0)
        beta = grad.sum(0)
        # sum of grad * (x - mean) / std, the gradient of gamma
        slope = ((grad * x).sum(0) - mean * beta) * inverse
        share = 1 / count.clamp(min=1)
        linear = -gamma * inverse * inverse * slope * share
        constant = -gamma * inverse * beta * share - mean * linear
        rest = torch.addcmul(constant, x, linear)
        return torch.addcmul(rest.mul_(weights), grad, gamma * inverse), None, slope, beta, None


def _weights(x: Tensor, mask: Tensor | None) -> Tensor:
    """One weight (m, 1) for each row of x."""
    if mask is None:
        return x.new_ones(x.shape[:-1].numel(), 1)
    return mask.to(x.dtype).expand(*x.shape[:-1], 1).reshape(-1, 1)


def _moments(x: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and biased variance (h,) over the leading axes, and the number of rows that exist."""
    rows = x.flatten(0, -2)
    count = weights.sum()
    share = weights.mT / count.clamp(min=1)
    mean = (share @ rows).squeeze(0)
    return mean, (share @ (rows - mean).square()).squeeze(0), count
