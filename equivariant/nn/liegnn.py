"""LieGNN: a graph network on point clouds that is invariant under every group that keeps given metrics J.

``LieGNN`` is the whole classifier or regressor, ``LieGNNBlock`` one layer of it: messages between nodes depend on the
invariants psi(|x_i - x_j|_J^2) and psi(<x_i, x_j>_J) alone. ``equivariant.pyg.LieGNNConv`` is the same layer for
PyTorch Geometric.
"""

from numbers import Integral

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from equivariant.arrays import ArrayLike, as_tensor
from equivariant.nn.norm import MaskedBatchNorm, pair_moments
from equivariant.nn.pairs import PairMaps, pair_messages
from equivariant.precision import ExactConstants, as_input, as_optional_input, full_precision

__all__ = ["LieGNN", "LieGNNBlock", "check_metrics", "psi"]


def psi(t: Tensor) -> Tensor:
    """sign(t) log(|t| + 1), which narrows the range of invariants and keeps their sign.

    Args:
        t: any tensor.
    """
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
        edge_scalars: number e of invariant inputs per edge.
        vectors: number v of vectors per node, side by side in the last axis of x.
        step: c in the formula.
        update_x: False leaves x as it is (the last layer of a classifier).
        clamp: bound on each component of a step; not equivariant where it acts, so None but for published
            weights that were trained with it.
        dtype: of the parameters; default PyTorch's default dtype.

    Shapes:
        h (b, n, hidden), x (b, n, v * k), mask (b, n) boolean, scalars (b, n, s), edge scalars (b, n, n, e)
        -> h, x of the same shapes. Every ordered pair of different nodes that exist is an edge; edge scalars of other
        pairs are not read.

    Under autocast the invariants, what they enter first, the statistics and x keep the dtype of x; the other
    maps on pairs and nodes take the lower one. A state dict with other metrics is refused.

    Raises:
        ValueError: for a size that is not positive, and metrics that are not symmetric, finite and nonzero.

    Example:
        >>> block = LieGNNBlock(torch.diag(torch.tensor([1.0, -1.0, -1.0, -1.0])), hidden=8)
        >>> h, x = block(torch.zeros(2, 5, 8), torch.randn(2, 5, 4))
        >>> h.shape, x.shape
        (torch.Size([2, 5, 8]), torch.Size([2, 5, 4]))
    """

    metrics: Tensor

    def __init__(
        self,
        metrics: ArrayLike,
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
        _check_sizes(1, hidden=hidden, vectors=vectors)
        _check_sizes(0, scalars=scalars, edge_scalars=edge_scalars)
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
        """PyTorch's own initialisation; the step of x begins a thousandth as large."""
        for module in self.modules():
            if isinstance(module, nn.Linear | MaskedBatchNorm):
                module.reset_parameters()
        if self.phi_x is not None:
            nn.init.xavier_uniform_(self.phi_x[-1].weight, gain=1e-3)  # type: ignore[arg-type]

    def _same_group(self, name: str, own: Tensor, given: Tensor) -> bool:
        return torch.allclose(given, own)

    @property
    def dim(self) -> int:
        """k, the size of one vector."""
        return self.metrics.shape[-1]

    def forward(
        self,
        h: ArrayLike,
        x: ArrayLike,
        mask: ArrayLike | None = None,
        scalars: ArrayLike | None = None,
        edge_scalars: ArrayLike | None = None,
    ) -> tuple[Tensor, Tensor]:
        like: Tensor = self.phi_m[0].weight  # type: ignore[assignment]
        x = as_input(x, like, "x", ("b", "n", self.vectors * self.dim))
        b, n = x.shape[:2]
        h, mask = as_input(h, like, "h", (b, n, self.hidden)), _as_mask(mask, x)
        scalars = as_optional_input(scalars, like, "scalars", (b, n, self.scalars))
        edge_scalars = as_optional_input(edge_scalars, like, "edge_scalars", (b, n, n, self.edge_scalars))
        nodes = x.new_ones(*x.shape[:-1], 1) if mask is None else mask.to(x.dtype).unsqueeze(-1)
        exists = _pairs(nodes)
        if edge_scalars is not None:
            # 0 * NaN is NaN, so what stands at pairs that are no edges must not be read at all
            edge_scalars = torch.where(exists.unsqueeze(-1) > 0, edge_scalars, 0)
        with full_precision(x):
            seen, features = self._edge_inputs(h.to(x.dtype), x, edge_scalars)
            target, source, maps = self._normalised(seen, features, nodes, exists)
        received, moves = pair_messages(features, target, source, exists, maps)
        if self.phi_x is not None:
            degree = exists.sum(-1, keepdim=True).clamp(min=1)
            with full_precision(x):
                x = x + self.step * self._moved(x, moves * exists) / degree
        return self._update(h, received, scalars, nodes), x

    def _edge_inputs(self, h: Tensor, x: Tensor, edge_scalars: Tensor | None) -> tuple[Tensor, Tensor]:
        """What an edge sees: something of each of its nodes (b, n, ...), and of the pair (f, b, n, n)."""
        return h, self._invariants(self._differences(x), self._dots(x), edge_scalars)

    def _normalised(
        self, h: Tensor, features: Tensor, nodes: Tensor, exists: Tensor
    ) -> tuple[Tensor, Tensor, PairMaps]:
        """Node terms and weights of the maps on pairs, with the batch norm of phi_e folded into the first."""
        target, source = self._node_terms(h)
        maps, norm = self._maps(), self.phi_e[1]
        moments = pair_moments(target, source, features, maps.first, nodes, exists) if self.training else ()
        scale, shift = norm.fold(*moments)  # type: ignore[operator]
        maps = maps._replace(first=maps.first * scale.unsqueeze(-1))
        return torch.addcmul(shift, target, scale), source * scale, maps

    def _maps(self) -> PairMaps:
        second, gate = self.phi_e[3], self.phi_m[0]
        always = (self._first()[2], second.weight, second.bias, gate.weight, gate.bias)
        if self.phi_x is None:
            return PairMaps(*always)  # type: ignore[arg-type]
        inner, _, last = self.phi_x
        return PairMaps(*always, inner.weight, inner.bias, last.weight)  # type: ignore[arg-type]

    def _moved(self, x: Tensor, moves: Tensor) -> Tensor:
        """sum_j s_ij (x_i - x_j) for weights s (v, b, n, n), (b, n, v * k)."""
        vectors = x.unflatten(-1, (self.vectors, self.dim))
        if self.clamp is not None:
            steps = moves.movedim(0, -1).unsqueeze(-1) * (vectors.unsqueeze(-3) - vectors.unsqueeze(-4))
            return steps.clamp(-self.clamp, self.clamp).sum(-3).flatten(-2)
        total = moves.sum(-1).movedim(0, -1).unsqueeze(-1) * vectors
        return (total - torch.einsum("vbij,bjvk->bivk", moves, vectors)).flatten(-2)

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

    def _differences(self, x: Tensor) -> Tensor:
        """x_i - x_j of all pairs, (k, v, b, n, n)."""
        planes = x.unflatten(-1, (self.vectors, self.dim)).movedim((-1, -2), (0, 1))
        return planes.unsqueeze(-1) - planes.unsqueeze(-2)

    def _dots(self, x: Tensor) -> Tensor:
        """<x_i, x_j>_J of all pairs, (r, v, b, n, n), from one product X J X^T."""
        vectors = x.unflatten(-1, (self.vectors, self.dim))
        lowered = torch.einsum("bivk,rkl->rvbil", vectors, self.metrics.to(x.dtype))
        return lowered @ vectors.movedim(-2, 0).mT

    def _invariants(self, difference: Tensor, dots: Tensor, edge_scalars: Tensor | None) -> Tensor:
        """psi of norms and products, (f, ...) from differences (k, v, ...), dots (r, v, ...), edge scalars (..., e)."""
        lowered = torch.tensordot(self.metrics.to(difference.dtype), difference, dims=1)
        norms = (lowered * difference).sum(1)
        given = [] if edge_scalars is None else [edge_scalars.movedim(-1, 0)]
        return torch.cat([psi(norms).flatten(0, 1), psi(dots).flatten(0, 1), *given])

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


def check_metrics(metrics: ArrayLike) -> Tensor:
    """Invariant forms as float64.

    Args:
        metrics: shape (r, k, k), or (k, k) for one.

    Returns:
        A copy, shape (r, k, k).

    Raises:
        ValueError: for another shape, and for a form that is not symmetric, finite and nonzero.
    """
    metrics = as_tensor(metrics, "metrics")
    forms = (metrics[None] if metrics.ndim == 2 else metrics).detach().double()
    if forms.ndim != 3 or forms.shape[1] != forms.shape[2] or len(forms) == 0:
        raise ValueError(f"metrics must have shape (r, k, k) or (k, k), got {tuple(metrics.shape)}")
    if not torch.isfinite(forms).all() or not torch.allclose(forms, forms.mT):
        raise ValueError("metrics must be finite and symmetric; take (J + J.mT) / 2")
    if not forms.flatten(1).any(1).all():
        raise ValueError("a metric of zeros has no invariants; drop it, or see equivariant.invariant_metrics")
    return forms.clone()


def _check_sizes(least: int, **sizes: int) -> None:
    for name, size in sizes.items():
        if not isinstance(size, Integral) or size < least:
            raise ValueError(f"{name} must be a whole number >= {least}, got {size!r}")


def _pairs(nodes: Tensor) -> Tensor:
    """Which ordered pairs are edges, (b, n, n): both nodes exist and differ; nodes (b, n, 1)."""
    apart = 1 - torch.eye(nodes.shape[-2], dtype=nodes.dtype, device=nodes.device)
    return nodes * nodes.mT * apart


class LieGNN(nn.Module):
    """Classifier or regressor of point clouds, invariant under every g that keeps the metrics.

    Embedding of the node scalars, ``layers`` blocks, mean over the nodes, two linear maps.

    Args:
        metrics: invariant forms (r, k, k) or one (k, k), e.g. ``invariant_metrics(algebra).metrics``.
        scalars: number s of invariant inputs per node (0: every node starts alike).
        outputs: size of the answer.
        hidden: width of the invariant features of a node.
        layers: number of blocks.
        dropout: probability, before the last linear map.
        step: size of the steps of x, c in ``LieGNNBlock``.
        clamp: see ``LieGNNBlock``.
        vectors: number v of vectors per node, side by side in the last axis of x.
        edge_scalars: number e of invariant inputs per edge.
        time: whether a time comes with each graph or node, one more scalar of every node.
        dtype: of the parameters; default PyTorch's default dtype.

    Shapes:
        ``net(scalars (b, n, s), x (b, n, v * k), mask (b, n), edge_scalars (b, n, n, e))`` -> (b, outputs), and
        with a time also ``time=`` (b,) or (b, n). A node whose mask is False does not exist: whatever it and its
        edges hold, no output and no statistic changes. Arrays and lists are converted.

    Raises:
        ValueError: for a size that is not positive, metrics that are not symmetric, finite and nonzero, and inputs of
            another shape, dtype or device.

    Example:
        >>> net = LieGNN(torch.diag(torch.tensor([1.0, -1.0, -1.0, -1.0])), scalars=1, hidden=8, layers=2)
        >>> net(torch.zeros(3, 5, 1), torch.randn(3, 5, 4)).shape
        torch.Size([3, 2])
    """

    def __init__(
        self,
        metrics: ArrayLike,
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
        time: bool = False,
        dtype: torch.dtype | None = None,
    ):
        super().__init__()
        _check_sizes(1, layers=layers, hidden=hidden, outputs=outputs)
        _check_sizes(0, scalars=scalars)
        metrics = check_metrics(metrics)
        self.time, self.scalars = time, scalars
        scalars = scalars + time
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
        self,
        scalars: ArrayLike,
        x: ArrayLike,
        mask: ArrayLike | None = None,
        edge_scalars: ArrayLike | None = None,
        *,
        time: ArrayLike | None = None,
    ) -> tuple[Tensor, Tensor]:
        """What the blocks make of every node; the arguments are those of a call.

        Args:
            scalars: shape (b, n, s).
            x: shape (b, n, v * k).
            mask: boolean, shape (b, n).
            edge_scalars: shape (b, n, n, e).
            time: shape (b,) or (b, n).

        Returns:
            Invariant h (b, n, hidden) and equivariant x (b, n, v * k).
        """
        scalars, x, mask, edge_scalars = self._inputs(scalars, x, mask, edge_scalars)
        scalars = self._with_time(scalars, time)
        if mask is not None:
            # what padding holds must not even reach an infinity that 0 * inf would turn into NaN
            scalars, x = (torch.where(mask.unsqueeze(-1), t, 0) for t in (scalars, x))
        h = self.embedding(scalars)
        for block in self.blocks:
            h, x = block(h, x, mask, scalars, edge_scalars)
        return h, x

    def forward(
        self,
        scalars: ArrayLike,
        x: ArrayLike,
        mask: ArrayLike | None = None,
        edge_scalars: ArrayLike | None = None,
        *,
        time: ArrayLike | None = None,
    ) -> Tensor:
        mask = None if mask is None else as_tensor(mask, "mask")
        h, _ = self.features(scalars, x, mask, edge_scalars, time=time)
        return self.readout(_masked_mean(h, mask))

    def _with_time(self, scalars: Tensor, time: ArrayLike | None) -> Tensor:
        """The scalars, and the time of each graph or node as the last of them."""
        b, n = scalars.shape[:2]
        if self.time != (time is not None):
            raise ValueError(f"built with time={self.time}, got {'no' if time is None else 'a'} time")
        if time is None:
            return scalars
        times = as_input(time, scalars, "time")
        if tuple(times.shape) not in ((b,), (b, n)):
            raise ValueError(f"time must have shape ({b},) or ({b}, {n}), got {tuple(times.shape)}")
        times = times.unsqueeze(-1).expand(b, n) if times.ndim == 1 else times
        return torch.cat([scalars, times.unsqueeze(-1)], dim=-1)

    def _inputs(
        self, scalars: ArrayLike, x: ArrayLike, mask: ArrayLike | None, edge_scalars: ArrayLike | None
    ) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
        """The inputs as tensors, once they have the right shapes."""
        block: LieGNNBlock = self.blocks[0]  # type: ignore[assignment]
        like, size = self.embedding.weight, block.vectors * block.dim
        x = as_input(x, like, "x", ("b", "n", size))
        b, n = x.shape[:2]
        scalars = as_input(scalars, like, "scalars", (b, n, self.scalars))
        edge_scalars = as_optional_input(edge_scalars, like, "edge_scalars", (b, n, n, block.edge_scalars))
        return scalars, x, _as_mask(mask, x), edge_scalars


def _as_mask(mask: ArrayLike | None, x: Tensor) -> Tensor | None:
    if mask is None:
        return None
    tensor = as_tensor(mask, "mask").to(x.device)
    if tensor.dtype != torch.bool or tensor.shape != x.shape[:2]:
        raise ValueError(
            f"mask must be boolean of shape {tuple(x.shape[:2])}, got {tensor.dtype} {tuple(tensor.shape)}"
        )
    return tensor


def _masked_mean(h: Tensor, mask: Tensor | None) -> Tensor:
    """Mean over the nodes that exist, (b, hidden); zero where there is none."""
    weights = h.new_ones(*h.shape[:-1], 1) if mask is None else mask.to(h.dtype).unsqueeze(-1)
    return (h * weights).sum(-2) / weights.sum(-2).clamp(min=1)
