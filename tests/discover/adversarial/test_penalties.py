import torch

from discover.adversarial.penalties import channel_overlap, identity_overlap, sparsity
from equivariant import catalogue


def test_identity_overlap_is_one_when_nothing_moves(generator):
    x = torch.randn(50, 3, generator=generator)
    assert float(identity_overlap(x, x)) == 1
    assert float(identity_overlap(x, -x)) == 1  # its modulus counts
    assert float(identity_overlap(x[:, :2], x[:, :2] @ catalogue.rotation(2).basis[0].float())) < 1e-6


def test_channel_overlap_counts_pairs_whatever_their_size():
    basis = catalogue.rotation(3).basis
    assert float(channel_overlap(basis)) == 0
    doubled = torch.cat([basis[:1], 7 * basis[:1], -basis[:1]])
    torch.testing.assert_close(channel_overlap(doubled), torch.tensor(3.0, dtype=torch.float64))


def test_sparsity_is_the_norm_asked_for():
    basis = torch.tensor([[[3.0, -4.0], [0.0, 0.0]]])
    assert float(sparsity(basis)) == 7
    assert float(sparsity(basis, 2)) == 5
