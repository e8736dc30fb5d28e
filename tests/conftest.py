"""What every test shares: one thread, the three tolerances, and the shared data where it is present."""

import os
from pathlib import Path

# Tiny tensors on shared cores run ten times slower with the default number of threads; BLAS reads this when it loads.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import pytest
import torch

torch.set_num_threads(1)

EXACT = 1e-10  # float64, relative
SINGLE = 1e-4  # float32, relative, group elements of size at most one
LEARNED = 1e-2  # what a short training run is held to

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="session")
def published_orbits() -> Path:
    path = SHARED / "two_body_orbits.npz"
    if not path.exists():
        pytest.skip("the published two-body orbits are not on this machine")
    return path
