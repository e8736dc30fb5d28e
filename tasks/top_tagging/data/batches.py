"""Jets as networks take them: padded four-momenta with an explicit mask, or graphs, with invariant node scalars.

``Pad`` makes a ``JetBatch`` of jets; ``batches``, ``epoch_order`` and ``by_length`` say which jets go together;
``prefetched`` makes batches while a GPU computes; ``JetGraphs`` are the same nodes for PyTorch Geometric.
"""

import math
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import Dataset
from torch_geometric.data import Data
from torch_geometric.data import Dataset as GraphDataset

from equivariant.nn.liegnn import psi
from tasks.top_tagging.data.jets import CAP, Jets

__all__ = ["BEAMS", "JetBatch", "JetDataset", "JetGraphs", "Pad", "batches", "by_length", "epoch_order",
           "fully_connected", "node_scalars", "prefetched"]  # fmt: skip

BEAMS = torch.tensor([[math.sqrt(2), 0.0, 0.0, 1.0], [math.sqrt(2), 0.0, 0.0, -1.0]], dtype=torch.float64)


def node_scalars(p4: Tensor, beam: Tensor) -> Tensor:
    """Lorentz-invariant scalars of nodes: psi(sqrt|m^2|), in the column of the node's kind (particle, beam).

    As in LorentzNet (Gong et al. 2022, arXiv 2201.08187), psi(t) = sign(t) log(1 + |t|).

    Args:
        p4: four-momenta (E, px, py, pz) [GeV], shape (..., 4).
        beam: whether a node is a beam, boolean (...).

    Returns:
        Shape (..., 2); the other kind's column is 0.

    Example:
        >>> node_scalars(BEAMS, torch.tensor([True, True]))[0]
        tensor([0.0000, 0.6931], dtype=torch.float64)
    """
    energy, momentum = p4[..., 0], p4[..., 1:].norm(dim=-1)
    mass = ((energy - momentum) * (energy + momentum)).abs().sqrt()
    return psi(torch.stack([~beam, beam], dim=-1) * mass[..., None])


@dataclass(frozen=True, kw_only=True, eq=False)
class JetBatch:
    """b jets padded to n nodes; beams, where asked for, are the first two nodes. Padding is zero.

    Args:
        p4: four-momenta (E, px, py, pz) [GeV], shape (b, n, 4).
        mask: true where a node exists, boolean (b, n); only it says what is padding.
        scalars: those of ``node_scalars``, shape (b, n, 2).
        label: 1 for top, 0 for QCD, int64 (b,).

    Example:
        >>> batch = Pad(beams=False)(Jets.empty())
        >>> len(batch), batch.p4.shape
        (0, torch.Size([0, 0, 4]))
    """

    p4: Tensor
    mask: Tensor
    scalars: Tensor
    label: Tensor

    def __len__(self) -> int:
        return len(self.label)

    def to(self, device: torch.device | str) -> "JetBatch":
        """A copy on another device; to a GPU it is sent while the CPU goes on."""
        pinned = torch.device(device).type == "cuda"
        tensors = {
            name: x.pin_memory() if pinned and x.device.type == "cpu" else x for name, x in vars(self).items()
        }
        return JetBatch(**{name: x.to(device, non_blocking=pinned) for name, x in tensors.items()})


@dataclass(frozen=True, kw_only=True)
class Pad:
    """Makes a ``JetBatch`` of jets, or of a list of them: a ``collate_fn``.

    An empty jet has a row of padding, or its beams only.

    Args:
        beams: put two nodes (sqrt 2, 0, 0, +-1) first; they break Lorentz symmetry to that of a collision.
        cap: constituents at most, the hardest.
        dtype: of the result; energies and scalars are computed in float64 whatever it is.

    Example:
        >>> jets = Jets(p3=torch.ones(3, 3), offsets=torch.tensor([0, 3]), label=torch.tensor([1], dtype=torch.int8))
        >>> Pad(cap=2)(jets).mask
        tensor([[True, True, True, True]])
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
        scalars = node_scalars(p4, beam).to(self.dtype)
        return JetBatch(p4=p4.to(self.dtype), mask=mask, scalars=scalars, label=jets.label.long())


class JetDataset(Dataset[Jets]):
    """Jets one at a time, for a ``DataLoader`` with ``collate_fn=Pad(...)``.

    Args:
        jets: where they come from.

    Example:
        >>> len(JetDataset(Jets.empty()))
        0
    """

    def __init__(self, jets: Jets):
        self.jets = jets

    def __len__(self) -> int:
        return len(self.jets)

    def __getitem__(self, index: int) -> Jets:
        return self.jets[index]


def batches(
    jets: Jets, size: int, pad: Pad | None = None, generator: torch.Generator | None = None
) -> Iterator[JetBatch]:
    """All jets once, ``size`` at a time: in order, or shuffled.

    Args:
        jets: what to go through.
        size: jets in a batch; the last one may have fewer.
        pad: how batches are made; ``Pad()`` by default.
        generator: shuffles the jets, where given.

    Returns:
        An iterator of batches.

    Raises:
        ValueError: for a size below 1.

    Example:
        >>> list(batches(Jets.empty(), 10))[0].label
        tensor([], dtype=torch.int64)
    """
    if size < 1:
        raise ValueError(f"size must be at least 1 jet a batch, got {size}")
    order = torch.arange(len(jets)) if generator is None else torch.randperm(len(jets), generator=generator)
    for chosen in order.split(size):
        yield (pad or Pad())(jets[chosen])


POOL = 4  # batches whose jets are sorted by length among each other: less padding, and batches still mixed


def epoch_order(counts: Tensor, size: int, seed: int, epoch: int) -> list[Tensor]:
    """Indices of all jets, each once, in batches of at most ``size`` jets and of sizes that differ by one at most.

    Args:
        counts: constituents of each jet (n,), as many as are used.
        size: jets in a batch at most.
        seed: of the order.
        epoch: the same seed and epoch give the same order.
    """
    rng = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    shuffled = torch.randperm(len(counts), generator=rng)
    pools = shuffled.split(POOL * size)
    ordered = torch.cat([pool[counts[pool].argsort(stable=True)] for pool in pools])
    parts = ordered.tensor_split(-(-len(counts) // size))
    return [parts[i] for i in torch.randperm(len(parts), generator=rng).tolist()]


def by_length(counts: Tensor, size: int) -> tuple[Tensor, ...]:
    """Indices of all jets, sorted by length, ``size`` at a time: to score them with little padding."""
    return counts.argsort(stable=True).split(size)


def prefetched(jets: Jets, orders: Sequence[Tensor], pad: Pad, device: torch.device) -> Iterator[JetBatch]:
    """The batches on ``device``; for another one than a CPU a thread makes and sends them, two ahead."""
    made = (pad(jets[chosen]).to(device) for chosen in orders)
    return made if device.type == "cpu" else _ahead(made, 2)


def _ahead(made: Iterator[JetBatch], depth: int) -> Iterator[JetBatch]:
    """The same batches, made by a thread of their own; what it raises is raised here."""
    with ThreadPoolExecutor(1) as thread:
        waiting = deque(thread.submit(next, made, None) for _ in range(depth))
        while (batch := waiting.popleft().result()) is not None:
            waiting.append(thread.submit(next, made, None))
            yield batch


def fully_connected(n: int) -> Tensor:
    """Every ordered pair of different nodes, ``edge_index`` (2, n (n - 1)), int64."""
    target, source = torch.meshgrid(torch.arange(n), torch.arange(n), indexing="ij")
    apart = target != source
    return torch.stack([source[apart], target[apart]])


class JetGraphs(GraphDataset):
    """Graphs for ``LieGNNConv``, made when asked for.

    Each graph has ``x`` (n, 4) (E, px, py, pz) [GeV], ``scalars`` (n, 2), ``edge_index`` (2, n (n - 1)) and
    ``y`` (1,), int64. An empty jet has no node, or its beams only; one node has no edge.

    Args:
        jets: where they come from.
        beams: as for ``Pad``.
        cap: as for ``Pad``.
        dtype: as for ``Pad``.

    Example:
        >>> jets = Jets(p3=torch.ones(3, 3), offsets=torch.tensor([0, 3]), label=torch.tensor([1], dtype=torch.int8))
        >>> JetGraphs(jets)[0]
        Data(x=[5, 4], edge_index=[2, 20], y=[1], scalars=[5, 2], num_nodes=5)
    """

    def __init__(self, jets: Jets, *, beams: bool = True, cap: int = CAP, dtype: torch.dtype = torch.float64):
        super().__init__()
        self.jets, self.pad = jets, Pad(beams=beams, cap=cap, dtype=dtype)

    def len(self) -> int:
        return len(self.jets)

    def get(self, idx: int) -> Data:
        batch = self.pad(self.jets[idx])
        n = batch.p4.shape[1]
        edges = fully_connected(n)
        return Data(x=batch.p4[0], scalars=batch.scalars[0], edge_index=edges, y=batch.label, num_nodes=n)
