"""Augmentation as a PyTorch Geometric transform: one random g for all named fields of a graph."""

import torch
from torch_geometric.data import Data
from torch_geometric.transforms import BaseTransform

from equivariant.augment import RandomGroupAction
from equivariant.group import Symmetry
from equivariant.rep import Rep

__all__ = ["RandomGroupTransform"]


class RandomGroupTransform(BaseTransform):
    """``data.pos -> g data.pos``, ``data.y -> g data.y``, ...: the same g for every row of every named field.

    Args:
        algebra: whose law the coefficients follow.
        fields: representation of each field's last axis by name, e.g. ``{"pos": V, "velocity": V}``.
        generator: source of randomness; default PyTorch's own, which DataLoader seeds in each worker.

    The data are copied, not changed; fields that are not named stay. Raises ``ValueError`` for a field that
    the data lack or whose size is not the representation's.
    """

    def __init__(self, algebra: Symmetry, fields: dict[str, Rep], generator: torch.Generator | None = None):
        self.fields = dict(fields)
        self.action = RandomGroupAction(algebra, *self.fields.values(), generator=generator)

    def forward(self, data: Data) -> Data:  # type: ignore[override]
        missing = [name for name in self.fields if getattr(data, name, None) is None]
        if missing:
            raise ValueError(f"the data have no field {missing}; they hold {sorted(data.keys())}")
        tensors = [getattr(data, name).unsqueeze(0) for name in self.fields]
        moved = self.action(*tensors)
        moved = (moved,) if isinstance(moved, torch.Tensor) else moved
        for name, tensor in zip(self.fields, moved, strict=True):
            # BaseTransform.__call__ hands over a shallow copy, so the caller's data keep their tensors
            setattr(data, name, tensor.squeeze(0))
        return data

    def __repr__(self) -> str:
        return f"RandomGroupTransform({', '.join(f'{name}: {rep}' for name, rep in self.fields.items())})"
