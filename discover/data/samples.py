"""Joint samples (x, y) sorted by how a group acts on them: vectors move, scalars and class labels do not."""

import logging
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Literal

import torch
from torch import Tensor

from equivariant.arrays import ArrayLike, as_tensor
from equivariant.rep import Rep, Scalar, V

__all__ = ["MOST_CLASSES", "Part", "Samples", "YKind", "column_names"]

YKind = Literal["class", "count"]
MOST_CLASSES = 20  # whole numbers of more different values may be counts, so what they are has to be said
LARGEST = 1e75  # fourth powers of larger numbers overflow
log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class Part:
    """One side of the samples.

    Args:
        vectors: (n, m, k), m vectors a sample.
        scalars: (n, s).
        labels: class labels (n,), or none.
    """

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
    """n joint samples.

    Args:
        x: the inputs.
        y: the targets; ``None`` where only the distribution of x is asked about.
    """

    x: Part
    y: Part | None

    @classmethod
    def read(
        cls,
        x: ArrayLike,
        y: ArrayLike | None = None,
        x_rep: Rep | None = None,
        y_rep: Rep | None = None,
        y_kind: YKind | None = None,
    ) -> "Samples":
        """Sort the columns of x and of y by their representations.

        Args:
            x: (n, d) or (n, T, k): a tensor, a NumPy array, lists or a pandas frame.
            y: (n,), (n, 1) or (n, ...), or nothing.
            x_rep: a sum of ``V`` and ``Scalar``; by default ``V`` or ``T * V`` by the shape of x.
            y_rep: the same for y; by default ``Scalar`` for (n,) and (n, 1), else copies of ``V``, which is logged.
            y_kind: what a y of whole-number dtype is: ``"class"`` labels 0, 1, ... or a ``"count"``, a number like
                any other. By default labels where it has at most ``MOST_CLASSES`` different values.

        Returns:
            The samples, in float64.

        Raises:
            ValueError: for wrong shapes, complex numbers, NaN, fewer than two samples, or a representation
                other than a sum of ``V`` and ``Scalar``.

        Example:
            >>> samples = Samples.read([[1.0, 0.0], [0.0, 2.0], [3.0, 4.0]], [0, 1, 1])
            >>> len(samples), samples.dim, samples.classes
            (3, 2, 2)
        """
        x, k, x_rep = _checked_input(as_tensor(x, "x"), x_rep)
        target = None if y is None else _target(as_tensor(y, "y"), y_rep, y_kind, k, len(x))
        return cls(x=_part(x, x_rep, k, "x"), y=target)

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

    @property
    def digest(self) -> str:
        """SHA-256 of the content."""
        content = sha256(self.flat().cpu().numpy().tobytes())
        if self.labels is not None:
            content.update(self.labels.cpu().numpy().tobytes())
        return content.hexdigest()

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
        """Vectors and scalars of both sides as features (n, d); labels are left out."""
        return torch.cat([part.flat() for part in self.parts], dim=1)


def column_names(values: ArrayLike, rep: Rep | None = None) -> tuple[str, ...] | None:
    """The names of the coordinates of a vector, where the values are a data frame with one vector a row.

    Args:
        values: anything; a frame is what has ``columns`` and ``to_numpy()``.
        rep: how the columns are built; by default they are one vector.

    Returns:
        The names of the vector's columns; ``None`` for other values, and for frames with several vectors a row.
    """
    if not (hasattr(values, "columns") and hasattr(values, "to_numpy")):
        return None
    names = tuple(str(name) for name in values.columns)
    vectors, scalars = (1, 0) if rep is None else _counts(rep, "x_rep")
    if rep is None or vectors != 1:
        return names if vectors == 1 else None
    block = next(block for block in rep.blocks(len(names) - scalars) if block.term)
    return names[block.start : block.stop]


def _checked_input(x: Tensor, rep: Rep | None) -> tuple[Tensor, int, Rep]:
    x = _numbers(x, "x")
    if x.ndim not in (2, 3):
        raise ValueError(f"x must have shape (n, d) or (n, T, k), got {tuple(x.shape)}")
    if len(x) < 2:
        raise ValueError(f"x must hold at least two samples, got {len(x)}")
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


def _target(y: Tensor, rep: Rep | None, kind: YKind | None, k: int, n: int) -> Part:
    if y.ndim == 0 or len(y) != n:
        raise ValueError(
            f"x and y must have the same number of samples, got {n} and {len(y) if y.ndim else 1}"
        )
    if kind not in (None, "class", "count"):
        raise ValueError(f"unknown y_kind {kind!r}; choose from ['class', 'count']")
    columns = y.numel() // n
    if kind == "class" or (kind is None and columns == 1 and not y.is_floating_point()):
        return _labels(y, rep, kind, k)
    y = _numbers(y, "y")
    if rep is None:
        rep = Scalar if columns == 1 else _guess(columns, k)
    return _part(y.reshape(n, -1), rep, k, "y")


def _labels(y: Tensor, rep: Rep | None, kind: YKind | None, k: int) -> Part:
    whole = y.long()
    if (rep is not None and rep != Scalar) or y.numel() != len(y) or (whole != y).any() or int(y.min()) < 0:
        raise ValueError(
            f"class labels in y must be whole numbers 0, 1, ... of shape (n,) with y_rep Scalar, got shape "
            f"{tuple(y.shape)}, dtype {y.dtype} and y_rep {rep}; for measured or counted numbers set y_kind='count'"
        )
    values = len(whole.unique())
    if kind is None and values > MOST_CLASSES:
        raise ValueError(
            f"y holds whole numbers of {values} different values, which could be classes or counts; "
            "set y_kind='class' or y_kind='count'"
        )
    if int(whole.max()) >= len(y):
        raise ValueError(
            f"class labels must count 0, 1, ... with fewer classes than samples, got {int(whole.max())} for "
            f"n = {len(y)}; for counted numbers set y_kind='count'"
        )
    none = torch.zeros(len(y), 0, dtype=torch.float64, device=y.device)
    return Part(vectors=none.reshape(len(y), 0, k), scalars=none, labels=whole.reshape(-1))


def _guess(columns: int, k: int) -> Rep:
    if columns % k:
        raise ValueError(
            f"y_rep must be given: y has {columns} columns, which is no multiple of the vector size {k}"
        )
    rep = (columns // k) * V
    log.warning(
        "y has %d columns: read as y_rep=%s, vectors that transform as x does; "
        "pass y_rep to confirm, or y_rep=%d*Scalar for numbers that do not transform",
        columns, rep, columns,
    )  # fmt: skip
    return rep


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


def _numbers(values: Tensor, name: str) -> Tensor:
    bad = int((~torch.isfinite(values)).sum())
    if bad:
        raise ValueError(f"{name} must be finite, got {bad} NaN or infinite of {values.numel()} numbers")
    values = values.detach().double()
    if values.numel() and (largest := float(values.abs().max())) > LARGEST:
        raise ValueError(
            f"{name} must be smaller than {LARGEST:g}, got {largest:g}, whose powers overflow; change its units"
        )
    return values
