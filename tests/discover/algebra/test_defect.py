import pytest
import torch

from discover.algebra.defect import EquivarianceDefect
from discover.data.samples import Samples
from equivariant import catalogue


def points(n: int, d: int) -> torch.Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_vectors_and_labels_are_targets_too():
    x = points(3000, 2)
    rotation, scaling = catalogue.rotation(2).basis, catalogue.scaling(2).basis
    vectors = EquivarianceDefect(Samples.read(x, x * (1 + x.square().sum(1, keepdim=True))))
    assert vectors(rotation).value < 0.02 < 0.2 < vectors(scaling).value
    labels = EquivarianceDefect(Samples.read(x, (x.square().sum(1) > 1.4).long()))
    assert labels(rotation).high < 0.7 < labels(scaling).low


def test_the_defect_is_that_of_the_formula():
    """y = x1^2 + a x2^2: the rotation changes y by 2 (a - 1) x1 x2."""
    x, a = points(6000, 2), 1.5
    defect = EquivarianceDefect(Samples.read(x, x[:, 0] ** 2 + a * x[:, 1] ** 2))(catalogue.rotation(2).basis)
    wrong = (2 * (a - 1) * x[:, 0] * x[:, 1]).square().mean()
    slope = (2 * x * torch.tensor([1.0, a])).square().sum(1)
    motion = (slope * x.square().sum(1)).mean() / 2
    assert defect.low < float((wrong / motion).sqrt()) < defect.high


def test_the_scale_and_the_basis_of_generators_do_not_matter():
    x = points(500, 3)
    defect = EquivarianceDefect(Samples.read(x, x[:, 0] * x.square().sum(1)))
    basis = catalogue.rotation(3).basis
    mixing = torch.tensor([[1.0, 2.0, 0.0], [0.0, 1.0, 3.0], [0.5, 0.0, 1.0]]).double()
    assert defect(5 * basis).value == pytest.approx(defect(basis).value)
    mixed = defect(torch.einsum("ab,bij->aij", mixing, basis)).value
    assert mixed == pytest.approx(defect(basis).value, rel=0.05)


def test_a_target_is_needed():
    with pytest.raises(ValueError, match="give y"):
        EquivarianceDefect(Samples.read(points(10, 2)))
