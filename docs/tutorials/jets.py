"""
Jets: a metric discovered on collision events
=============================================

Top and QCD jets are generated (Pythia, a fast detector, anti-kT clustering; extra ``jets``). Their constituents are
massless, so their momenta lie on the light cone. ``Spectral`` finds the equation of that cone and the seven generators
that leave it invariant: rotations, boosts and scaling. The metric of the first six is Minkowski's.
"""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import torch

from discover import Spectral
from discover.algebra.draw import draw_basis
from equivariant import LieAlgebra, catalogue, compare, invariant_metrics
from tasks.top_tagging import load_jets
from tasks.top_tagging.simulation.generate import JetGenerator

torch.set_num_threads(1)

# %%
# One shard of 300 jets; a shard is the same whoever makes it, and a run that was stopped goes on.

folder = Path(tempfile.mkdtemp())
JetGenerator(out=folder, shards="0", jets_per_shard=300, progress=False).run()
jets = load_jets(folder)
print(jets)

# %%
# The two hardest constituents of each jet, as vectors (E, px, py, pz) in GeV. No label goes in.

p4 = jets.leading(2).p4().reshape(-1, 2, 4)
spectral = Spectral(progress=False).fit(p4, coordinates=["E [GeV]", "px [GeV]", "py [GeV]", "pz [GeV]"])
print(spectral.equations_)
print(spectral.algebra_)

# %%
# Seven generators: compared with so(1,3) and scaling, which the method did not know.

truth = catalogue.union(catalogue.lorentz(), catalogue.scaling(4))
angles = compare.principal_angles(spectral.algebra_, truth)
print(
    f"{spectral.algebra_.n_generators} generators, largest angle to so(1,3) + scaling {angles.max():.1e} rad"
)
figure = draw_basis(spectral.algebra_)
figure

# %%
# **Why a metric, when the verdict does not pass?** The *distribution* of jets is not invariant under boosts: jets with
# 550 < pT < 650 GeV do not become other such jets. What is invariant is the light cone that all constituents lie on,
# and the probability of a label given the momenta. A tagger built on the metric uses the latter.

print(spectral.verdict_)

# %%
# A scaling has no invariant metric, so the generators without their traces are asked.

traces = spectral.algebra_.basis.diagonal(dim1=1, dim2=2).mean(1)
traceless = spectral.algebra_.basis - traces[:, None, None] * torch.eye(4, dtype=torch.float64)
metric = invariant_metrics(LieAlgebra(traceless), count=1).metrics[0]
print((metric / metric[0, 0]).round(decimals=4))
plt.matshow(metric / metric[0, 0], cmap="RdBu")
plt.colorbar()
plt.show()
