"""Joint samples (x, y) sorted by how a group acts on them: vectors move, scalars and class labels do not."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from equivariant.rep import Rep, Scalar, V

__all__ = ["Part", "Samples"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """One side of the samples: ``vectors (n, m, k)``, ``scalars (n, s)``, ``labels (n,)`` or none."""

    vectors: Tensor
    scalars: Tensor
    labels: Tensor | None = None

    def __getitem__(self, index: Tensor) -> "Part":
        labels = None if self.labels is None else self.labels[index]
        return Part(vectors=self.vectors[index], scalars=self.scalars[index], labels=labels)

    def map_vectors(self, matrix: Tensor, shift: Tensor | None = None) -> "Part":
        """Every vector v becomes matrix (v - shift); matrix (r, k), or one a sample (n, r, k)."""
        vectors = self.vectors if shift is None else self.vectors - shift
        return Part(vectors=vectors @ matrix.to(vectors).mT, scalars=self.scalars, labels=self.labels)

    def to(self, *args: Any, **kwargs: Any) -> "Part":
        """A copy elsewhere; labels follow the device alone."""
        vectors = self.vectors.to(*args, **kwargs)
        labels = None if self.labels is None else self.labels.to(vectors.device)
        return Part(vectors=vectors, scalars=self.scalars.to(*args, **kwargs), labels=labels)

    def flat(self) -> Tensor:
        """Vectors and scalars as features (n, m k + s)."""
        return torch.cat([self.vectors.flatten(1), self.scalars], dim=1)


@dataclass(frozen=True, kw_only=True, eq=False)
class Samples:
    """n joint samples; ``y`` is ``None`` where only the law of x is asked about."""

    x: Part
    y: Part | None

    @classmethod
    def read(
        cls, x: Tensor, y: Tensor | None = None, x_rep: Rep | None = None, y_rep: Rep | None = None
    ) -> "Samples":
        """Sort the columns of x (n, d) or (n, T, k), and of y, by their representations.

        Left out, ``x_rep`` is ``V`` or ``T * V`` by the shape of x; ``y_rep`` is ``Scalar`` for (n,), else copies
        of ``V``. A y of whole-number dtype holds class labels. Raises ``ValueError`` for wrong shapes, NaN,
        fewer than two samples, or a representation other than a sum of ``V`` and ``Scalar``.
        """
        x, k, x_rep = _checked_input(x, x_rep)
        return cls(x=_part(x, x_rep, k, "x"), y=None if y is None else _target(y, y_rep, k, len(x)))

    def __len__(self) -> int:
        return len(self.x.vectors)

    def __getitem__(self, index: Tensor) -> "Samples":
        return Samples(x=self.x[index], y=None if self.y is None else self.y[index])

    @property
    def dim(self) -> int:
        """k, the size of one vector."""
        return self.x.vectors.shape[-1]

    @property
    def parts(self) -> tuple[Part, ...]:
        """The sides that are there."""
        return (self.x,) if self.y is None else (self.x, self.y)

    @property
    def labels(self) -> Tensor | None:
        """The class labels (n,) of the target, if it has them."""
        return None if self.y is None else self.y.labels

    @property
    def classes(self) -> int:
        """Number of classes of the target; 0 without labels."""
        return 0 if self.labels is None else int(self.labels.max()) + 1

    def all_vectors(self) -> Tensor:
        """Every vector of every sample, as rows (N, k)."""
        return torch.cat([part.vectors.flatten(0, 1) for part in self.parts])

    def map_vectors(self, matrix: Tensor, shift: Tensor | None = None) -> "Samples":
        """The same matrix on the vectors of x and of y; one per sample where it is (n, r, k)."""
        parts = [part.map_vectors(matrix, shift) for part in self.parts]
        return Samples(x=parts[0], y=parts[1] if len(parts) > 1 else None)

    def to(self, *args: Any, **kwargs: Any) -> "Samples":
        """A copy on another device or in another dtype."""
        return Samples(x=self.x.to(*args, **kwargs), y=None if self.y is None else self.y.to(*args, **kwargs))

    def flat(self) -> Tensor:
        """What a critic sees but the labels: features (n, d)."""
        return torch.cat([part.flat() for part in self.parts], dim=1)


def _checked_input(x: Tensor, rep: Rep | None) -> tuple[Tensor, int, Rep]:
    x = _floating(x, "x")
    if x.ndim not in (2, 3):
        raise ValueError(f"x must have shape (n, d) or (n, T, k), got {tuple(x.shape)}")
    if len(x) < 2:
        raise ValueError(f"x must hold at least two samples, got {len(x)}: one sample has no law to keep")
    if rep is None:
        rep = V if x.ndim == 2 else x.shape[1] * V
    vectors, scalars = _counts(rep, "x_rep")
    x = x.flatten(1)
    size = x.shape[1] - scalars
    if vectors == 0 or size <= 0 or size % vectors:
        raise ValueError(
            f"x_rep {rep} must hold {vectors} vectors of one size and {scalars} scalars, got {x.shape[1]} columns"
        )
    return x, size // vectors, rep


def _target(y: Tensor, rep: Rep | None, k: int, n: int) -> Part:
    if len(y) != n:
        raise ValueError(f"x and y must have the same number of samples, got {n} and {len(y)}")
    if not y.is_floating_point():
        return _labels(y, rep, k)
    y = _floating(y, "y")
    if rep is None:
        rep = Scalar if y.ndim == 1 else _guess(y, k)
    return _part(y.reshape(n, -1), rep, k, "y")


def _labels(y: Tensor, rep: Rep | None, k: int) -> Part:
    if y.is_complex() or (rep is not None and rep != Scalar) or y.numel() != len(y) or int(y.min()) < 0:
        raise ValueError(
            f"y of dtype {y.dtype} must be class labels 0, 1, ... of shape (n,) with y_rep Scalar, got shape "
            f"{tuple(y.shape)} and y_rep {rep}; use a floating dtype for measured numbers"
        )
    if int(y.max()) >= len(y):
        raise ValueError(
            f"class labels must count 0, 1, ... with fewer classes than samples, got {int(y.max())} for n = {len(y)}"
        )
    none = torch.zeros(len(y), 0, dtype=torch.float64, device=y.device)
    return Part(vectors=none.reshape(len(y), 0, k), scalars=none, labels=y.reshape(-1).long())


def _guess(y: Tensor, k: int) -> Rep:
    columns = y.flatten(1).shape[1]
    if columns % k:
        raise ValueError(
            f"y_rep must be given: y has {columns} columns, which is no multiple of the vector size {k}"
        )
    return (columns // k) * V


def _part(values: Tensor, rep: Rep, k: int, name: str) -> Part:
    _counts(rep, f"{name}_rep")
    rep.check(values, k, name)
    pieces = [(block, values[:, block.start : block.stop]) for block in rep.blocks(k)]
    vectors = [piece.reshape(len(values), -1, k) for block, piece in pieces if block.term]
    scalars = [piece for block, piece in pieces if not block.term]
    none = values[:, :0]
    return Part(
        vectors=torch.cat(vectors, dim=1) if vectors else none.reshape(len(values), 0, k),
        scalars=torch.cat(scalars, dim=1) if scalars else none,
    )


def _counts(rep: Rep, name: str) -> tuple[int, int]:
    """Numbers of vectors and scalars in a representation of nothing else."""
    vector = V.terms[0][1]
    if any(term not in ((), vector) for _, term in rep.terms):
        raise ValueError(f"{name} must be a sum of V and Scalar, such as 5*V + 2*Scalar, got {rep}")
    counts = {bool(term): 0 for term in ((), vector)}
    for count, term in rep.terms:
        counts[bool(term)] += count
    return counts[True], counts[False]


def _floating(values: Tensor, name: str) -> Tensor:
    if not isinstance(values, Tensor):
        raise ValueError(f"{name} must be a tensor, got {type(values).__name__}; use torch.as_tensor")
    if not values.is_floating_point():
        raise ValueError(f"{name} must have a real floating dtype, got {values.dtype}; use {name}.double()")
    bad = int((~torch.isfinite(values)).sum())
    if bad:
        raise ValueError(f"{name} must be finite, got {bad} NaN or infinite of {values.numel()} numbers")
    return values.detach().double()
