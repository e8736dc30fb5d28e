"""The tangent spaces of the support of data: a symmetry maps the support onto itself, so L v is tangent to it at v.

Directions normal to the support are the gradients of the equations the data obey, and those in which neighbours do
not spread. Where the data fill their space there are no normals, and nothing is required of L.
"""

import torch
from scipy.spatial import KDTree
from torch import Tensor

from discover.spectral.vanishing_ideal import VanishingIdeal

__all__ = ["normals"]

REGULAR = 1e-3  # a gradient below this part of the median one is that of a singular point, and says nothing
NEW = 0.5  # a local normal of which less is left beside the equations' normals is one of them
MOST_ROWS = 100_000  # more data are thinned out evenly: neighbours are close enough by then


def normals(
    points: Tensor,
    data: Tensor,
    *,
    neighbours: int = 16,
    thin: float = 0.05,
    ideal: VanishingIdeal | None = None,
) -> Tensor:
    """Directions normal to the support of data, at points of it.

    Local principal components of the nearest neighbours: those of small variance are normals. They bend with the
    curvature of the support, so where an ``ideal`` is given its exact gradients take their place, and only local
    normals in other directions are kept beside them.

    Args:
        points: (n, k).
        data: (N, k), whose support is asked about.
        neighbours: how many nearest data a local covariance is made of.
        thin: a direction with less than this part of the largest local variance is a normal.
        ideal: polynomials that vanish on the data.

    Returns:
        Unit rows (n, k, k), zero rows for directions that are no normals.

    Raises:
        ValueError: for fewer data than neighbours.

    Example:
        >>> angle = torch.linspace(0, 6, 200, dtype=torch.float64)
        >>> circle = torch.stack([angle.cos(), angle.sin()], dim=1)
        >>> normals(circle[:1], circle).abs().sum(1).round(decimals=1)
        tensor([[1., 0.]], dtype=torch.float64)
    """
    local = _local(points, data, neighbours, thin)
    if ideal is None or not len(ideal):
        return local.to(points)
    exact = _unit_gradients(ideal, points.double().cpu())
    rest = local - local @ exact.mT @ exact
    rest = rest * (rest.norm(dim=2, keepdim=True) > NEW)
    _, sizes, rows = torch.linalg.svd(torch.cat([exact, rest], dim=1), full_matrices=False)
    return (rows * (sizes > NEW)[:, :, None]).to(points)


def _local(points: Tensor, data: Tensor, neighbours: int, thin: float) -> Tensor:
    """Unit rows (n, k, k) where neighbours do not spread, zero rows for the other directions."""
    if len(data) < neighbours:
        raise ValueError(f"the support needs at least neighbours = {neighbours} data, got {len(data)}")
    data = data[:: -(-len(data) // MOST_ROWS)]
    tree = KDTree(data.double().cpu().numpy())
    near = data.double().cpu()[torch.as_tensor(tree.query(points.double().cpu().numpy(), k=neighbours)[1])]
    spread = near - near.mean(1, keepdim=True)
    values, vectors = torch.linalg.eigh(spread.mT @ spread)
    return vectors.mT * (values < thin * values[:, -1:])[:, :, None]


def _unit_gradients(ideal: VanishingIdeal, points: Tensor) -> Tensor:
    """An orthonormal basis (n, m, k) of the span of the gradients at each point, padded with zero rows."""
    _, sizes, rows = torch.linalg.svd(ideal.gradients(points), full_matrices=False)
    return rows * (sizes > REGULAR * sizes.max(1).values.median())[:, :, None]
