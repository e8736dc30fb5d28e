"""
Augmentation in your own training loop
======================================

A plain network learns the force of a soft spring on points of one half plane. It is tested on the other half plane,
which it never saw. Moving the training data by random rotations shows the network what it is missing.
"""

import matplotlib.pyplot as plt
import torch
from torch import Tensor, nn

from equivariant import GroupAverage, RandomGroupAction, V, catalogue, equivariance_error

# %%
# Positions and forces are both vectors of the plane: one rotation moves them together. We take rotations from the
# catalogue; an algebra that was discovered goes in the same place.

so2 = catalogue.rotation(2)
rng = torch.Generator().manual_seed(0)


def sample(n: int, side: float) -> tuple[Tensor, Tensor]:
    """Positions x [m] in the half plane on one side, and forces y [N]."""
    x = torch.randn(n, 2, generator=rng)
    x[:, 0] = side * x[:, 0].abs()
    return x, -x / (1 + x.square().sum(1, keepdim=True))


x, y = sample(500, side=-1.0)
x_test, y_test = sample(500, side=1.0)

# %%
# The training loop is an ordinary one. :class:`~equivariant.RandomGroupAction` draws one group element per sample and
# gives the same element to input and target; in ``eval`` mode it does nothing.


def train(augment: bool) -> nn.Module:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 2))
    action = RandomGroupAction(so2, V, V, generator=rng).train(augment)
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    for _ in range(400):
        gx, gy = action(x, y)
        loss = nn.functional.mse_loss(net(gx), gy)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net.eval()


plain, augmented = train(augment=False), train(augment=True)

# %%
# At test time :class:`~equivariant.GroupAverage` averages g\ :sup:`-1` f(g x) over group elements, which makes any
# network equivariant to a compact group of one generator.

averaged = GroupAverage(augmented, so2, V, V, samples=8)
errors = {}
with torch.no_grad():
    for name, model in {"plain": plain, "augmented": augmented, "averaged": averaged}.items():
        errors[name] = float(nn.functional.mse_loss(model(x_test), y_test))
        print(f"{name:10s} test error {errors[name]:.1e}")
error_of_equivariance = equivariance_error(averaged, so2, V, V, x_test)
print(f"equivariance error of the average {error_of_equivariance:.1e}")

# %%
plt.bar(list(errors), list(errors.values()))
plt.yscale("log")
plt.ylabel("mean squared error on the unseen half [N$^2$]")
plt.show()
