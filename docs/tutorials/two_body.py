"""
Two bodies: from orbits to an equivariant forecast
==================================================

Data go in, the Lie algebra of their symmetries comes out, a model that obeys it is trained. Two bodies attract each
other; one state is (q1x, q1y, p1x, p1y, q2x, q2y, p2x, p2y). The training orbits start on one half circle, the test
orbits on the other, so a model without the symmetry is asked for what it never saw.
"""

import matplotlib.pyplot as plt
import torch
from torch import nn

from discover import LieGAN, identify, refine
from discover.algebra.draw import draw_action, draw_basis
from equivariant import EMLP, V, assert_equivariant
from tasks.two_body import COLUMNS, pairs, simulated_orbits

torch.set_num_threads(1)
orbits = simulated_orbits(n_train=200, n_test=200)
x, y = pairs(orbits.train)
x_test, y_test = pairs(orbits.test)
print(x.shape, COLUMNS)

# %%
# **Discover.** LieGAN searches a generator of 2x2 blocks that a critic cannot tell from no transformation at all. The
# verdict is evaluated on held-out orbits: is the data distribution invariant, is the map x -> y equivariant?

liegan = LieGAN(search_space="blocks:2", steps=1500, progress=False).fit(x, y, coordinates=COLUMNS)
print(liegan.verdict_)

# %%
# **Refine.** Small entries are dropped, and the generator is replaced by the exact one of that name where the data
# allow.

refinement = refine(liegan.algebra_, data=x)
algebra = refinement.algebra
print(refinement)
print(identify(algebra, data=x).name)
figure = draw_basis(algebra)
figure

# %%
figure = draw_action(algebra, x)
figure

# %%
# **Use.** The same small training loop for an EMLP of this algebra and for a plain network.


def train(net: nn.Module) -> float:
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    rng = torch.Generator().manual_seed(0)
    inputs, targets = x.float(), y.float()
    for _ in range(400):
        index = torch.randint(len(inputs), (256,), generator=rng)
        loss = nn.functional.mse_loss(net(inputs[index]), targets[index])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        return float(nn.functional.mse_loss(net(x_test.float()), y_test.float()))


torch.manual_seed(0)
emlp = EMLP(V, V, algebra, hidden=64)
plain = nn.Sequential(nn.Linear(8, 64), nn.SiLU(), nn.Linear(64, 64), nn.SiLU(), nn.Linear(64, 8))
errors = {"plain network": train(plain), "EMLP": train(emlp)}
assert_equivariant(emlp, algebra, V, V, x_test[:50].float(), rtol=1e-4)
for name, value in errors.items():
    print(f"{name:14s} test error {value:.1e}")

# %%
# Deeper studies, with more models and seeds, are one command: ``liesmith two-body``.

plt.bar(list(errors), list(errors.values()))
plt.yscale("log")
plt.ylabel("mean squared error on the unseen half circle")
plt.show()
