"""Jets as PyTorch Geometric graphs: every constituent, and by option both beams, joined to all others."""

import torch
from torch import Tensor
from torch_geometric.data import Data, Dataset

from tasks.top_tagging.batches import Pad
from tasks.top_tagging.jets import CAP, Jets

__all__ = ["JetGraphs", "fully_connected"]


def fully_connected(n: int) -> Tensor:
    """Every ordered pair of different nodes, ``edge_index`` (2, n (n - 1)), int64."""
    target, source = torch.meshgrid(torch.arange(n), torch.arange(n), indexing="ij")
    apart = target != source
    return torch.stack([source[apart], target[apart]])


class JetGraphs(Dataset):
    """Graphs for ``LieGNNConv``, made when asked for.

    Args:
        jets: where they come from.
        beams, cap, dtype: as for ``Pad``.

    Each graph has ``x`` (n, 4) (E, px, py, pz) [GeV], ``scalars`` (n, 2), ``edge_index`` (2, n (n - 1)) and
    ``y`` (1,), int64. An empty jet has no node, or its beams only; one node has no edge.
    """

    def __init__(self, jets: Jets, *, beams: bool = True, cap: int = CAP, dtype: torch.dtype = torch.float64):
        super().__init__()
        self.jets, self.pad = jets, Pad(beams=beams, cap=cap, dtype=dtype)

    def len(self) -> int:
        return len(self.jets)

    def get(self, idx: int) -> Data:
        batch = self.pad(self.jets[idx])
        nodes = batch.p4.shape[1]
        return Data(
            x=batch.p4[0],
            scalars=batch.scalars[0],
            edge_index=fully_connected(nodes),
            y=batch.label,
            num_nodes=nodes,
        )
