"""
An EMLP for a group typed in by hand
====================================

A magnet with one axis is symmetric under rotations about the axis and under the reflection z -> -z. The moment of
inertia of five points, a tensor T(2), is learned from their positions by a network that keeps this symmetry exactly.
"""

import matplotlib.pyplot as plt
import torch

from equivariant import EMLP, Group, LieAlgebra, T, V, assert_equivariant

# %%
# A generator is a matrix L that acts on columns, x -> exp(w L) x. Discrete elements are matrices of their own.

rotation_about_z = LieAlgebra(torch.tensor([[[0.0, -1, 0], [1, 0, 0], [0, 0, 0]]]))
reflection = torch.diag(torch.tensor([1.0, 1, -1]))
group = Group.with_discrete(rotation_about_z, reflection)


def inertia(x: torch.Tensor) -> torch.Tensor:
    """sum |r|^2 1 - r r^T, flat (n, 9), from five positions, flat (n, 15)."""
    r = x.view(-1, 5, 3)
    outer = torch.einsum("npi,npj->nij", r, r)
    trace = outer.diagonal(dim1=1, dim2=2).sum(1)
    return (trace[:, None, None] * torch.eye(3) - outer).flatten(1)


# %%
# Inputs and outputs are declared by their representations: five vectors in, one tensor of rank two out.

torch.manual_seed(0)
rng = torch.Generator().manual_seed(0)
net = EMLP(5 * V, T(2), group, hidden=96, layers=2)
optimizer = torch.optim.Adam(net.parameters(), 1e-2)
losses = []
for _ in range(150):
    x = torch.randn(128, 15, generator=rng)
    loss = (net(x) - inertia(x)).square().mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(float(loss.detach()))

# %%
# The network is equivariant to rounding, whatever its weights; ``assert_equivariant`` raises if it is not.

x = torch.randn(500, 15, generator=rng)
assert_equivariant(net, group, 5 * V, T(2), x, rtol=1e-4)
with torch.no_grad():
    unexplained = float((net(x) - inertia(x)).square().mean() / inertia(x).var())
print(f"unexplained variance {unexplained:.3f}")

# %%
plt.semilogy(losses)
plt.xlabel("step")
plt.ylabel("training loss")
plt.show()
