"""The taggers compared: message passing with one metric or another, the same without it, a plain transformer.

``build_tagger`` makes one by its name in ``TAGGERS``: ``LieGNN`` with the metric that was found, ``LorentzNet`` with
Minkowski's, ``EGNN`` with Euclid's, ``LorentzNet, raw`` (``RawGNN``) with none, and ``Transformer``
(``JetTransformer``). Each turns a ``JetBatch`` into logits (b, 2) of QCD and top.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from discover.networks.fitting import seeded
from equivariant import load_lorentznet
from equivariant.nn.liegnn import LieGNN, LieGNNBlock, psi
from tasks.top_tagging.data.batches import JetBatch
from tasks.top_tagging.data.jets import MINKOWSKI

__all__ = ["FEATURES", "PUBLISHED", "TAGGERS", "GraphTagger", "JetTransformer", "RawBlock", "RawGNN", "Tagger",
           "TaggerSize", "TransformerTagger", "build_tagger", "constituent_features",
           "published_tagger"]  # fmt: skip

TAGGERS = ("LieGNN", "LorentzNet", "LorentzNet, raw", "EGNN", "Transformer")
PUBLISHED = "LorentzNet, published"  # trained elsewhere; see ``equivariant.load_lorentznet``
FORMS = {"LorentzNet": MINKOWSKI, "EGNN": torch.eye(4, dtype=torch.float64)}
SCALARS = 2  # columns of ``node_scalars``

FEATURES = ("log pT", "log E", "log pT/pT(jet)", "log E/E(jet)", "delta R", "delta eta", "delta phi")
# (x - shift) * scale brings each to order one, as ParT's own settings do.
SHIFT = (1.7, 2.0, -4.7, -4.7, 0.2, 0.0, 0.0)
SCALE = (0.7, 0.7, 0.7, 0.7, 4.0, 1.0, 1.0)
SMALL = 1e-6  # GeV; keeps logarithms finite


def constituent_features(p4: Tensor, mask: Tensor) -> Tensor:
    """``FEATURES`` of every constituent, those of ParticleNet (Qu & Gouskos 2019, arXiv 1902.08570) and ParT
    (Qu et al. 2022, arXiv 2202.03772), shifted and scaled to order one.

    The jet is the sum of its constituents; angles are to its axis.

    Args:
        p4: four-momenta (E, px, py, pz) [GeV], shape (b, n, 4).
        mask: true where a constituent exists, (b, n).

    Returns:
        Shape (b, n, 7); zero where there is no constituent.
    """
    there = mask.unsqueeze(-1)
    p4 = torch.where(there, p4, p4.new_tensor([1.0, 1.0, 0.0, 0.0]))
    jet = (p4 * there).sum(1, keepdim=True)
    jet = torch.where(mask.any(1)[:, None, None], jet, p4.new_tensor([1.0, 1.0, 0.0, 0.0]))
    energy, pt, eta, phi = _polar(p4)
    jet_energy, jet_pt, jet_eta, jet_phi = _polar(jet)
    d_eta, d_phi = eta - jet_eta, torch.remainder(phi - jet_phi + torch.pi, 2 * torch.pi) - torch.pi
    columns = (pt.log(), energy.log(), (pt / jet_pt).log(), (energy / jet_energy).log(),
               torch.hypot(d_eta, d_phi), d_eta, d_phi)  # fmt: skip
    return (torch.stack(columns, -1) - p4.new_tensor(SHIFT)) * p4.new_tensor(SCALE) * there


def _polar(p4: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Energy, transverse momentum [GeV], pseudorapidity and azimuth of (..., 4)."""
    energy, px, py, pz = p4.unbind(-1)
    pt = torch.hypot(px, py).clamp(min=SMALL)
    return energy.clamp(min=SMALL), pt, torch.asinh(pz / pt), torch.atan2(py, px)


class JetTransformer(nn.Module):
    """Linear map of the features, ``torch.nn.TransformerEncoder`` (norm first), two linear maps of the class token.

    Empty jets are allowed: they hold the token.

    Args:
        outputs: numbers given for each jet.
        hidden: width; that between the two maps of a layer is twice as large.
        layers: of the encoder.
        heads: of attention; must divide hidden.
        dropout: before the last map.

    Shapes:
        p4 (b, n, 4) [GeV], mask (b, n) -> (b, outputs).
    """

    def __init__(
        self, outputs: int = 2, *, hidden: int = 72, layers: int = 6, heads: int = 4, dropout: float = 0.2
    ):
        super().__init__()
        if hidden < 1 or layers < 1 or heads < 1 or hidden % heads:
            raise ValueError(
                f"sizes must be positive and heads must divide hidden, got {hidden=}, {layers=}, {heads=}"
            )
        self.embedding = nn.Linear(len(FEATURES), hidden)
        self.token = nn.Parameter(torch.empty(hidden))
        # dropout belongs to the read-out alone, as in the other taggers
        layer = nn.TransformerEncoderLayer(
            hidden, heads, 2 * hidden, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        norm = nn.LayerNorm(hidden)
        self.encoder = nn.TransformerEncoder(layer, layers, norm=norm, enable_nested_tensor=False)
        last = nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, outputs)
        self.readout = nn.Sequential(*last)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initial weights: each layer has its own, where PyTorch copies one; the token's are small."""
        nn.init.normal_(self.token, std=0.02)
        for parameter in self.encoder.parameters():
            if parameter.ndim > 1:
                nn.init.xavier_uniform_(parameter)

    def forward(self, p4: Tensor, mask: Tensor) -> Tensor:
        nodes = self.embedding(constituent_features(p4, mask))
        token = self.token.to(nodes.dtype).expand(len(nodes), 1, -1)
        padding = nn.functional.pad(~mask, (1, 0))
        return self.readout(self.encoder(torch.cat([token, nodes], 1), src_key_padding_mask=padding)[:, 0])


class RawBlock(LieGNNBlock):
    r"""``LieGNNBlock`` whose messages are made of components (the ablation of Gong et al. 2022, 2201.08187).

    .. math:: m_{ij} = \phi_e(h_i, h_j, \psi(x_i), \psi(x_j))

    psi(t) = sign(t) log(1 + |t|) of every component [GeV] brings momenta to the range of the other inputs, as
    it does for the invariants. All else, the updates of x too, is as in ``LieGNNBlock``; of the metrics only
    their size k is read. The first map acts on a concatenation, so nothing is computed per pair for it.

    Args:
        metrics: as for ``LieGNNBlock``.
        hidden: as for ``LieGNNBlock``.
        scalars: as for ``LieGNNBlock``.
        settings: as for ``LieGNNBlock``.
    """

    def __init__(self, metrics: Tensor, hidden: int = 72, scalars: int = 0, **settings):
        super().__init__(metrics, hidden, scalars, **settings)
        weight = self.phi_e[0].weight
        seen = 2 * (hidden + self.vectors * self.dim)
        self.phi_e[0] = nn.Linear(seen, hidden, bias=False, device=weight.device, dtype=weight.dtype)  # type: ignore[arg-type]

    def _edge_inputs(self, h: Tensor, x: Tensor, edge_scalars: Tensor | None) -> tuple[Tensor, Tensor]:
        nothing = x.new_empty(0, *x.shape[:2], x.shape[1])
        return torch.cat([h, psi(x)], dim=-1), nothing

    def _first(self) -> tuple[Tensor, Tensor, Tensor]:
        weight: Tensor = self.phi_e[0].weight  # type: ignore[assignment]
        target, source = weight.chunk(2, dim=1)
        return target, source, weight[:, :0]


class RawGNN(LieGNN):
    """``LieGNN`` of ``RawBlock``s, with the same shapes and settings; only its node scalars are invariant.

    Args:
        scalars: columns of the node scalars.
        outputs: numbers given for each jet.
        dimension: of the vectors.
        settings: as for ``LieGNN``.
    """

    def __init__(self, scalars: int, outputs: int = 2, *, dimension: int = 4, **settings):
        form = torch.eye(dimension, dtype=torch.float64)
        super().__init__(form, scalars, outputs, **settings)
        self.blocks = nn.ModuleList(_without_symmetry(block) for block in self.blocks)  # type: ignore[arg-type]


def _without_symmetry(block: LieGNNBlock) -> RawBlock:
    return RawBlock(
        block.metrics,
        block.hidden,
        block.scalars,
        vectors=block.vectors,
        step=block.step,
        update_x=block.update_x,
        clamp=block.clamp,
        dtype=block.phi_e[0].weight.dtype,  # type: ignore[arg-type]
    )


@dataclass(frozen=True, kw_only=True)
class TaggerSize:
    """How large a tagger is; taggers of one size have about as many parameters.

    The default, about four thousand parameters, is trained on one core in minutes; the published LorentzNet has
    ``hidden=72, layers=6, dropout=0.2``, about 224 thousand.

    Args:
        hidden: width.
        layers: number of blocks.
        dropout: before the last map.
        heads: of the transformer.
    """

    hidden: int = 16
    layers: int = 2
    dropout: float = 0.0
    heads: int = 4


class GraphTagger(nn.Module):
    """A network of node scalars and momenta, as ``LieGNN`` is; it takes every node, beams too.

    Args:
        net: takes scalars (b, n, 2), momenta (b, n, 4) and mask (b, n).
    """

    def __init__(self, net: LieGNN):
        super().__init__()
        self.net = net

    def forward(self, batch: JetBatch) -> Tensor:
        return self.net(batch.scalars, batch.p4, batch.mask)


class TransformerTagger(nn.Module):
    """A network of constituents alone: beams, the nodes with a scalar in the beams' column, are left out.

    Args:
        net: takes momenta (b, n, 4) and mask (b, n).
    """

    def __init__(self, net: JetTransformer):
        super().__init__()
        self.net = net

    def forward(self, batch: JetBatch) -> Tensor:
        return self.net(batch.p4, batch.mask & (batch.scalars[..., 1] == 0))


Tagger = GraphTagger | TransformerTagger


def published_tagger(weights: dict[str, Tensor]) -> GraphTagger:
    """The published LorentzNet, float32, of the tensors in its weight file."""
    return GraphTagger(load_lorentznet(weights).float())


def build_tagger(name: str, size: TaggerSize, *, metric: Tensor | None = None, seed: int = 0) -> Tagger:
    """An untrained tagger, float32. All but the transformer take the same invariant node scalars, and beams.

    ``"LorentzNet"`` (Gong et al. 2022, arXiv 2201.08187) has the metric diag(1, -1, -1, -1), ``"EGNN"`` (Satorras et
    al. 2021, arXiv 2102.09844) the identity, ``"LorentzNet, raw"`` and ``"Transformer"`` none.

    Args:
        name: one of ``TAGGERS``.
        size: of the network.
        metric: for ``"LieGNN"`` alone: the invariant form that was found (4, 4), or several (r, 4, 4), of norm 2 as
            Minkowski's.
        seed: of the initial weights.

    Returns:
        A module ``tagger(batch)`` -> logits (b, 2) of QCD and top.

    Raises:
        ValueError: for an unknown name, a metric that is missing, or one given where none is taken.

    Example:
        >>> tagger = build_tagger("LieGNN", TaggerSize(hidden=8), metric=MINKOWSKI)
        >>> sum(parameter.numel() for parameter in tagger.parameters())
        1156
    """
    if name not in TAGGERS:
        raise ValueError(f"unknown tagger {name!r}; choose from {list(TAGGERS)}")
    if (metric is not None) != (name == "LieGNN"):
        expected = (
            "needs a metric (4, 4)" if name == "LieGNN" else "has a metric of its own; leave out metric"
        )
        raise ValueError(f"{name!r} {expected}, got {None if metric is None else tuple(metric.shape)}")
    if metric is not None and metric.shape[-2:] != (4, 4):
        raise ValueError(f"metric must have shape (4, 4) or (r, 4, 4), got {tuple(metric.shape)}")
    return seeded(torch.Generator().manual_seed(seed), lambda: _build(name, size, metric))


def _build(name: str, size: TaggerSize, metric: Tensor | None) -> Tagger:
    if name == "Transformer":
        return TransformerTagger(
            JetTransformer(hidden=size.hidden, layers=size.layers, heads=size.heads, dropout=size.dropout)
        )
    shared = {"hidden": size.hidden, "layers": size.layers, "dropout": size.dropout}
    if name == "LorentzNet, raw":
        return GraphTagger(RawGNN(SCALARS, **shared))
    return GraphTagger(LieGNN(FORMS[name] if metric is None else metric, SCALARS, **shared))
