import numpy as np
import pytest
import torch

from equivariant import Group, LieAlgebra, Scalar, T, V, catalogue, equivariant_maps
from equivariant.interop import from_emlp, to_emlp

pytest.importorskip("emlp", reason="the extra liesmith[emlp] is not installed")

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


def _theirs(symmetry, into, out):
    from emlp.reps import T as EmlpT

    group = to_emlp(symmetry)
    reps = [EmlpT(len(rep.terms[0][1]))(group) for rep in (into, out)]
    return torch.from_numpy(np.array((reps[0] >> reps[1]).equivariant_basis(), dtype=np.float64)).mT


@pytest.mark.parametrize(("symmetry", "into", "out"), CASES)
def test_the_published_package_finds_the_same_maps(symmetry, into, out):
    ours, theirs = equivariant_maps(into, out, symmetry).basis, _theirs(symmetry, into, out)
    assert len(ours) == len(theirs)
    if len(ours):
        cosines = torch.linalg.svdvals(ours @ torch.linalg.qr(theirs.mT).Q)
        assert 1 - cosines.min() < 1e-5  # the package works in float32


def test_a_group_goes_there_and_back():
    for symmetry in (catalogue.lorentz(), Group.with_discrete(catalogue.rotation(3), -torch.eye(3))):
        here, back = Group.of(symmetry).factors[0], from_emlp(to_emlp(symmetry)).factors[0]
        assert torch.allclose(back.continuous, here.continuous, atol=1e-6)
        assert torch.allclose(back.finite, here.finite, atol=1e-6)


def test_a_group_of_the_package_comes_here():
    from emlp.groups import SO, O

    assert equivariant_maps(Scalar, T(3), from_emlp(SO(3))).dim == 1
    assert equivariant_maps(Scalar, T(3), from_emlp(O(3))).dim == 0


def test_names_tell_contents_apart():
    first, second = (LieAlgebra(torch.randn(1, 3, 3)) for _ in range(2))
    assert repr(to_emlp(first)) != repr(to_emlp(second))
    assert repr(to_emlp(first)) == repr(to_emlp(LieAlgebra(2 * first.basis)))


def test_a_product_gets_a_sentence():
    with pytest.raises(ValueError, match="one factor"):
        to_emlp([catalogue.rotation(2), catalogue.rotation(2)])
