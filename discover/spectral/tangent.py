"""Which directions lead out of the data: gradients of the equations they obey, and where neighbours do not spread.

A symmetry keeps the set on which the data live, so at every datum v the motion L v has no part along the
normals of that set. Where the data fill their space there are no normals, and nothing is asked.
"""

import torch
from scipy.spatial import KDTree
from torch import Tensor

from discover.spectral.vanishing_ideal import Variety

__all__ = ["normals"]

REGULAR = 1e-3  # a gradient below this part of the median one is that of a singular point, and says nothing
NEW = 0.5  # a local normal of which less is left beside the equations' normals is one of them


def normals(
    points: Tensor, data: Tensor, *, neighbours: int = 16, thin: float = 0.05, variety: Variety | None = None
) -> Tensor:
    """Directions (n, k, k), as rows, normal to the support of ``data`` (N, k) at ``points`` (n, k); others are zero.

    Local principal components of the nearest ``neighbours``: those with less than ``thin`` of the largest local
    variance are normals. They bend with the curvature of the support, so where a ``variety`` is given its exact
    gradients take their place, and only local normals in other directions are kept beside them.
    Raises ``ValueError`` for fewer data than neighbours.
    """
    local = _local(points, data, neighbours, thin)
    if variety is None or not len(variety):
        return local.to(points)
    exact = _unit_gradients(variety, points.double().cpu())
    rest = local - local @ exact.mT @ exact
    rest = rest * (rest.norm(dim=2, keepdim=True) > NEW)
    _, sizes, rows = torch.linalg.svd(torch.cat([exact, rest], dim=1), full_matrices=False)
    return (rows * (sizes > NEW)[:, :, None]).to(points)


def _local(points: Tensor, data: Tensor, neighbours: int, thin: float) -> Tensor:
    """Unit rows (n, k, k) where neighbours do not spread, zero rows for the other directions."""
    if len(data) < neighbours:
        raise ValueError(f"the support needs at least neighbours = {neighbours} data, got {len(data)}")
    tree = KDTree(data.double().cpu().numpy())
    near = data.double().cpu()[torch.as_tensor(tree.query(points.double().cpu().numpy(), k=neighbours)[1])]
    spread = near - near.mean(1, keepdim=True)
    values, vectors = torch.linalg.eigh(spread.mT @ spread)
    return vectors.mT * (values < thin * values[:, -1:])[:, :, None]


def _unit_gradients(variety: Variety, points: Tensor) -> Tensor:
    """An orthonormal basis (n, m, k) of the span of the gradients at each point, padded with zero rows."""
    _, sizes, rows = torch.linalg.svd(variety.gradients(points), full_matrices=False)
    return rows * (sizes > REGULAR * sizes.max(1).values.median())[:, :, None]
