"""Batch normalisation over the entries that exist: mean and variance ignore all others."""

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

__all__ = ["MaskedBatchNorm", "pair_moments"]


class MaskedBatchNorm(nn.BatchNorm1d):
    """``torch.nn.BatchNorm1d`` over the last axis of x (..., h); ``mask (..., 1)`` is 1 where an entry exists.

    Same parameters, buffers and running statistics as ``BatchNorm1d`` on the rows that exist alone. A batch
    in which nothing exists is normalised by the running statistics.

    Args:
        num_features: h, size of the last axis.
        eps: added to the variance.
        momentum: of the running statistics.
        affine: whether scale and shift are learned.
        track_running_stats: whether running statistics are kept.
        device: of the parameters.
        dtype: of the parameters.
    """

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:  # type: ignore[override]
        scale, shift = self.fold(*_moments(x, mask)) if self.training else self.fold()
        return torch.addcmul(shift, x, scale)

    def fold(
        self, mean: Tensor | None = None, variance: Tensor | None = None, count: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Scale and shift (h,) with which x * scale + shift is normalised.

        Args:
            mean: of the batch, (h,), which also enters the running mean; default: the running statistics are used.
            variance: biased variance of the batch, (h,).
            count: number of rows of the batch.
        """
        if mean is None or variance is None or count is None:
            mean, variance = self.get_buffer("running_mean"), self.get_buffer("running_var")
        else:
            self._track(mean.detach(), variance.detach(), count)
        scale = self.weight * (variance + self.eps).rsqrt()
        return scale, self.bias - mean * scale

    def _track(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        rate = torch.where(count > 0, self.momentum or 0.0, 0.0)
        unbiased = variance * (count / (count - 1).clamp(min=1))
        with torch.no_grad():
            for name, value in {"running_mean": mean, "running_var": unbiased}.items():
                running = self.get_buffer(name)
                running.lerp_(value.to(running), rate.to(running))
            self.get_buffer("num_batches_tracked").add_(1)


def pair_moments(
    target: Tensor, source: Tensor, features: Tensor, weight: Tensor, nodes: Tensor, exists: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    r"""Mean, variance (h,) and number of a_i + b_j + W f_ij over all pairs i != j, without a tensor of that size.

    .. math:: \sum_{i \neq j} (a_i + b_j)^2 = \sum_i d_i (a_i^2 + b_i^2) + 2 \sum_i a_i \sum_j b_j - 2 \sum_i a_i b_i

    with d_i the number of partners, and similarly for the terms with f. The parts are centred first so that
    nothing cancels.

    Args:
        target: a, shape (n, m, h).
        source: b, shape (n, m, h).
        features: f, shape (e, n, m, m).
        weight: W, shape (h, e).
        nodes: 1 where a node exists, else 0, shape (n, m, 1).
        exists: 1 where a pair is an edge, else 0, shape (n, m, m).
    """
    partners = nodes * (nodes.sum(-2, keepdim=True) - nodes)
    count = partners.sum()
    safe = count.clamp(min=1)
    centres = [(t * partners).sum((0, 1)) / safe for t in (target, source)]
    middle = features.flatten(1) @ exists.flatten() / safe
    a, b, f = target - centres[0], source - centres[1], features - middle[:, None, None, None]
    weighted = f * exists
    rows, columns = (linear(weighted.sum(i).movedim(0, -1), weight) for i in (3, 2))
    square = weighted.flatten(1) @ f.flatten(1).mT
    total = (partners * (a.square() + b.square())).sum((0, 1))
    total = total + 2 * ((nodes * a).sum(1) * (nodes * b).sum(1)).sum(0) - 2 * (nodes * a * b).sum((0, 1))
    total = total + 2 * (a * rows + b * columns).sum((0, 1)) + ((weight @ square) * weight).sum(1)
    return centres[0] + centres[1] + weight @ middle, total.clamp(min=0) / safe, count


def _moments(x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Mean and biased variance (h,) over the leading axes, and the number of rows that exist."""
    rows = x.flatten(0, -2)
    exists = x.new_ones(()) if mask is None else mask.to(x.dtype)
    weights = exists.expand(*x.shape[:-1], 1).reshape(-1, 1)
    count = weights.sum()
    share = weights.mT / count.clamp(min=1)
    mean = (share @ rows).squeeze(0)
    return mean, (share @ (rows - mean).square()).squeeze(0), count
