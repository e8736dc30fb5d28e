import pytest
import torch

from discover import equivariance_test
from equivariant import LieAlgebra, V, catalogue


def normal(n, d, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def noisy(y, level, seed=1):
    return y + level * y.std() * torch.randn(
        y.shape, generator=torch.Generator().manual_seed(seed), dtype=y.dtype
    )


def test_a_round_potential_is_symmetric_and_says_up_to_what():
    x = normal(600, 3)
    found = equivariance_test(catalogue.rotation(3), x, noisy((x**2).sum(1), 0.05))
    assert found
    assert found.worst.high < 0.1
    assert len(found.defects) == 3


def test_the_scale_of_the_generators_does_not_matter():
    x = normal(300, 2)
    y = noisy((x**2).sum(1), 0.1)
    rotation = catalogue.rotation(2)
    found = [
        equivariance_test(LieAlgebra(scale * rotation.basis), x, y).worst.high for scale in (1e-3, 1.0, 1e3)
    ]
    assert found == pytest.approx([found[0]] * 3, rel=1e-3)


def test_other_units_of_a_column_change_nothing():
    x = normal(300, 2)
    y = noisy((x**2).sum(1), 0.1)
    units = torch.tensor([1.0, 1e6], dtype=torch.float64)
    basis = catalogue.rotation(2).basis * units[:, None] / units
    plain, scaled = (equivariance_test(LieAlgebra(b), v, y) for b, v in ((catalogue.rotation(2).basis, x),
                                                                         (basis, x * units)))  # fmt: skip
    assert scaled.worst.high == pytest.approx(plain.worst.high, rel=0.3)
    assert scaled.answer == plain.answer == "symmetric"


def test_vectors_move_with_the_input():
    x = normal(1200, 3)
    found = equivariance_test(catalogue.rotation(3), x, x / (1 + (x**2).sum(1, keepdim=True)), y_rep=V)
    assert found.answer == "symmetric"
    fixed = equivariance_test(catalogue.rotation(3), x, x * torch.tensor([1.0, 1.0, 2.0]), y_rep=V)
    assert fixed.answer == "not symmetric"


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", ["noise", "labels", "weak", "cubic"])
def test_nothing_to_find_is_never_called_symmetric(kind, seed):
    x, other = normal(300, 3, seed), normal(300, 3, seed + 100)
    y = {"noise": other[:, 0], "labels": (other[:, 0] > 0).long(), "weak": 0.15 * x[:, 0] + other[:, 0],
         "cubic": x[:, 0] ** 3 + x[:, 1]}[kind]  # fmt: skip
    assert equivariance_test(catalogue.rotation(3), x, y, seed=seed).answer != "symmetric"


def test_the_exact_part_of_an_approximate_algebra_comes_first():
    x = normal(600, 3)
    found = equivariance_test(catalogue.rotation(3), x, noisy((x**2).sum(1) + 2 * x[:, 2], 0.02))
    assert found.answer == "not symmetric"
    first = (found.order[0][:, None, None] * catalogue.rotation(3).basis).sum(0)
    assert first[:, 2].abs().max() < 0.1 * first.abs().max()  # the rotation about the third axis


def test_trajectories_are_the_independent_units():
    start = normal(30, 2).repeat_interleave(20, 0)
    x = start + 0.05 * normal(600, 2, seed=5)
    y = (x**2).sum(1) + normal(30, 1, seed=6)[:, 0].repeat_interleave(20)
    groups = torch.arange(30).repeat_interleave(20)
    alone, together = (
        equivariance_test(catalogue.rotation(2), x, y, groups=g).worst.high for g in (None, groups)
    )
    assert together > alone


def test_a_constant_target_decides_nothing():
    assert equivariance_test(catalogue.rotation(2), normal(100, 2), torch.ones(100)).answer == "cannot tell"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"margin": 0.0}, "margin"), ({"alpha": 2.0}, "alpha"), ({"groups": torch.zeros(300)}, "groups")],
)
def test_what_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        equivariance_test(catalogue.rotation(2), normal(300, 2), normal(300, 1), **arguments)


def test_an_algebra_of_another_dimension_is_refused():
    with pytest.raises(ValueError, match="size 2"):
        equivariance_test(catalogue.rotation(3), normal(300, 2), normal(300, 1))


def test_inputs_that_never_change_are_refused():
    with pytest.raises(ValueError, match="must vary"):
        equivariance_test(catalogue.rotation(2), torch.ones(300, 2), normal(300, 1))


def test_a_constant_column_adds_nothing():
    x = normal(300, 2)
    y = noisy((x**2).sum(1), 0.05)
    basis = torch.zeros(1, 3, 3, dtype=torch.float64)
    basis[0, :2, :2] = catalogue.rotation(2).basis[0]
    with_column = torch.cat([x, torch.full((300, 1), 5.0, dtype=torch.float64)], dim=1)
    found, plain = (
        equivariance_test(LieAlgebra(basis), with_column, y),
        equivariance_test(catalogue.rotation(2), x, y),
    )
    assert found.worst.high == pytest.approx(plain.worst.high, rel=1e-6)
