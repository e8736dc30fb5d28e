"""A solid of painted balls, seen along the z axis without perspective: pictures of rotations R in SO(3).

The rotating object of Yang et al., *Latent Space Symmetry Discovery* (arXiv 2310.00105), with another solid: no
two balls are alike, so a picture determines the orientation. A ball looks the same from everywhere, so that to rotate
the solid is to rotate the centres. Light comes from the viewer, and what is near is brighter.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import normalize

from equivariant import catalogue
from tasks.latent.data import Trajectories

__all__ = ["Solid", "random_rotations", "rotating_solids"]

# centre, radius, paint
BALLS = (
    ((0.0, 0.0, 0.0), 0.36, 0.45),
    ((0.62, 0.0, 0.0), 0.26, 1.0),
    ((0.30, 0.12, 0.0), 0.24, 0.75),
    ((0.0, 0.55, 0.1), 0.22, 0.30),
    ((-0.45, 0.25, -0.15), 0.18, 0.90),
    ((-0.1, -0.35, 0.50), 0.24, 0.65),
    ((0.1, -0.45, -0.50), 0.20, 0.20),
)
CHUNK = 256  # pictures at a time


@dataclass(frozen=True, kw_only=True)
class Solid:
    """The drawing of the solid.

    Args:
        size: pixels along a side; a picture shows [-1, 1]^2 [length].
        softness: width [length] of the edge of a ball, and of the transition from one ball to another in front of it.
        depth: darkening with distance; 0 for none, 1 for black at z = -1.

    Raises:
        ValueError: for numbers out of range.
    """

    size: int = 32
    softness: float = 0.05
    depth: float = 0.7

    def __post_init__(self) -> None:
        if self.size < 2 or not self.softness > 0 or not 0 <= self.depth <= 1:
            raise ValueError(
                f"size must be at least 2, softness positive, depth in [0, 1], got {self.size}, {self.softness}, "
                f"{self.depth}"
            )

    @cached_property
    def centres(self) -> Tensor:
        """Of the balls [length], (b, 3), before any rotation; their mean is not zero."""
        return torch.tensor([ball[0] for ball in BALLS])

    def render(self, rotations: Tensor) -> Tensor:
        """Pictures of the rotated solid.

        Args:
            rotations: (..., 3, 3).

        Returns:
            Intensities in [0, 1] (..., 1, size, size), float32; the first axis of the pixels is y, downwards.

        Raises:
            ValueError: for another shape.
        """
        if rotations.shape[-2:] != (3, 3):
            raise ValueError(f"rotations must have shape (..., 3, 3), got {tuple(rotations.shape)}")
        places = self.centres @ rotations.reshape(-1, 3, 3).float().mT  # (n, b, 3)
        pictures = torch.cat([self._draw(chunk) for chunk in places.split(CHUNK)])
        return pictures.reshape(*rotations.shape[:-2], 1, self.size, self.size)

    def _draw(self, places: Tensor) -> Tensor:
        """Pictures (n, size, size) of balls at centres (n, b, 3): soft discs, the nearest in front."""
        radius, paint = (torch.tensor([ball[i] for ball in BALLS])[:, None, None] for i in (1, 2))
        axis = (torch.arange(self.size) + 0.5) * 2 / self.size - 1
        x, y, z = (places[..., i, None, None] for i in range(3))
        distance = ((axis - x).square() + (-axis[:, None] - y).square()).clamp(min=1e-12).sqrt()
        inside = ((radius - distance) * (4 / self.softness)).clamp(-30, 30).sigmoid()
        bulge = (radius.square() - distance.square()).clamp(min=0).sqrt()  # of the surface over the centre
        near = z + bulge
        front = inside * ((near - 1) / self.softness).exp()
        light = (1 - self.depth * (1 - near.clamp(-1, 1)) / 2) * (0.4 + 0.6 * bulge / radius)
        total = front.sum(1)
        shown = (front * light * paint).sum(1) / total.clamp(min=1e-30)
        return shown * (1 - (1 - inside).prod(1))


def random_rotations(n: int, generator: torch.Generator | None = None) -> Tensor:
    """``n`` rotations (n, 3, 3), uniform on SO(3), from unit quaternions; float64."""
    w, x, y, z = normalize(torch.randn(4, n, generator=generator, dtype=torch.float64), dim=0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return torch.stack([torch.stack(row, dim=-1) for row in rows], dim=-2)


def rotating_solids(
    n: int = 5000,
    *,
    steps: int = 2,
    largest_turn: float = math.pi / 2,
    seed: int = 0,
    solid: Solid | None = None,
) -> Trajectories:
    """Windows of pictures of the solid, each rotated from the one before by a known element of SO(3).

    Args:
        n: number of windows.
        steps: pictures of each.
        largest_turn: largest angle [rad] of R[t+1] = exp(w . L) R[t]; axes and angles are uniform, and the first
            orientations are uniform on SO(3).
        seed: of the random numbers.
        solid: the drawing.

    Returns:
        States (n, steps, 1, size, size) and coefficients w (n, steps-1, 3) of ``catalogue.rotation(3)``.

    Raises:
        ValueError: for sizes below 1.
    """
    if n < 1 or steps < 1:
        raise ValueError(f"n and steps must be at least 1, got {n} and {steps}")
    rng = torch.Generator().manual_seed(seed)
    rotations = [random_rotations(n, rng)]
    axes = normalize(torch.randn(n, steps - 1, 3, generator=rng, dtype=torch.float64), dim=-1)
    turns = largest_turn * torch.rand(n, steps - 1, 1, generator=rng, dtype=torch.float64) * axes
    group = catalogue.rotation(3)
    for step in range(steps - 1):
        rotations.append(group.element(turns[:, step].to(group.basis.dtype)).double() @ rotations[-1])
    return Trajectories(
        name="rotating-object",
        states=(solid or Solid()).render(torch.stack(rotations, dim=1)),
        time_step=1.0,
        coordinates=("intensity [1]",),
        coefficients=turns.float(),
    )
