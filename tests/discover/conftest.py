"""Data whose symmetry is known: a map that turns, shown on half of the directions only."""

import math

import pytest
import torch
from torch import Tensor


@pytest.fixture(scope="session")
def half_turn() -> tuple[Tensor, Tensor]:
    """x (1500, 2) on the lower half plane, y = x turned by 1 / |x|: the map is symmetric, the law is not."""
    random = torch.Generator().manual_seed(7)
    radius, angle = (torch.rand(1500, generator=random, dtype=torch.float64) for _ in range(2))
    radius, angle = 1 + radius, -math.pi * angle
    x, y = (
        torch.stack([radius * torch.cos(a), radius * torch.sin(a)], dim=1)
        for a in (angle, angle + 1 / radius)
    )
    return x, y
