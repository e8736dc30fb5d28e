import pytest
import torch
from conftest import EXACT

from discover.latent.group import GivenGroup, latent_group
from equivariant import LieAlgebra


def made(structure, k, c=1):
    torch.manual_seed(0)
    return latent_group(structure, k, c, "normal", 1.0).double()


def test_generators_start_skew_and_keep_their_size():
    group = made("free", 3)
    with torch.no_grad():
        torch.testing.assert_close(group.basis, -group.basis.mT)
        group.weight.mul_(7.0)
        assert float(group.basis.norm()) == pytest.approx(3**0.5)


def test_what_is_masked_is_neither_sampled_nor_exported_and_is_saved():
    group = made("free", 2)
    with torch.no_grad():
        group.weight.copy_(torch.tensor([[0.001, -1.0, 1.0, 0.3]]))
        group.threshold(0.1)
        assert group.basis[0, 0, 0] == 0
        sampled = group(6, torch.Generator().manual_seed(0))
        w = group.distribution.sample(6, torch.Generator().manual_seed(0))
        exported = LieAlgebra(group.basis).element(w)
        torch.testing.assert_close(sampled, exported, rtol=EXACT, atol=EXACT)
        fresh = made("free", 2)
        fresh.load_state_dict(group.state_dict())
        assert fresh.basis.equal(group.basis)
    assert "mask" in group.state_dict()


@pytest.mark.parametrize("structure", ["free", "3*free(2)", "2*free(3)"])
def test_exported_generators_are_the_sampled_ones(structure):
    group = made(structure, 6, c=2)
    with torch.no_grad():
        sampled = group(4, torch.Generator().manual_seed(1))
        w = group.distribution.sample(4, torch.Generator().manual_seed(1))
        torch.testing.assert_close(sampled, LieAlgebra(group.basis).element(w), rtol=1e-8, atol=1e-8)


def test_copies_move_alike():
    basis = made("2*free(2)", 4).basis[0]
    assert basis[:2, :2].equal(basis[2:, 2:])
    assert not basis[:2, 2:].any()


def test_given_groups_by_name():
    product = made("so(2)+so(2)", 4)
    assert isinstance(product, GivenGroup)
    assert product.basis.shape == (2, 4, 4)
    assert made("2*so(2)", 4).basis.shape == (1, 4, 4)
    assert not list(product.parameters())
