"""The taggers compared: one block with one metric or another, the same block without it, a plain transformer."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from discover.networks.fitting import seeded
from equivariant.nn.liegnn import LieGNN, LieGNNBlock, psi
from tasks.top_tagging.data.batches import JetBatch

__all__ = [
    "FEATURES",
    "TAGGERS",
    "GraphTagger",
    "JetTransformer",
    "RawBlock",
    "RawGNN",
    "Tagger",
    "TaggerSize",
    "TransformerTagger",
    "build_tagger",
    "constituent_features",
]

FEATURES = ("log pT", "log E", "log pT/pT(jet)", "log E/E(jet)", "delta R", "delta eta", "delta phi")
# (x - shift) * scale brings each to order one, as ParT's own settings do.
SHIFT = (1.7, 2.0, -4.7, -4.7, 0.2, 0.0, 0.0)
SCALE = (0.7, 0.7, 0.7, 0.7, 4.0, 1.0, 1.0)
SMALL = 1e-6  # GeV; keeps logarithms finite


def constituent_features(p4: Tensor, mask: Tensor) -> Tensor:
    """``FEATURES`` of every constituent, those of ParticleNet (Qu & Gouskos 2019, 1902.08570) and ParT
    (Qu et al. 2022, 2202.03772), shifted and scaled to order one; zero where there is none.

    The jet is the sum of its constituents; angles are to its axis. Shapes: p4 (b, n, 4) (E, px, py, pz) [GeV],
    mask (b, n) -> (b, n, 7).
    """
    there = mask.unsqueeze(-1)
    p4 = torch.where(there, p4, p4.new_tensor([1.0, 1.0, 0.0, 0.0]))
    jet = (p4 * there).sum(1, keepdim=True)
    jet = torch.where(mask.any(1)[:, None, None], jet, p4.new_tensor([1.0, 1.0, 0.0, 0.0]))
    energy, pt, eta, phi = _polar(p4)
    jet_energy, jet_pt, jet_eta, jet_phi = _polar(jet)
    d_eta, d_phi = eta - jet_eta, torch.remainder(phi - jet_phi + torch.pi, 2 * torch.pi) - torch.pi
    columns = (
        pt.log(),
        energy.log(),
        (pt / jet_pt).log(),
        (energy / jet_energy).log(),
        torch.hypot(d_eta, d_phi),
        d_eta,
        d_phi,
    )
    return (torch.stack(columns, -1) - p4.new_tensor(SHIFT)) * p4.new_tensor(SCALE) * there


def _polar(p4: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Energy, transverse momentum [GeV], pseudorapidity and azimuth of (..., 4)."""
    energy, px, py, pz = p4.unbind(-1)
    pt = torch.hypot(px, py).clamp(min=SMALL)
    return energy.clamp(min=SMALL), pt, torch.asinh(pz / pt), torch.atan2(py, px)


class JetTransformer(nn.Module):
    """Linear map of the features, ``layers`` of ``torch.nn.TransformerEncoder`` (norm first), the class token's
    state through two linear maps.

    Args:
        hidden: width; that between the two maps of a layer is twice as large. heads: must divide hidden.

    Shapes: p4 (b, n, 4) [GeV], mask (b, n) -> (b, outputs). The token makes empty jets harmless.
    """

    def __init__(
        self, outputs: int = 2, *, hidden: int = 72, layers: int = 6, heads: int = 4, dropout: float = 0.2
    ):
        super().__init__()
        if hidden < 1 or layers < 1 or heads < 1 or hidden % heads:
            raise ValueError(
                f"wanted positive sizes and heads that divide hidden, got {hidden=}, {layers=}, {heads=}"
            )
        self.embedding = nn.Linear(len(FEATURES), hidden)
        self.token = nn.Parameter(torch.empty(hidden))
        # dropout belongs to the read-out alone, as in the other taggers
        layer = nn.TransformerEncoderLayer(
            hidden, heads, 2 * hidden, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.encoder = nn.TransformerEncoder(
            layer, layers, norm=nn.LayerNorm(hidden), enable_nested_tensor=False
        )
        self.readout = nn.Sequential(
            nn.Linear(hidden, hidden), nn.ReLU(), nn.Dropout(dropout), nn.Linear(hidden, outputs)
        )
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Each layer starts from numbers of its own, where PyTorch copies one; the token starts small."""
        nn.init.normal_(self.token, std=0.02)
        for parameter in self.encoder.parameters():
            if parameter.ndim > 1:
                nn.init.xavier_uniform_(parameter)

    def forward(self, p4: Tensor, mask: Tensor) -> Tensor:
        nodes = self.embedding(constituent_features(p4, mask))
        token = self.token.to(nodes.dtype).expand(len(nodes), 1, -1)
        hidden = self.encoder(
            torch.cat([token, nodes], 1), src_key_padding_mask=nn.functional.pad(~mask, (1, 0))
        )
        return self.readout(hidden[:, 0])


class RawBlock(LieGNNBlock):
    r"""``LieGNNBlock`` whose messages are made of components (the ablation of Gong et al. 2022, 2201.08187).

    .. math:: m_{ij} = \phi_e(h_i, h_j, \psi(x_i), \psi(x_j))

    psi(t) = sign(t) log(1 + |t|) of every component [GeV] brings momenta to the range of the other inputs, as
    it does for the invariants. All else, the moves of x too, is as in ``LieGNNBlock``; of the metrics only
    their size k is read. The first map acts on a concatenation, so nothing is computed per pair for it.
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
    """``LieGNN`` of ``RawBlock``s, in shapes and settings the same; no symmetry but that of its node scalars."""

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


TAGGERS = ("LieGNN", "LorentzNet", "LorentzNet, raw", "EGNN", "Transformer")
FORMS = {"LorentzNet": (1.0, -1.0, -1.0, -1.0), "EGNN": (1.0, 1.0, 1.0, 1.0)}
SCALARS = 2  # columns of ``node_scalars``


@dataclass(frozen=True, kw_only=True)
class TaggerSize:
    """How large a tagger is; with the same size all of them have about as many parameters.

    Args:
        hidden, layers: width and number of blocks. dropout: before the last map. heads: of the transformer.
    """

    hidden: int = 16
    layers: int = 2
    dropout: float = 0.0
    heads: int = 4

    @classmethod
    def small(cls) -> "TaggerSize":
        """About four thousand parameters: trained on one core in minutes."""
        return cls()

    @classmethod
    def full(cls) -> "TaggerSize":
        """The published 6 layers of 72, about 224 thousand parameters."""
        return cls(hidden=72, layers=6, dropout=0.2)


class Tagger(nn.Module):
    """What turns jets into logits of (QCD, top): ``tagger(batch)`` -> (b, 2)."""

    def forward(self, batch: JetBatch) -> Tensor:
        raise NotImplementedError("build a tagger by build_tagger")


class GraphTagger(Tagger):
    """A network of node scalars and momenta, as ``LieGNN`` is; reads every node, beams too."""

    def __init__(self, net: LieGNN):
        super().__init__()
        self.net = net

    def forward(self, batch: JetBatch) -> Tensor:
        return self.net(batch.scalars, batch.p4, batch.mask)


class TransformerTagger(Tagger):
    """A network of constituents alone: beams, the nodes with a scalar in the beams' column, are left out."""

    def __init__(self, net: JetTransformer):
        super().__init__()
        self.net = net

    def forward(self, batch: JetBatch) -> Tensor:
        return self.net(batch.p4, batch.mask & (batch.scalars[..., 1] == 0))


def build_tagger(name: str, size: TaggerSize, *, metric: Tensor | None = None, seed: int = 0) -> Tagger:
    """A tagger with initial weights of ``seed``, float32.

    ``"LieGNN"`` needs ``metric`` (4, 4), the invariant form that was found, or several (r, 4, 4), of norm 2 as
    Minkowski's; the others bring their own: ``"LorentzNet"`` (Gong et al. 2022, 2201.08187) diag(1, -1, -1, -1),
    ``"EGNN"`` (Satorras et al. 2021, 2102.09844) the identity, ``"LorentzNet, raw"`` and ``"Transformer"`` none.
    All but the transformer take the same invariant node scalars and, where batches have them, beams.

    Raises ``ValueError`` for an unknown name, a metric missing, or one given where none is wanted.
    """
    if name not in TAGGERS:
        raise ValueError(f"unknown tagger {name!r}; choose from {list(TAGGERS)}")
    if (metric is not None) != (name == "LieGNN"):
        wanted = "needs a metric (4, 4)" if name == "LieGNN" else "brings its own form; leave out metric"
        raise ValueError(f"{name!r} {wanted}, got {None if metric is None else tuple(metric.shape)}")
    if metric is not None and metric.shape[-2:] != (4, 4):
        raise ValueError(f"metric must have shape (4, 4) or (r, 4, 4), got {tuple(metric.shape)}")
    random = torch.Generator().manual_seed(seed)
    return seeded(random, lambda: _build(name, size, metric))


def _build(name: str, size: TaggerSize, metric: Tensor | None) -> Tagger:
    if name == "Transformer":
        return TransformerTagger(
            JetTransformer(hidden=size.hidden, layers=size.layers, heads=size.heads, dropout=size.dropout)
        )
    shared = {"hidden": size.hidden, "layers": size.layers, "dropout": size.dropout}
    if name == "LorentzNet, raw":
        return GraphTagger(RawGNN(SCALARS, **shared))
    form = torch.diag(torch.tensor(FORMS[name], dtype=torch.float64)) if metric is None else metric
    return GraphTagger(LieGNN(form, SCALARS, **shared))
