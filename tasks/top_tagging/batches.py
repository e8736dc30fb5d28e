"""Jets as networks take them: padded four-momenta with an explicit mask, and scalars of each node."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import Dataset

from equivariant.gnn import psi
from tasks.top_tagging.jets import CAP, Jets

__all__ = ["BEAMS", "JetBatch", "JetDataset", "Pad", "batches", "node_scalars"]

BEAMS = torch.tensor([[math.sqrt(2), 0.0, 0.0, 1.0], [math.sqrt(2), 0.0, 0.0, -1.0]], dtype=torch.float64)


def node_scalars(p4: Tensor, beam: Tensor) -> Tensor:
    """psi(sqrt|m^2|) in the column of a node's kind, (particle, beam), and 0 in the other; LorentzNet's.

    Shapes: p4 (..., 4) (E, px, py, pz) [GeV], beam (...) boolean -> (..., 2). Lorentz invariant.
    """
    energy, momentum = p4[..., 0], p4[..., 1:].norm(dim=-1)
    mass = ((energy - momentum) * (energy + momentum)).abs().sqrt()
    return psi(torch.stack([~beam, beam], dim=-1) * mass[..., None])


@dataclass(frozen=True, kw_only=True, eq=False)
class JetBatch:
    """b jets padded to n nodes; beams, where asked for, are the first two nodes.

    ``p4`` (b, n, 4) (E, px, py, pz) [GeV], ``mask`` (b, n) true where a node exists, ``scalars`` (b, n, 2) of
    ``node_scalars``, ``label`` (b,) int64. Padding is zero; only ``mask`` says that it is padding.
    """

    p4: Tensor
    mask: Tensor
    scalars: Tensor
    label: Tensor

    def __len__(self) -> int:
        return len(self.label)

    def to(self, device: torch.device | str) -> "JetBatch":
        """A copy on another device."""
        return JetBatch(
            p4=self.p4.to(device),
            mask=self.mask.to(device),
            scalars=self.scalars.to(device),
            label=self.label.to(device),
        )


@dataclass(frozen=True, kw_only=True)
class Pad:
    """Makes a ``JetBatch`` of jets, or of a list of them: a ``collate_fn``.

    Args:
        beams: two nodes (sqrt 2, 0, 0, +-1) first; what breaks Lorentz symmetry to that of a collision.
        cap: constituents at most, the hardest.
        dtype: of the result; energies and scalars are computed in float64 whatever it is.

    An empty jet has a row of padding, or its beams only.
    """

    beams: bool = True
    cap: int = CAP
    dtype: torch.dtype = torch.float64

    def __call__(self, jets: Jets | Sequence[Jets]) -> JetBatch:
        jets = (jets if isinstance(jets, Jets) else Jets.join(jets)).leading(self.cap)
        first = len(BEAMS) if self.beams else 0
        counts = jets.counts
        longest = int(counts.max()) if len(jets) else 0
        mask = torch.arange(first + longest) < (first + counts)[:, None]
        beam = (torch.arange(first + longest) < first).expand(mask.shape)
        p4 = torch.zeros(*mask.shape, 4, dtype=torch.float64)
        p4[mask & ~beam] = jets.p4()
        p4[:, :first] = BEAMS[:first]
        return JetBatch(
            p4=p4.to(self.dtype),
            mask=mask,
            scalars=node_scalars(p4, beam).to(self.dtype),
            label=jets.label.long(),
        )


class JetDataset(Dataset[Jets]):
    """Jets one at a time, for a ``DataLoader`` with ``collate_fn=Pad(...)``."""

    def __init__(self, jets: Jets):
        self.jets = jets

    def __len__(self) -> int:
        return len(self.jets)

    def __getitem__(self, index: int) -> Jets:
        return self.jets[index]


def batches(
    jets: Jets, size: int, pad: Pad | None = None, generator: torch.Generator | None = None
) -> Iterator[JetBatch]:
    """All jets once, ``size`` at a time: in order, or shuffled by ``generator``."""
    if size < 1:
        raise ValueError(f"wanted a batch of at least 1 jet, got {size}")
    order = torch.arange(len(jets)) if generator is None else torch.randperm(len(jets), generator=generator)
    for chosen in order.split(size):
        yield (pad or Pad())(jets[chosen])
