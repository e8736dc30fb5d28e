"""Two different bumps on a ring, x(s) = A(s - a) + B(s - b): SO(2) x SO(2) translates each of them.

The double bump of Yang et al., *Latent Space Symmetry Discovery* (arXiv 2310.00105), with smooth bumps, so that a
translation by any angle is exact. The action on the 64 numbers is not linear, since the sum of two translated bumps is
no linear function of their sum; on the two positions, as points on circles, it is.
"""

import math

import torch
from torch import Tensor

from tasks.latent.data import Trajectories

__all__ = ["bump", "double_bumps", "ring"]

SHAPES = ((1.0, 4.0), (0.8, 40.0))  # height and sharpness; the first is wide, the second narrow


def ring(positions: Tensor, points: int = 64) -> Tensor:
    """Signals (..., points) with bumps at positions (..., 2) [rad]."""
    if positions.shape[-1:] != (len(SHAPES),):
        raise ValueError(f"positions must have shape (..., {len(SHAPES)}), got {tuple(positions.shape)}")
    return sum((bump(positions[..., i], points, *shape) for i, shape in enumerate(SHAPES)), torch.zeros(()))


def bump(position: Tensor, points: int, height: float, sharpness: float) -> Tensor:
    """height exp(sharpness (cos(s - position) - 1)) at ``points`` angles s, for positions (...) [rad]."""
    angles = 2 * math.pi / points * torch.arange(points, dtype=position.dtype)
    return height * (sharpness * ((angles - position[..., None]).cos() - 1)).exp()


def double_bumps(
    n: int = 5000, *, steps: int = 2, points: int = 64, largest_move: float = math.pi, seed: int = 0
) -> Trajectories:
    """Windows of signals whose bumps are translated by known angles, elements of the group 2*so(2).

    Args:
        n: number of windows.
        steps: snapshots of each.
        points: of a signal.
        largest_move: largest angle [rad] between two snapshots, either way; angles and first positions are uniform.
        seed: of the random numbers.

    Returns:
        States (n, steps, points), and as coefficients the angles (n, steps-1, 2) [rad] of the wide and the narrow bump.

    Raises:
        ValueError: for sizes out of range.
    """
    if n < 1 or steps < 1 or points < 2:
        raise ValueError(f"n, steps and points must be at least 1, 1 and 2, got {n}, {steps}, {points}")
    rng = torch.Generator().manual_seed(seed)
    start = 2 * math.pi * torch.rand(n, 1, 2, generator=rng, dtype=torch.float64)
    moves = largest_move * (2 * torch.rand(n, steps - 1, 2, generator=rng, dtype=torch.float64) - 1)
    positions = torch.cat([start, start + moves.cumsum(1)], dim=1)
    return Trajectories(
        name="double-bump",
        states=ring(positions, points).float(),
        time_step=1.0,
        coordinates=("height [1] at 2 pi s / points",),
        coefficients=moves.float(),
    )
