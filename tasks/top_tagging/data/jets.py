"""Jets as one ragged value: constituents' momenta (m, 3) in GeV, where each jet begins, and its label.

Four-momenta are (E, px, py, pz) in GeV everywhere in this task; ``MOMENTUM`` names them and ``MINKOWSKI`` is the form
that gives their squared masses.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

import torch
from torch import Tensor

from equivariant import catalogue

__all__ = ["CAP", "COLUMNS", "MINKOWSKI", "MOMENTUM", "Jets", "Tally"]

MOMENTUM = catalogue.lorentz().coordinates
MINKOWSKI = torch.diag(torch.tensor([1.0, -1.0, -1.0, -1.0], dtype=torch.float64))
COLUMNS = MOMENTUM[1:]  # of a file of massless constituents
CAP = 200  # constituents a jet may have, as in the reference set


@dataclass(frozen=True, kw_only=True)
class Tally:
    """How many of ``jets`` have no constituents, one only, or more than ``cap``.

    Args:
        jets: jets counted.
        empty: those without constituents.
        single: those with one.
        over_cap: those with more than ``cap``.
        cap: number of constituents that a tagger takes at most.

    Example:
        >>> Tally(jets=3, empty=1) + Tally(jets=2, single=1)
        Tally(jets=5, empty=1, single=1, over_cap=0, cap=200)
    """

    jets: int
    empty: int = 0
    single: int = 0
    over_cap: int = 0
    cap: int = CAP

    def __add__(self, other: "Tally") -> "Tally":
        if other.cap != self.cap:
            raise ValueError(
                f"tallies of caps {self.cap} and {other.cap} do not add; count both with one cap"
            )
        counted = ("jets", "empty", "single", "over_cap")
        return Tally(cap=self.cap, **{name: getattr(self, name) + getattr(other, name) for name in counted})

    def __str__(self) -> str:
        over = f"{self.over_cap} over {self.cap}"
        return f"{self.jets} jets ({self.empty} empty, {self.single} of one constituent, {over})"


@dataclass(frozen=True, kw_only=True, eq=False)
class Jets:
    """n jets of massless constituents, hardest first within each jet; two are equal if their ``digest`` is.

    Energies are not stored: a float32 (E, p) has up to 0.3 GeV of false mass, so ``p4`` computes E = |p|.

    Args:
        p3: (px, py, pz) [GeV] of all constituents, jet after jet, float32 (m, 3).
        offsets: where each jet begins, and m at the end; int64 (n + 1,).
        label: 1 for top, 0 for QCD; int8 (n,).

    Raises:
        ValueError: for shapes or dtypes that do not fit together, NaN, or another label.

    Example:
        >>> p3 = torch.tensor([[3.0, 0.0, 4.0], [3.0, 0.0, -4.0], [0.0, 2.0, 0.0]])
        >>> jets = Jets(p3=p3, offsets=torch.tensor([0, 2, 3]), label=torch.tensor([1, 0], dtype=torch.int8))
        >>> jets
        Jets(2 jets, 1 top, 3 constituents)
        >>> jets.masses()
        tensor([8., 0.], dtype=torch.float64)
        >>> jets[0].counts
        tensor([2])
    """

    p3: Tensor
    offsets: Tensor
    label: Tensor

    def __post_init__(self) -> None:
        _check_tensors(self.p3, self.offsets, self.label)
        _check_values(self.p3, self.offsets, self.label)

    @classmethod
    def empty(cls) -> "Jets":
        """No jets at all."""
        return cls(
            p3=torch.zeros(0, 3), offsets=torch.zeros(1).long(), label=torch.zeros(0, dtype=torch.int8)
        )

    @classmethod
    def join(cls, parts: Sequence["Jets"]) -> "Jets":
        """All jets of ``parts``, one after the other."""
        counts = torch.cat([cls.empty().counts, *(part.counts for part in parts)])
        return cls(
            p3=torch.cat([torch.zeros(0, 3), *(part.p3 for part in parts)]),
            offsets=_offsets(counts),
            label=torch.cat([torch.zeros(0, dtype=torch.int8), *(part.label for part in parts)]),
        )

    def __len__(self) -> int:
        return len(self.label)

    def __getitem__(self, index: int | slice | Sequence[int] | Tensor) -> "Jets":
        """The jets of a slice, a list, or a tensor of numbers or booleans; an integer gives one jet."""
        chosen = self._numbers(index)
        counts, begin = self.counts[chosen], self.offsets[chosen]
        offsets = _offsets(counts)
        rows = torch.arange(int(offsets[-1])) + (begin - offsets[:-1]).repeat_interleave(counts)
        return Jets(p3=self.p3[rows], offsets=offsets, label=self.label[chosen])

    @property
    def counts(self) -> Tensor:
        """Constituents of each jet (n,)."""
        return self.offsets.diff()

    @property
    def digest(self) -> str:
        """SHA-256 of the content."""
        digest = sha256(f"{len(self)} {len(self.p3)}".encode())
        for tensor, kind in ((self.p3, "<f4"), (self.offsets, "<i8"), (self.label, "i1")):
            digest.update(tensor.contiguous().numpy().astype(kind, copy=False).tobytes())
        return digest.hexdigest()

    def p4(self) -> Tensor:
        """(E, px, py, pz) [GeV] of every constituent with E = |p|, float64 (m, 4)."""
        p3 = self.p3.double()
        return torch.cat([p3.norm(dim=1, keepdim=True), p3], dim=1)

    def momenta(self) -> Tensor:
        """(E, px, py, pz) [GeV] of every jet, float64 (n, 4)."""
        jet = torch.arange(len(self)).repeat_interleave(self.counts)
        return torch.zeros(len(self), 4, dtype=torch.float64).index_add(0, jet, self.p4())

    def masses(self) -> Tensor:
        """Mass [GeV] of every jet, float64 (n,)."""
        energy, momentum = self.momenta()[:, 0], self.momenta()[:, 1:].norm(dim=1)
        return ((energy - momentum) * (energy + momentum)).clamp(min=0).sqrt()

    def leading(self, n: int) -> "Jets":
        """The same jets with at most their first n constituents."""
        if n < 1:
            raise ValueError(f"a jet must keep at least one constituent, got {n}")
        place = torch.arange(len(self.p3)) - self.offsets[:-1].repeat_interleave(self.counts)
        return Jets(p3=self.p3[place < n], offsets=_offsets(self.counts.clamp(max=n)), label=self.label)

    def tally(self, cap: int = CAP) -> Tally:
        """How many jets are empty, have one constituent, or more than ``cap``."""
        counts = self.counts
        return Tally(
            jets=len(self),
            empty=int((counts == 0).sum()),
            single=int((counts == 1).sum()),
            over_cap=int((counts > cap).sum()),
            cap=cap,
        )

    def __repr__(self) -> str:
        return f"Jets({len(self)} jets, {int(self.label.sum())} top, {len(self.p3)} constituents)"

    def _numbers(self, index: int | slice | Sequence[int] | Tensor) -> Tensor:
        every = torch.arange(len(self))
        if isinstance(index, int):
            if not -len(self) <= index < len(self):
                raise IndexError(f"jet {index} of {len(self)}")
            return every[index].reshape(1)
        return every[index if isinstance(index, slice) else torch.as_tensor(index)].reshape(-1)


def _offsets(counts: Tensor) -> Tensor:
    return torch.cat([torch.zeros(1).long(), counts.long().cumsum(0)])


def _check_tensors(p3: Tensor, offsets: Tensor, label: Tensor) -> None:
    expected = {
        "p3": (p3, torch.float32, 2),
        "offsets": (offsets, torch.int64, 1),
        "label": (label, torch.int8, 1),
    }
    for name, (tensor, dtype, ndim) in expected.items():
        if tensor.dtype != dtype or tensor.ndim != ndim:
            raise ValueError(
                f"{name} must be {dtype} of {ndim} axes, got {tensor.dtype} {tuple(tensor.shape)}"
            )
    if p3.shape[1] != 3:
        raise ValueError(f"p3 must have shape (m, 3): px, py, pz in GeV, got {tuple(p3.shape)}")
    if len(offsets) != len(label) + 1:
        raise ValueError(f"offsets must be one more than labels, got {len(offsets)} and {len(label)}")


def _check_values(p3: Tensor, offsets: Tensor, label: Tensor) -> None:
    if int(offsets[0]) != 0 or int(offsets[-1]) != len(p3) or bool((offsets.diff() < 0).any()):
        raise ValueError(
            f"offsets must rise from 0 to {len(p3)}, got {int(offsets[0])} to {int(offsets[-1])}"
        )
    if not bool(torch.isfinite(p3).all()):
        raise ValueError(f"p3 must be finite, got {int((~torch.isfinite(p3)).sum())} NaN or infinite numbers")
    if bool(((label != 0) & (label != 1)).any()):
        raise ValueError(f"labels must be 1 (top) or 0 (QCD), got {sorted(set(label.tolist()))[:5]}")
