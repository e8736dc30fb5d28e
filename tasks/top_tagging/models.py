"""The taggers compared: one block with one metric or another, the same block without it, a plain transformer."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from discover.fitting import seeded
from equivariant import LieGNN
from tasks.top_tagging.batches import JetBatch
from tasks.top_tagging.raw import RawGNN
from tasks.top_tagging.transformer import JetTransformer

__all__ = ["TAGGERS", "GraphTagger", "Tagger", "TaggerSize", "TransformerTagger", "build_tagger"]

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
