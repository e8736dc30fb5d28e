"""The published package runs in a process of its own: JAX starts threads, and later tests fork."""

import importlib.util
import subprocess
import sys

import pytest
import torch

from equivariant import Group, LieAlgebra, Scalar, T, V, catalogue, equivariant_maps
from equivariant.interop import from_emlp, to_emlp

CASES = [
    (catalogue.rotation(2), V, V),
    (catalogue.rotation(2), T(2), T(2)),
    (catalogue.rotation(3), Scalar, T(3)),
    (catalogue.rotation(3), T(2), T(2)),
    (catalogue.lorentz(), V, V),
    (catalogue.lorentz(), Scalar, T(4)),
    (catalogue.by_name("4*so(2)"), V, V),
    (Group.with_discrete(catalogue.rotation(3), -torch.eye(3)), T(1), T(2)),
]
MIRRORED = Group.with_discrete(catalogue.rotation(3), -torch.eye(3))
SKEW = LieAlgebra(torch.tensor([[[0.0, -1.0], [3.0, 0.0]]]))
NAMED = [SKEW, LieAlgebra(2 * SKEW.basis), LieAlgebra(SKEW.basis.mT), MIRRORED]


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    if importlib.util.find_spec("emlp") is None:
        pytest.skip("the extra liesmith[emlp] is not installed")
    path = tmp_path_factory.mktemp("emlp") / "answers.pt"
    done = subprocess.run([sys.executable, __file__, path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return torch.load(path)


@pytest.mark.parametrize("case", range(len(CASES)))
def test_the_published_package_finds_the_same_maps(published, case):
    symmetry, into, out = CASES[case]
    ours, theirs = equivariant_maps(into, out, symmetry).basis, published["bases"][case]
    assert len(ours) == len(theirs)
    if len(ours):
        cosines = torch.linalg.svdvals(ours @ torch.linalg.qr(theirs.mT).Q)
        assert 1 - cosines.min() < 1e-5  # the package works in float32


def test_a_group_goes_there_and_back(published):
    for symmetry, back in zip([catalogue.lorentz(), MIRRORED], published["back"], strict=True):
        here = Group.of(symmetry).factors[0]
        assert torch.allclose(back[0], here.continuous, atol=1e-6)
        assert torch.allclose(back[1], here.finite, atol=1e-6)


def test_a_group_of_the_package_comes_here(published):
    so3, o3 = (Group.with_discrete(LieAlgebra(L), h) for L, h in published["foreign"])
    assert equivariant_maps(Scalar, T(3), so3).dim == 1
    assert equivariant_maps(Scalar, T(3), o3).dim == 0


def test_names_tell_contents_apart(published):
    names = published["names"]
    assert names[0] == names[1]
    assert len(set(names)) == 3


def test_bad_input_gets_a_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "emlp", None)
    with pytest.raises(ImportError, match=r"liesmith\[emlp\]"):
        to_emlp(catalogue.rotation(2))


def _numbers(group):
    factor = from_emlp(group).factors[0]
    return factor.continuous, factor.finite


def _answers():
    import numpy as np
    from emlp.groups import SO, O
    from emlp.reps import T as EmlpT

    bases = []
    for symmetry, into, out in CASES:
        group = to_emlp(symmetry)
        source, target = (EmlpT(len(rep.terms[0][1]))(group) for rep in (into, out))
        bases.append(torch.from_numpy(np.array((source >> target).equivariant_basis(), dtype=np.float64)).mT)
    return {
        "bases": bases,
        "back": [_numbers(to_emlp(symmetry)) for symmetry in (catalogue.lorentz(), MIRRORED)],
        "foreign": [_numbers(group) for group in (SO(3), O(3))],
        "names": [repr(to_emlp(symmetry)) for symmetry in NAMED],
    }


if __name__ == "__main__":
    torch.save(_answers(), sys.argv[1])
