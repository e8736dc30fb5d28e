"""LieGNN: message passing on invariants psi(|x_i - x_j|_J^2), psi(<x_i, x_j>_J) of any invariant metrics J."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import linear
from torch.utils.checkpoint import checkpoint

from equivariant.exact import ExactConstants, check_like
from equivariant.norm import MaskedBatchNorm, pair_moments

__all__ = ["LieGNN", "LieGNNBlock", "psi"]

CHUNK = 2**19  # numbers of edges x hidden that stay in the cache of one core


def psi(t: Tensor) -> Tensor:
    """sign(t) log(|t| + 1): tames the range of invariants, keeps their sign."""
    return t.sign() * t.abs().log1p()


class LieGNNBlock(ExactConstants):
    r"""LorentzNet's block with any metrics (Gong et al. 2022, arXiv 2201.08187; Yang et al. 2023, arXiv 2302.00236).

    .. math::
        m_{ij} &= \phi_e(h_i, h_j, \psi(|x_i - x_j|_J^2), \psi(\langle x_i, x_j\rangle_J)) \\
        m_{ij} &\leftarrow \sigma(\phi_m(m_{ij}))\, m_{ij} \\
        x_i &\leftarrow x_i + c\, \mathrm{mean}_j\, \phi_x(m_{ij}) (x_i - x_j) \\
        h_i &\leftarrow h_i + \phi_h(h_i, \textstyle\sum_j m_{ij}, s_i)

    Args:
        metrics: invariant forms (r, k, k) or one (k, k), e.g. ``invariant_metrics(algebra).metrics``.
        hidden: width of h.
        scalars: number s of invariant inputs per node.
        edge_scalars: number of invariant inputs per edge.
        vectors: number v of vectors per node, side by side in the last axis of x.
        step: c in the formula.
        update_x: False leaves x as it is (the last layer of a classifier).
        clamp: bound on each component of a step; not equivariant where it acts, so None but for published
            weights that were trained with it.

    Shapes: h (b, n, hidden), x (b, n, v * k), mask (b, n) boolean, scalars (b, n, s), edge scalars (b, n, n, e)
    -> h, x of the same shapes. Every ordered pair of different nodes that exist is an edge.
    """

    metrics: Tensor

    def __init__(
        self,
        metrics: Tensor,
        hidden: int = 72,
        scalars: int = 0,
        *,
        edge_scalars: int = 0,
        vectors: int = 1,
        step: float = 1e-3,
        update_x: bool = True,
        clamp: float | None = None,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        self.register_buffer("metrics", check_metrics(metrics))
        device = self.metrics.device
        self.hidden, self.scalars, self.edge_scalars = hidden, scalars, edge_scalars
        self.vectors, self.step, self.update_x, self.clamp = vectors, step, update_x, clamp
        features = 2 * len(self.metrics) * vectors + edge_scalars
        kw = {"device": device, "dtype": dtype}
        self.phi_e = nn.Sequential(
            nn.Linear(2 * hidden + features, hidden, bias=False, **kw),
            MaskedBatchNorm(hidden, **kw),
            nn.ReLU(),
            nn.Linear(hidden, hidden, **kw),
            nn.ReLU(),
        )
        self.phi_m = nn.Sequential(nn.Linear(hidden, 1, **kw), nn.Sigmoid())
        self.phi_h = nn.Sequential(
            nn.Linear(2 * hidden + scalars, hidden, **kw),
            MaskedBatchNorm(hidden, **kw),
            nn.ReLU(),
            nn.Linear(hidden, hidden, **kw),
        )
        self.phi_x = None
        if update_x:
            last = nn.Linear(hidden, vectors, bias=False, **kw)
            self.phi_x = nn.Sequential(nn.Linear(hidden, hidden, **kw), nn.ReLU(), last)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """PyTorch's own starts; the step of x begins a thousandth as large."""
        for module in self.modules():
            if isinstance(module, nn.Linear | MaskedBatchNorm):
                module.reset_parameters()
        if self.phi_x is not None:
            nn.init.xavier_uniform_(self.phi_x[-1].weight, gain=1e-3)  # type: ignore[arg-type]

    @property
    def dim(self) -> int:
        """k, the size of one vector."""
        return self.metrics.shape[-1]

    def forward(
        self,
        h: Tensor,
        x: Tensor,
        mask: Tensor | None = None,
        scalars: Tensor | None = None,
        edge_scalars: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        nodes = h.new_ones(*h.shape[:-1], 1) if mask is None else mask.to(h.dtype).unsqueeze(-1)
        edges = _pairs(nodes)
        difference = (x.unsqueeze(-2) - x.unsqueeze(-3)).unflatten(-1, (self.vectors, self.dim))
        features = self._invariants(difference, self._dots(x), edge_scalars)
        target, source, weight = self._normalised(h, features, nodes)
        inputs = (target, source, features, difference, edges)
        received, move = _in_chunks(lambda *part: self._receive(weight, *part), inputs, self.hidden)
        if self.phi_x is not None:
            x = x + self.step * move / edges.sum(-2).clamp(min=1)
        return self._update(h, received, scalars, nodes), x

    def _normalised(self, h: Tensor, features: Tensor, nodes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Node terms and weights of the first map of phi_e with its batch norm folded in."""
        target, source = self._node_terms(h)
        weight, norm = self._first()[2], self.phi_e[1]
        moments = pair_moments(target, source, features, weight, nodes) if self.training else ()
        scale, shift = norm.fold(*moments)  # type: ignore[operator]
        return torch.addcmul(shift, target, scale), source * scale, weight * scale.unsqueeze(-1)

    def _receive(
        self,
        weight: Tensor,
        target: Tensor,
        source: Tensor,
        features: Tensor,
        difference: Tensor,
        edges: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Sums over j of the messages and of the moves; the only place where a tensor of edges x hidden lives."""
        first = linear(features, weight).add_(target.unsqueeze(-2)).add_(source.unsqueeze(-3))
        message = self._gate(first, edges)
        move = difference.flatten(-2)[..., :0] if self.phi_x is None else self._moves(message, difference)
        return message.sum(-2), (move * edges).sum(-2)

    def _node_terms(self, h: Tensor) -> tuple[Tensor, Tensor]:
        """W1 h_i and W1' h_j: the first map of phi_e acts on a concatenation, so it splits into sums."""
        target, source, _ = self._first()
        return linear(h, target), linear(h, source)

    def _first(self) -> tuple[Tensor, Tensor, Tensor]:
        weight: Tensor = self.phi_e[0].weight  # type: ignore[assignment]
        target, source, features = weight.split(
            [self.hidden, self.hidden, weight.shape[1] - 2 * self.hidden], 1
        )
        return target, source, features

    def _dots(self, x: Tensor) -> Tensor:
        """<x_i, x_j>_J of all pairs, (b, n, n, r * v), from one product X J X^T."""
        vectors = x.unflatten(-1, (self.vectors, self.dim))
        lowered = torch.einsum("...ivk,rkl->...irvl", vectors, self.metrics.to(x.dtype))
        return torch.einsum("...irvl,...jvl->...ijrv", lowered, vectors).flatten(-2)

    def _invariants(self, difference: Tensor, dots: Tensor, edge_scalars: Tensor | None) -> Tensor:
        """psi of norms and products of differences (..., v, k) and dots (..., r * v), then the edge scalars."""
        metrics = self.metrics.to(difference.dtype)
        norms = torch.einsum("...vk,rkl,...vl->...rv", difference, metrics, difference).flatten(-2)
        return torch.cat([psi(norms), psi(dots)] + ([] if edge_scalars is None else [edge_scalars]), dim=-1)

    def _gate(self, normal: Tensor, mask: Tensor | None) -> Tensor:
        """From the normalised first map (which is used up) to the gated message, zero where the mask is."""
        message = self.phi_e[3](normal.relu_()).relu_()
        gate = self.phi_m(message)
        return message * (gate if mask is None else gate * mask)

    def _moves(self, message: Tensor, difference: Tensor) -> Tensor:
        """phi_x(m_ij) (x_i - x_j), flat (..., v * k)."""
        first, _, last = self.phi_x  # type: ignore[misc]
        move = last(first(message).relu_()).unsqueeze(-1) * difference
        move = move if self.clamp is None else move.clamp(-self.clamp, self.clamp)
        return move.flatten(-2)

    def _update(self, h: Tensor, received: Tensor, scalars: Tensor | None, mask: Tensor | None) -> Tensor:
        first, norm, *rest = self.phi_h
        inputs = [h, received] + ([] if scalars is None else [scalars])
        change = norm(first(torch.cat(inputs, dim=-1)), mask)
        for module in rest:
            change = module(change)
        return h + (change if mask is None else change * mask)

    def extra_repr(self) -> str:
        r, k = self.metrics.shape[:2]
        return f"metrics={r}x{k}x{k}, hidden={self.hidden}, scalars={self.scalars}, vectors={self.vectors}"


class LieGNN(nn.Module):
    """Classifier or regressor of point clouds, invariant under every g that keeps the metrics.

    Embedding of the node scalars, ``layers`` blocks, mean over the nodes, two linear maps.

    Args:
        metrics: invariant forms (r, k, k) or one (k, k).
        scalars: number s of invariant inputs per node (0: every node starts alike).
        outputs: size of the answer.
        hidden, layers, dropout, step, clamp, vectors, edge_scalars: see ``LieGNNBlock``.

    Shapes: ``net(scalars (b, n, s), x (b, n, v * k), mask (b, n))`` -> (b, outputs). A node whose mask is False
    does not exist: whatever it holds, no output and no statistic changes.
    """

    def __init__(
        self,
        metrics: Tensor,
        scalars: int,
        outputs: int = 2,
        *,
        hidden: int = 72,
        layers: int = 6,
        dropout: float = 0.2,
        step: float = 5e-3,
        clamp: float | None = None,
        vectors: int = 1,
        edge_scalars: int = 0,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        if layers < 1 or hidden < 1 or outputs < 1 or scalars < 0:
            raise ValueError(f"wanted positive sizes, got {layers=}, {hidden=}, {outputs=}, {scalars=}")
        kw = {"device": metrics.device, "dtype": dtype}
        self.embedding = nn.Linear(scalars, hidden, **kw)
        self.blocks = nn.ModuleList(
            LieGNNBlock(
                metrics,
                hidden,
                scalars,
                edge_scalars=edge_scalars,
                vectors=vectors,
                step=step,
                clamp=clamp,
                update_x=i + 1 < layers,
                dtype=dtype,
            )
            for i in range(layers)
        )
        self.readout = nn.Sequential(
            nn.Linear(hidden, hidden, **kw), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, outputs, **kw)
        )

    def features(
        self, scalars: Tensor, x: Tensor, mask: Tensor | None = None, edge_scalars: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Invariant h (b, n, hidden) and equivariant x (b, n, v * k) of every node after all blocks."""
        self._check(scalars, x, mask)
        if mask is not None:
            # what padding holds must not even reach an infinity that 0 * inf would turn into NaN
            scalars, x = (torch.where(mask.unsqueeze(-1), t, 0) for t in (scalars, x))
        h = self.embedding(scalars)
        for block in self.blocks:
            h, x = block(h, x, mask, scalars, edge_scalars)
        return h, x

    def forward(
        self, scalars: Tensor, x: Tensor, mask: Tensor | None = None, edge_scalars: Tensor | None = None
    ) -> Tensor:
        h, _ = self.features(scalars, x, mask, edge_scalars)
        return self.readout(_masked_mean(h, mask))

    def _check(self, scalars: Tensor, x: Tensor, mask: Tensor | None) -> None:
        block: LieGNNBlock = self.blocks[0]  # type: ignore[assignment]
        size = block.vectors * block.dim
        if x.ndim != 3 or x.shape[-1] != size:
            raise ValueError(f"x must have shape (b, n, {size}), got {tuple(x.shape)}")
        if tuple(scalars.shape) != (*x.shape[:2], block.scalars):
            raise ValueError(
                f"scalars must have shape {(*x.shape[:2], block.scalars)}, got {tuple(scalars.shape)}"
            )
        for name, tensor in {"scalars": scalars, "x": x}.items():
            check_like(tensor, self.embedding.weight, name)
        if mask is not None and (mask.dtype != torch.bool or mask.shape != x.shape[:2]):
            raise ValueError(
                f"mask must be boolean of shape {tuple(x.shape[:2])}, got {mask.dtype} {tuple(mask.shape)}"
            )


def check_metrics(metrics: Tensor) -> Tensor:
    """Forms as float64 (r, k, k); ``ValueError`` for another shape, NaN or a form that is not symmetric."""
    forms = (metrics[None] if metrics.ndim == 2 else metrics).detach().double()
    if forms.ndim != 3 or forms.shape[1] != forms.shape[2] or len(forms) == 0:
        raise ValueError(f"metrics must have shape (r, k, k) or (k, k), got {tuple(metrics.shape)}")
    if not torch.isfinite(forms).all() or not torch.allclose(forms, forms.mT):
        raise ValueError("metrics must be finite and symmetric; take (J + J.mT) / 2")
    return forms.clone()


def _in_chunks(
    edges: Callable[..., tuple[Tensor, Tensor]], inputs: tuple[Tensor, ...], hidden: int
) -> tuple[Tensor, Tensor]:
    """Apply to a few graphs at a time, and again in backward, where all edges at once would not fit the cache.

    On a CPU this is faster than it looks: what is computed twice costs less than what is not read from memory.
    """
    b, n = inputs[0].shape[:2]
    graphs = max(1, CHUNK // max(1, n * n * hidden))
    if graphs >= b or inputs[0].device.type != "cpu" or torch.compiler.is_compiling():
        return edges(*inputs)
    parts = zip(*(tensor.split(graphs) for tensor in inputs), strict=True)
    if torch.is_grad_enabled():
        done = [checkpoint(edges, *part, use_reentrant=False, preserve_rng_state=False) for part in parts]
    else:
        done = [edges(*part) for part in parts]
    return torch.cat([part[0] for part in done]), torch.cat([part[1] for part in done])


def _pairs(nodes: Tensor) -> Tensor:
    """Which ordered pairs are edges, (b, n, n, 1): both nodes exist and differ; nodes (b, n, 1)."""
    both = nodes.unsqueeze(-2) * nodes.unsqueeze(-3)
    return both * (1 - torch.eye(nodes.shape[-2], dtype=nodes.dtype, device=nodes.device)).unsqueeze(-1)


def _masked_mean(h: Tensor, mask: Tensor | None) -> Tensor:
    """Mean over the nodes that exist, (b, hidden); zero where there is none."""
    weights = h.new_ones(*h.shape[:-1], 1) if mask is None else mask.to(h.dtype).unsqueeze(-1)
    return (h * weights).sum(-2) / weights.sum(-2).clamp(min=1)
