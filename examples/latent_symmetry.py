"""A symmetry nobody can write down in the data: a turn, bent into twenty dimensions, found, used and continued.

Trajectories go in; an encoder, a decoder and a generator of the latent come out. Its flow moves data along the
orbit, and an equation of motion that commutes with it is found from the latent trajectories.
Run: python examples/latent_symmetry.py
"""

import math

import torch
from torch import Tensor

from discover import LaLiGAN, SINDy
from equivariant import catalogue, cosine

TIME_STEP = 0.1


def bent_circle(m: int = 60, steps: int = 30, size: int = 20) -> Tensor:
    """Trajectories (m, steps, size): a turn of 1 radian in a unit of time, seen through a nonlinear map."""
    random = torch.Generator().manual_seed(0)
    start = 2 * math.pi * torch.rand(m, 1, generator=random, dtype=torch.float64)
    angle = start + TIME_STEP * torch.arange(steps, dtype=torch.float64)
    into, out = (torch.randn(shape, generator=random, dtype=torch.float64) for shape in ((2, 40), (40, size)))
    circle = torch.stack([angle.cos(), angle.sin()], dim=-1)
    return (torch.tanh(circle @ into) @ out).float()


def main() -> dict[str, float]:
    torch.set_num_threads(1)  # the tensors are tiny: more threads wait for each other
    data = bent_circle()
    laligan = LaLiGAN(latent_dim=2, width=32, steps=900, cooldown=600, starts=1, rate=1e-2, judge_steps=200,
                      progress=False).fit(data)  # fmt: skip
    print(laligan.diagnosis_)
    symmetry = laligan.symmetry_

    z = symmetry.encode(data).double()
    equation = (
        SINDy(degree=1, constant=False, symmetry=symmetry.algebra, isometries=True)
        .fit(z, dt=TIME_STEP)
        .equation_
    )
    print(equation)

    (turned,) = symmetry.flow(data[:, 0], torch.tensor([1.0]))  # every first snapshot, moved along its orbit
    onto = (
        torch.cdist(turned, data.flatten(0, 1)).min(1).values.mean() / data.flatten(0, 1).norm(dim=1).mean()
    )
    return {
        "cosine with so(2)": cosine(symmetry.algebra, catalogue.rotation(2)),
        "reconstruction error": laligan.reconstruction_error_,
        "frequency": float(equation.frequencies().abs().max()),
        "distance of moved data from the data": float(onto),
    }


if __name__ == "__main__":
    for name, value in main().items():
        print(f"{name:40s} {value:.3g}")
