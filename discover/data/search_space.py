"""Where a generator is looked for: L = sum_j theta_j B_j with allowed entries that maps the data's span into itself.

A matrix that moves the data out of their own span cannot be a symmetry, and what a matrix does outside that span is
not determined by data. So the search runs over {L : allowed entries, L span <= span} modulo {L : L span = 0}, in
coordinates z in which the data have unit second moments. A symmetry of a distribution with finite second moments is
orthogonal there.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from discover.data.whitening import Whitening
from equivariant.compare import DataSpan

__all__ = ["MEMORY", "SearchSpace", "allowed_entries", "check_memory"]

WIDE = 32  # columns above which a free search space is not stored as a basis of k^2 matrices
MEMORY = 4e9  # bytes that a basis or a system of equations may take

Specification = str | Sequence[Sequence[int]] | Tensor


@dataclass(frozen=True, kw_only=True, eq=False)
class SearchSpace:
    """A basis of the generators that are looked for, seen from the data.

    Args:
        whitening: coordinates z of the data.
        matrices: (m, k, k), the basis as it acts on x; ``None`` for a wide free space, whose basis is too large to be
            stored: it is then every L = decode E_ij encode.
        whitened: (m, r, r), the same in z, where it is orthonormal; ``None`` for a wide free space, where it is E_ij.
    """

    whitening: Whitening
    matrices: Tensor | None
    whitened: Tensor | None

    @property
    def rank(self) -> int:
        """r, the number of whitened coordinates."""
        return len(self.whitening.encode)

    @property
    def size(self) -> int:
        """m, the number of free parameters of one generator."""
        return self.rank**2 if self.matrices is None else len(self.matrices)

    def whitened_basis(self) -> Tensor:
        """The basis (m, r, r) in z, made where it is not stored."""
        if self.whitened is None:
            return torch.eye(self.size, dtype=torch.float64).reshape(-1, self.rank, self.rank)
        return self.whitened

    def combine(self, coefficients: Tensor) -> Tensor:
        """The generators (c, k, k) with coefficients (c, m) in the basis."""
        if self.matrices is None:
            whitened = coefficients.reshape(-1, self.rank, self.rank)
            return self.whitening.decode @ whitened @ self.whitening.encode
        return torch.einsum("cm,mij->cij", coefficients, self.matrices)

    @classmethod
    def of_data(cls, vectors: Tensor, specification: Specification = "free") -> "SearchSpace":
        """The search space for data vectors.

        Args:
            vectors: (n, k).
            specification: the allowed entries, see ``allowed_entries``.

        Returns:
            The space of matrices with these entries that map the span of the data into itself.

        Raises:
            ValueError: when the specification does not fit k, when every allowed matrix either moves the data out
                of their span or does nothing to them, or when the basis does not fit into memory.
        """
        allowed = allowed_entries(specification, vectors.shape[-1])
        whitening = Whitening.of_data(vectors)
        if allowed.all() and len(allowed) > WIDE:
            return cls(whitening=whitening, matrices=None, whitened=None)
        check_memory(
            4 * 8 * int(allowed.sum()) * allowed.numel(), f"a basis of {int(allowed.sum())} matrices"
        )
        # columns of very different units are scaled first: a mask on L is one on S^-1 L S for diagonal S
        scales = whitening.scales
        entries = _keeping_span(_unit_matrices(allowed), whitening.scaled_span)
        whitened = (whitening.encode * scales) @ entries @ (whitening.decode / scales[:, None])
        whitened, matrices = _orthonormal(whitened, entries)
        if not len(whitened):
            raise ValueError(
                f"the search space must hold a generator that acts on the data, got {int(allowed.sum())} free "
                "entries of which none keeps the data in their span and moves them; allow more entries"
            )
        return cls(matrices=scales[:, None] * matrices / scales, whitened=whitened, whitening=whitening)

    @classmethod
    def plain(cls, vectors: Tensor, specification: Specification = "free") -> "SearchSpace":
        """Every allowed entry, in the data's own coordinates: the search space as published."""
        allowed, whitening = allowed_entries(specification, vectors.shape[-1]), Whitening.none(vectors)
        if allowed.all() and len(allowed) > WIDE:
            return cls(whitening=whitening, matrices=None, whitened=None)
        check_memory(
            2 * 8 * int(allowed.sum()) * allowed.numel(), f"a basis of {int(allowed.sum())} matrices"
        )
        entries = _unit_matrices(allowed)
        return cls(matrices=entries, whitened=entries, whitening=whitening)


def check_memory(needed: float, what: str) -> None:
    """Raise ``ValueError`` where something needs more bytes than ``MEMORY``."""
    if needed > MEMORY:
        raise ValueError(
            f"{what} would need about {needed / 1e9:.3g} GB of memory, of which at most {MEMORY / 1e9:.3g} GB are "
            "used; allow fewer entries, such as search_space='blocks:2' or groups of columns that mix, or give "
            "fewer columns"
        )


def allowed_entries(specification: Specification, k: int) -> Tensor:
    """A boolean mask (k, k) from its description.

    ``"free"``: every entry; ``"blocks:2"``: 2 x 2 blocks on the diagonal; ``"0,1,4,5|2,3,6,7"`` or the same as
    nested sequences: coordinates of one group mix; a tensor (k, k): non-zero entries are free.
    Raises ``ValueError`` for anything else, or for what does not fit k.
    """
    if isinstance(specification, Tensor):
        return _checked_mask(specification, k)
    if isinstance(specification, str):
        specification = _parse_groups(specification, k)
    indices = [i for group in specification for i in group]
    if len(set(indices)) != len(indices) or not set(indices) <= set(range(k)):
        raise ValueError(f"groups must hold each index of 0..{k - 1} at most once, got {specification}")
    mask = torch.zeros(k, k, dtype=torch.bool)
    for group in specification:
        rows = torch.tensor(list(group), dtype=torch.long)
        mask[rows[:, None], rows] = True
    return mask


def _parse_groups(text: str, k: int) -> list[list[int]]:
    if text == "free":
        return [list(range(k))]
    try:
        if text.startswith("blocks:"):
            return _diagonal_blocks(int(text.removeprefix("blocks:")), k)
        return [[int(word) for word in group.split(",")] for group in text.split("|")]
    except ValueError:
        raise ValueError(
            f"unknown search space {text!r} for k = {k}; write 'free', 'blocks:B' with B dividing k, or groups of "
            "indices such as '0,1,4,5|2,3,6,7'"
        ) from None


def _diagonal_blocks(size: int, k: int) -> list[list[int]]:
    if size < 1 or k % size:
        raise ValueError
    return [list(range(start, start + size)) for start in range(0, k, size)]


def _checked_mask(mask: Tensor, k: int) -> Tensor:
    if tuple(mask.shape) != (k, k) or not mask.any():
        raise ValueError(
            f"a mask must have shape ({k}, {k}) and a non-zero entry, got {tuple(mask.shape)} with "
            f"{int(mask.count_nonzero())} of them"
        )
    return mask.cpu() != 0


def _unit_matrices(allowed: Tensor) -> Tensor:
    rows, columns = allowed.nonzero(as_tuple=True)
    entries = torch.zeros(len(rows), *allowed.shape, dtype=torch.float64)
    entries[torch.arange(len(rows)), rows, columns] = 1
    return entries


def _keeping_span(entries: Tensor, span: DataSpan) -> Tensor:
    """Orthonormal combinations (p, k, k) of entries whose image of the span stays in the span."""
    outside = torch.eye(len(span.projector), dtype=torch.float64) - span.projector
    leaving = (outside @ entries @ span.basis.mT).flatten(1)
    # entries with many columns are reduced to a square first, or the SVD builds the full right factor
    if leaving.shape[1] > WIDE**2:
        leaving = torch.linalg.qr(leaving.mT, mode="r").R.mT
    left, values, _ = torch.linalg.svd(leaving, full_matrices=True)
    # the entries are unit matrices, so 1e-8 is relative to one
    kept = left[:, int((values > 1e-8).sum()) :].mT
    return torch.einsum("pe,eij->pij", kept, entries)


def _orthonormal(whitened: Tensor, entries: Tensor) -> tuple[Tensor, Tensor]:
    """An orthonormal basis of the whitened matrices, with the smallest matrices that give it."""
    left, values, right = torch.linalg.svd(whitened.flatten(1), full_matrices=False)
    rank = int((values > 1e-8 * values.max()).sum()) if values.numel() and values.max() > 0 else 0
    preimage = (left[:, :rank] / values[:rank]).mT
    return right[:rank].reshape(rank, *whitened.shape[1:]), torch.einsum("mp,pij->mij", preimage, entries)
