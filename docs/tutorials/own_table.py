"""
Your own table
==============

A file of columns, a question: is there a linear symmetry in it? Here the table is a potential measured in a trap that
is round in x and y and not harmonic along z. ``Spectral`` fits a network to it, and every generator L with
Df(x) L x = 0 is a symmetry.
"""

import csv
import tempfile
from pathlib import Path

import numpy as np
import torch

from discover import Spectral, identify, refine
from discover.algebra.draw import draw_basis, draw_spectrum

torch.set_num_threads(1)

# %%
# The table, as a .csv file with a header.

random = np.random.default_rng(0)
position = random.normal(size=(2000, 3))
potential = 0.5 * (position[:, 0] ** 2 + position[:, 1] ** 2) + 0.5 * position[:, 2] ** 4
measured = potential + 0.01 * random.normal(size=2000)
folder = Path(tempfile.mkdtemp())
with (folder / "trap.csv").open("w", newline="") as file:
    writer = csv.writer(file)
    writer.writerow(["x [mm]", "y [mm]", "z [mm]", "U [mJ]"])
    writer.writerows(np.column_stack([position, measured]).tolist())

# %%
# NumPy arrays, tensors, lists and data frames are all taken; the names of the columns become the coordinates.

table = np.loadtxt(folder / "trap.csv", delimiter=",", skiprows=1)
spectral = Spectral(progress=False).fit(table[:, :3], table[:, 3], coordinates=["x [mm]", "y [mm]", "z [mm]"])
print(spectral.verdict_)
spectral.algebra_

# %%
# Is it a known algebra, in these coordinates?

algebra = refine(spectral.algebra_, data=table[:, :3]).algebra
print(identify(algebra).name)
figure = draw_basis(algebra)
figure

# %%
figure = draw_spectrum(algebra)
figure

# %%
# The algebra is a value and a file. From a shell the same is
# ``liesmith discover trap.csv --x "x [mm],y [mm],z [mm]" --y "U [mJ]" --method spectral``.

algebra.save(folder / "algebra.safetensors")
