"""Jets as networks take them: padded four-momenta with an explicit mask, and scalars of each node."""

import math
import queue
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils.data import Dataset
from torch_geometric.data import Data
from torch_geometric.data import Dataset as GraphDataset

from equivariant.nn.liegnn import psi
from tasks.top_tagging.data.jets import CAP, Jets

__all__ = [
    "BEAMS",
    "JetBatch",
    "JetDataset",
    "JetGraphs",
    "Pad",
    "batches",
    "by_length",
    "epoch_order",
    "fully_connected",
    "node_scalars",
    "prefetched",
]

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


POOL = 4  # batches whose jets are sorted by length among each other: less padding, and batches still mixed


def epoch_order(counts: Tensor, size: int, seed: int, epoch: int) -> list[Tensor]:
    """Numbers of all jets, each once, in batches of at most ``size`` jets and of sizes that differ by one at most.

    Args:
        counts: constituents of each jet (n,), as many as are used. seed, epoch: the same, the same order.
    """
    random = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    shuffled = torch.randperm(len(counts), generator=random)
    pools = shuffled.split(POOL * size)
    ordered = torch.cat([pool[counts[pool].argsort(stable=True)] for pool in pools])
    batches = ordered.tensor_split(-(-len(counts) // size))
    return [batches[i] for i in torch.randperm(len(batches), generator=random).tolist()]


def by_length(counts: Tensor, size: int) -> tuple[Tensor, ...]:
    """Numbers of all jets, sorted by length, ``size`` at a time: to score them with little padding."""
    return counts.argsort(stable=True).split(size)


def prefetched(jets: Jets, orders: list[Tensor], pad: Pad, device: torch.device) -> Iterator[JetBatch]:
    """The batches on ``device``; for another one than a CPU they are made and sent by a thread, two ahead."""
    made = (pad(jets[chosen]) for chosen in orders)
    if device.type == "cpu":
        return made
    return _ahead((_sent(batch, device) for batch in made), 2)


def _sent(batch: JetBatch, device: torch.device) -> JetBatch:
    """A copy on a device, made while it computes."""
    tensors = {name: getattr(batch, name) for name in ("p4", "mask", "scalars", "label")}
    if device.type == "cuda":
        tensors = {name: tensor.pin_memory() for name, tensor in tensors.items()}
    return JetBatch(**{name: tensor.to(device, non_blocking=True) for name, tensor in tensors.items()})


def _ahead(batches: Iterator[JetBatch], depth: int) -> Iterator[JetBatch]:
    """The same batches, made by a thread of their own; what it raises is raised here."""
    waiting: queue.Queue = queue.Queue(depth)
    stopped = threading.Event()

    def put(item: object) -> None:
        while not stopped.is_set():
            try:
                return waiting.put(item, timeout=0.1)
            except queue.Full:
                continue

    def work() -> None:
        try:
            for batch in batches:
                put(batch)
                if stopped.is_set():
                    return
            put(None)
        except Exception as error:
            put(error)

    threading.Thread(target=work, daemon=True).start()
    try:
        while (item := waiting.get()) is not None:
            if isinstance(item, Exception):
                raise item
            yield item
    finally:
        stopped.set()


def fully_connected(n: int) -> Tensor:
    """Every ordered pair of different nodes, ``edge_index`` (2, n (n - 1)), int64."""
    target, source = torch.meshgrid(torch.arange(n), torch.arange(n), indexing="ij")
    apart = target != source
    return torch.stack([source[apart], target[apart]])


class JetGraphs(GraphDataset):
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
