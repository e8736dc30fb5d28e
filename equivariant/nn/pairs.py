"""Messages of all pairs of nodes and their sums: m_ij = g_ij relu(W' relu(a_i + b_j + W f_ij) + c')."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import linear

from equivariant.expm import is_traced
from equivariant.precision import full_precision

__all__ = ["PairMaps", "gated_message", "move_weights", "pair_messages"]

CHUNK = 2**19  # numbers of pairs x hidden that stay in the cache of one core


class PairMaps(NamedTuple):
    """Weights of the maps on one pair.

    Args:
        first: W, shape (h, f).
        second: W', shape (h, h).
        bias: of the second map, (h,).
        gate: shape (1, h).
        gate_bias: shape (1,).
        inner: first map of the moves (h, h), or None.
        inner_bias: its bias (h,), or None.
        last: last map of the moves (v, h), or None.
    """

    first: Tensor
    second: Tensor
    bias: Tensor
    gate: Tensor
    gate_bias: Tensor
    inner: Tensor | None = None
    inner_bias: Tensor | None = None
    last: Tensor | None = None


def gated_message(normal: Tensor, maps: PairMaps, exists: Tensor | None = None) -> Tensor:
    """From the answer of the first map to the message times its gate.

    Args:
        normal: what the first map gave, normalised, (..., h).
        maps: the weights.
        exists: 0 where there is no edge, (..., 1).

    Returns:
        Messages (..., h).
    """
    message = linear(normal.relu(), maps.second, maps.bias).relu()
    gate = linear(message, maps.gate, maps.gate_bias).sigmoid()
    return message * (gate if exists is None else gate * exists.to(gate.dtype))


def move_weights(message: Tensor, maps: PairMaps) -> Tensor:
    """How far each of v vectors moves along a pair, (..., v); v = 0 without the maps for it.

    Args:
        message: shape (..., h).
        maps: the weights.
    """
    if maps.inner is None or maps.last is None:
        return message[..., :0]
    return linear(linear(message, maps.inner, maps.inner_bias).relu(), maps.last)


def pair_messages(
    features: Tensor, target: Tensor, source: Tensor, exists: Tensor, maps: PairMaps
) -> tuple[Tensor, Tensor]:
    """Sums of the messages over the neighbours of a node, and the weights of the moves.

    Eager calls on a CPU work on a few rows of pairs at a time. One tensor of pairs x hidden is kept for backward;
    the rest is computed again: in the cache that costs less than to write it to memory and read it back. All
    other calls take the formula as it is.

    Args:
        features: f, shape (f, b, n, n).
        target: a, shape (b, n, h).
        source: b, shape (b, n, h).
        exists: 1 where a pair is an edge, else 0, shape (b, n, n).
        maps: the weights.

    Returns:
        Sums (b, n, h), and weights (v, b, n, n).
    """
    inputs = (features, target, source, exists, *maps)
    if _is_plain([tensor for tensor in inputs if tensor is not None]):
        return _PairMessages.apply(torch.is_grad_enabled(), *inputs)  # type: ignore[return-value]
    return _formula(*inputs)


def _is_plain(tensors: list[Tensor]) -> bool:
    """Whether tensors can be written to in place, by eager code without transforms, on a CPU."""
    if torch.is_autocast_enabled("cpu") or is_traced(tensors[0]):
        return False
    first = tensors[0]
    return all(t.device.type == "cpu" and t.dtype == first.dtype and not is_traced(t) for t in tensors)


def _formula(
    features: Tensor, target: Tensor, source: Tensor, exists: Tensor, *weights: Any
) -> tuple[Tensor, Tensor]:
    maps = PairMaps(*weights)
    with full_precision(features):
        normal = linear(features.movedim(0, -1), maps.first) + target.unsqueeze(-2) + source.unsqueeze(-3)
    message = gated_message(normal, maps, exists.unsqueeze(-1))
    return message.sum(-2, dtype=target.dtype), move_weights(message, maps).movedim(-1, 0)


class _PairMessages(torch.autograd.Function):
    """``_formula`` part by part, in memory that all parts share; of pairs x hidden only relu(W' ...) is kept."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, keep: bool, features: Tensor, target: Tensor, source: Tensor, exists: Tensor, *weights: Any
    ) -> tuple[Tensor, Tensor]:
        maps = PairMaps(*weights)
        received = torch.empty_like(target)
        moves = features.new_empty(0 if maps.last is None else len(maps.last), *exists.shape)
        kept = features.new_empty(*exists.shape, target.shape[-1]) if keep else None
        work = _workspace(exists, maps)
        for part in _parts(exists, len(maps.second)):
            step = _Part(work, part, features, target, source, exists, maps)
            step.messages(None if kept is None else kept[part].flatten(0, 2))
            torch.sum(step.message.view(*step.shape, -1), 2, out=received[part])
            if maps.last is not None:
                for v, last in enumerate(maps.last):
                    moves[v][part] = torch.mv(step.inner, last).view(step.shape)
        ctx.save_for_backward(kept, features, target, source, exists, *weights)
        return received, moves

    @staticmethod
    def backward(ctx: Any, grad_received: Tensor, grad_moves: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        if torch.is_grad_enabled():
            return None, *_differentiable_backward(ctx.saved_tensors[1:], (grad_received, grad_moves))
        kept, features, target, source, exists, *weights = ctx.saved_tensors
        maps = PairMaps(*weights)
        grads = [torch.zeros_like(t) for t in (features, target, source)]
        sums = PairMaps(*(None if w is None else torch.zeros_like(w) for w in maps))  # type: ignore[arg-type]
        work = _workspace(exists, maps)
        for part in _parts(exists, len(maps.second)):
            step = _Part(work, part, features, target, source, exists, maps)
            step.messages(kept[part].flatten(0, 2), done=True)
            normal = step.backward(grad_received[part], grad_moves[:, *part], sums)
            sums.first.add_((step.features @ normal).mT)
            rows = normal.view(*step.shape, -1)
            torch.sum(rows, 2, out=grads[1][part])
            grads[2][part[0]] += rows.sum(1)
            for grad, column in zip(grads[0], maps.first.mT, strict=True):
                grad[part] = torch.mv(normal, column).view(step.shape)
        return None, *grads, None, *sums


def _workspace(exists: Tensor, maps: PairMaps) -> Tensor:
    """Five matrices (pairs, hidden) that every part writes anew: fresh memory would cost more than the sums."""
    hidden = len(maps.second)
    pairs = max((exists[part].numel() for part in _parts(exists, hidden)), default=0)
    return maps.second.new_empty(5, pairs, hidden)


class _Part:
    """The steps of the formula on some rows of pairs, and their gradients in the opposite order."""

    def __init__(
        self,
        work: Tensor,
        part: tuple[slice, slice],
        features: Tensor,
        target: Tensor,
        source: Tensor,
        exists: Tensor,
        maps: PairMaps,
    ):
        self.maps, self.shape = maps, exists[part].shape
        self.features, self.exists = features[:, *part].flatten(1), exists[part].flatten()
        self.first, self.second, self.message, self.inner, self.spare = work[:, : len(self.exists)]
        torch.mm(self.features.mT, maps.first.mT, out=self.first)
        pairs = self.first.view(*self.shape, -1)
        pairs.add_(target[part].unsqueeze(2)).add_(source[part[0]].unsqueeze(1)).relu_()

    def messages(self, second: Tensor | None, done: bool = False) -> None:
        """The rest of the formula; ``second`` is where relu(W' ...) goes, or came from where it is ``done``."""
        maps = self.maps
        self.second = self.second if second is None else second
        if not done:
            torch.addmm(maps.bias, self.first, maps.second.mT, out=self.second).relu_()
        self.open = (torch.mv(self.second, maps.gate[0]) + maps.gate_bias).sigmoid_()
        self.gate = self.open * self.exists
        torch.mul(self.second, self.gate.unsqueeze(1), out=self.message)
        if maps.inner is not None and maps.inner_bias is not None:
            torch.addmm(maps.inner_bias, self.message, maps.inner.mT, out=self.inner).relu_()

    def backward(self, received: Tensor, moves: Tensor, sums: PairMaps) -> Tensor:
        """Gradient of the first map (pairs, h), from those of the results; adds those of the weights to sums."""
        message = self._moves_backward(moves, sums).view(*self.shape, -1)
        message = message.add_(received.unsqueeze(2)).flatten(0, 2)
        opening = torch.mul(message, self.second, out=self.inner).sum(1)
        opening = opening * self.exists * self.open * (1 - self.open)
        second = torch.addcmul(
            message.mul_(self.gate.unsqueeze(1)), opening.unsqueeze(1), self.maps.gate, out=message
        )
        sums.gate[0].add_(torch.mv(self.second.mT, opening))
        sums.gate_bias.add_(opening.sum())
        second = _relu_backward(second, self.second)
        sums.second.addmm_(second.mT, self.first)
        sums.bias.add_(second.sum(0))
        return _relu_backward(torch.mm(second, self.maps.second, out=self.inner), self.first)

    def _moves_backward(self, moves: Tensor, sums: PairMaps) -> Tensor:
        """Gradient of the message through the moves."""
        maps = self.maps
        if maps.inner is None or maps.last is None or sums.inner is None or sums.last is None:
            return self.spare.zero_()
        moves = moves.flatten(1)
        sums.last.addmm_(moves, self.inner)
        inner = _relu_backward(torch.mm(moves.mT, maps.last, out=self.spare), self.inner)
        sums.inner.addmm_(inner.mT, self.message)
        sums.inner_bias.add_(inner.sum(0))  # type: ignore[union-attr]
        return torch.mm(inner, maps.inner, out=self.message)


def _relu_backward(grad: Tensor, answer: Tensor) -> Tensor:
    """The gradient before a relu, in place of that behind it."""
    return torch.ops.aten.threshold_backward.grad_input(grad, answer, 0, grad_input=grad)


def _parts(exists: Tensor, hidden: int) -> Iterator[tuple[slice, slice]]:
    """Graphs and rows of pairs that fit the cache: some graphs, or some rows of one."""
    b, n = exists.shape[:2]
    rows = max(1, min(n, CHUNK // max(1, n * hidden)))
    graphs = max(1, CHUNK // max(1, n * n * hidden))
    for graph in range(0, b, graphs):
        for row in range(0, n, rows):
            yield slice(graph, min(b, graph + graphs)), slice(row, min(n, row + rows))


def _differentiable_backward(
    inputs: tuple[Tensor | None, ...], grads: tuple[Tensor, Tensor]
) -> tuple[Tensor | None, ...]:
    """The gradient by the formula, which can be differentiated again."""
    # views, as some inputs were made from others: a gradient must not flow from one to the next here
    views = [None if t is None else t.view_as(t) for t in inputs]
    wanted = [i for i, view in enumerate(views) if view is not None and view.requires_grad]
    outputs = _formula(*views)  # type: ignore[arg-type]
    chosen: list[Tensor] = [views[i] for i in wanted]  # type: ignore[misc]
    found = torch.autograd.grad(outputs, chosen, grads, create_graph=True, allow_unused=True)
    answer: list[Tensor | None] = [None] * len(inputs)
    for i, grad in zip(wanted, found, strict=True):
        answer[i] = grad
    return tuple(answer)
