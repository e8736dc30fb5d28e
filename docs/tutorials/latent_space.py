"""
A symmetry in a latent space
============================

Some symmetries are not linear in the data. Here a point on a circle is seen through a nonlinear map into twenty
dimensions. LaLiGAN learns an encoder, a decoder and a generator that acts linearly between them; its flow moves data
along their orbit, and an equation of motion that commutes with it is found from latent trajectories.
"""

import math

import matplotlib.pyplot as plt
import torch

from discover import LaLiGAN, SINDy
from equivariant import catalogue, cosine

torch.set_num_threads(1)  # the tensors are tiny: more threads wait for each other
TIME_STEP = 0.1

# %%
# Sixty trajectories of thirty snapshots; the angle grows by one radian in a unit of time.

rng = torch.Generator().manual_seed(0)
start = 2 * math.pi * torch.rand(60, 1, generator=rng, dtype=torch.float64)
angle = start + TIME_STEP * torch.arange(30, dtype=torch.float64)
into, out = (torch.randn(shape, generator=rng, dtype=torch.float64) for shape in ((2, 40), (40, 20)))
circle = torch.stack([angle.cos(), angle.sin()], dim=-1)
data = (torch.tanh(circle @ into) @ out).float()

# %%
# Snapshots of one window share the encoder and one group element: that is what ties the latent space to the motion.

laligan = LaLiGAN(latent_dim=2, width=32, steps=900, cooldown=600, starts=1, learning_rate=1e-2, evaluation_steps=200,
                  progress=False).fit(data)  # fmt: skip
symmetry = laligan.symmetry_
print(laligan.diagnosis_)
cosine_with_rotation = cosine(symmetry.algebra, catalogue.rotation(2))
print(f"cosine with so(2) {cosine_with_rotation:.4f}")

# %%
# The equation of motion among those that commute with the symmetry: the frequency should be 1.

z = symmetry.encode(data).double()
sindy = SINDy(degree=1, constant=False, symmetry=symmetry.algebra, isometries=True).fit(z, dt=TIME_STEP)
equation = sindy.equation_
frequency = float(equation.frequencies().abs().max())
print(equation)
print(f"frequency {frequency:.4f}")

# %%
# Every first snapshot, moved along its orbit, lies among the data again.

(moved,) = symmetry.flow(data[:, 0], torch.tensor([1.0]))
nearest = torch.cdist(moved, data.flatten(0, 1)).min(1).values
distance = float(nearest.mean() / data.flatten(0, 1).norm(dim=1).mean())
print(f"distance of moved data from the data {distance:.3f}")

# %%
plt.scatter(*z.flatten(0, 1).detach().T, s=4)
plt.gca().set_aspect("equal")
plt.title("the latent space")
plt.show()
