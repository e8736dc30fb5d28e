"""
Your own table
==============

A file of columns, a question: is there a linear symmetry in it? Here the table is a potential measured in a trap that
is round in x and y and not harmonic along z. ``find_symmetries`` looks for every generator L with Df(x) L x = 0.
"""

import csv
import tempfile
from pathlib import Path

import numpy as np
import torch

from discover import find_symmetries
from discover.algebra.draw import draw_spectrum
from equivariant import Scalar, V

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
# NumPy arrays, tensors, lists and data frames are all taken. Generators are proposed on one half of the rows and tested
# on the other; the report says what holds, up to what, and what was ruled out.

table = np.loadtxt(folder / "trap.csv", delimiter=",", skiprows=1)
report = find_symmetries(table[:, :3], table[:, 3], coordinates=["x [mm]", "y [mm]", "z [mm]"])
print(report)

# %%
# The algebra is a value: it knows its brackets, its name and its file format.

print(report.name)
report.algebra

# %%
figure = draw_spectrum(report.algebra)
figure

# %%
# It leads straight on to a network that obeys it, here an invariant one, and to augmentation.

model = report.model(V, Scalar, hidden=32)
action = report.augmentation(V, Scalar)
print(model)

# %%
# From a shell the same is ``liesmith discover trap.csv --x "x [mm],y [mm],z [mm]" --y "U [mJ]"``.

report.save(folder / "algebra.safetensors")
