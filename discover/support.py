"""Which directions lead out of the data: at each datum, those in which its neighbours do not spread.

A symmetry keeps the set on which the data live, so at every datum v the motion L v has no part along the
normals of that set. Where the data fill their space there are no normals, and nothing is asked.
"""

import torch
from scipy.spatial import KDTree
from torch import Tensor

__all__ = ["normals"]


def normals(points: Tensor, data: Tensor, *, neighbours: int = 16, thin: float = 0.05) -> Tensor:
    """Directions (n, k, k), as rows, normal to the support of ``data`` (N, k) at ``points`` (n, k).

    Local principal components of the nearest ``neighbours``; those with less than ``thin`` of the largest
    local variance are normals, the rest are zero. Raises ``ValueError`` for fewer data than neighbours.
    """
    if len(data) < neighbours:
        raise ValueError(f"the support needs at least neighbours = {neighbours} data, got {len(data)}")
    tree = KDTree(data.double().cpu().numpy())
    near = data.double().cpu()[torch.as_tensor(tree.query(points.double().cpu().numpy(), k=neighbours)[1])]
    spread = near - near.mean(1, keepdim=True)
    values, vectors = torch.linalg.eigh(spread.mT @ spread)
    is_normal = values < thin * values[:, -1:]
    return (vectors.mT * is_normal[:, :, None]).to(points)
