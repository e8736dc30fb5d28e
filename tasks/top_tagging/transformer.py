"""A plain transformer on standard constituent features: attention among constituents and one class token."""

import torch
from torch import Tensor, nn

__all__ = ["FEATURES", "JetTransformer", "constituent_features"]

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
