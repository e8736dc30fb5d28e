import pytest
import torch

from discover import certify
from discover.data.samples import Samples
from discover.validation.certify import split
from discover.validation.evidence import area_under_curve
from equivariant import CoefficientDistribution, LieAlgebra, catalogue

ROTATION = catalogue.rotation(2)


def test_a_map_seen_on_half_of_the_directions_is_equivariant_and_its_distribution_is_not_invariant(half_turn):
    verdict = certify(ROTATION, *half_turn)
    assert (verdict.map, verdict.distribution, verdict.passed) == ("holds", "broken", True)
    assert "the data distribution is not invariant" in str(verdict)


def test_a_map_seen_on_all_directions_has_both(generator):
    x = torch.randn(2500, 2, generator=generator, dtype=torch.float64)
    verdict = certify(ROTATION, x, x * x.norm(dim=1, keepdim=True))
    assert (verdict.map, verdict.distribution) == ("holds", "holds")


@pytest.mark.parametrize(
    "basis",
    [
        torch.tensor([[[1.0, 0.0], [0.0, -1.0]]]),  # a squeeze
        torch.tensor([[[0.1, -1.0], [1.0, -0.1]]]),  # a rotation seen askew
        torch.tensor([[[0.0, -1.0], [0.0, 0.0]]]),  # a shear
    ],
)
def test_what_is_no_symmetry_does_not_pass(half_turn, basis):
    verdict = certify(LieAlgebra(basis.double()), *half_turn)
    assert not verdict.passed
    assert "No symmetry established" in str(verdict)


def test_a_group_that_does_nothing_does_not_pass(half_turn):
    verdict = certify(LieAlgebra(1e-4 * ROTATION.basis), *half_turn)
    assert not verdict.passed
    assert "hardly move" in str(verdict)


def test_without_a_target_only_the_distribution_is_asked(generator):
    x = torch.randn(2000, 2, generator=generator, dtype=torch.float64)
    verdict = certify(ROTATION, x)
    assert (verdict.map, verdict.distribution) == ("not asked", "holds")
    stretched = certify(ROTATION, x * torch.tensor([1.0, 2.0]))
    assert stretched.distribution == "broken"


def test_class_labels_are_a_map_too(generator):
    x = torch.randn(2500, 2, generator=generator, dtype=torch.float64)
    assert certify(ROTATION, x, (x.norm(dim=1) > 1.2).long()).map == "holds"
    assert certify(ROTATION, x, (x[:, 0] > 0).long()).map == "broken"


def test_a_target_that_never_changes_shows_no_map(generator):
    x = torch.randn(300, 2, generator=generator, dtype=torch.float64) * torch.tensor([1.0, 3.0])
    for y in (torch.zeros(300, dtype=torch.long), torch.ones(300, dtype=torch.float64)):
        assert certify(ROTATION, x, y, steps=100).map == "undecided"


def test_leaving_the_span_of_the_data_breaks_the_distribution(half_turn):
    x, y = (torch.cat([v, torch.zeros(len(v), 1, dtype=v.dtype)], dim=1) for v in half_turn)
    tilted = LieAlgebra(catalogue.rotation(3).basis[:1])  # turns the plane of the data out of itself
    verdict = certify(tilted, x, y)
    assert verdict.distribution == "broken"
    assert verdict.relations == ("x2 = 0",)
    assert "All data obey x2 = 0" in str(verdict)
    assert "out of their span" in str(verdict)


def test_an_integer_distribution_is_asked_at_its_own_elements(generator):
    x = torch.randn(3000, 2, generator=generator, dtype=torch.float64)
    y = torch.cos(4 * torch.atan2(x[:, 1], x[:, 0])) * x.norm(dim=1)
    quarter = LieAlgebra(ROTATION.basis * torch.pi / 2, CoefficientDistribution.integer(1, 2))
    assert certify(quarter, x, y).map == "holds"
    assert certify(LieAlgebra(ROTATION.basis), x, y).map != "holds"


def test_the_origin_is_where_the_group_turns(half_turn):
    x, y = half_turn
    shift = torch.tensor([5.0, -3.0], dtype=torch.float64)
    there = LieAlgebra(ROTATION.basis, origin=shift)
    assert certify(there, x + shift, y + shift).map == "holds"
    assert certify(ROTATION, x + shift, y + shift).map != "holds"


def test_same_seed_same_verdict(half_turn):
    assert certify(ROTATION, *half_turn, seed=3, steps=20) == certify(ROTATION, *half_turn, seed=3, steps=20)


def test_groups_are_held_out_whole():
    x = torch.arange(40, dtype=torch.float64).reshape(20, 2)
    groups = torch.arange(20) // 4
    fitted, kept = split(Samples.read(x, None), 0.4, groups, seed=0)
    of = {float(row[0]): int(g) for row, g in zip(x, groups, strict=True)}
    sides = [{of[float(v)] for v in part.x.vectors[:, 0, 0]} for part in (fitted, kept)]
    assert sides[0].isdisjoint(sides[1])
    assert (len(sides[0]), len(sides[1])) == (3, 2)


def test_one_group_or_wrong_groups_are_refused(half_turn):
    with pytest.raises(ValueError, match="two groups"):
        certify(ROTATION, *half_turn, groups=torch.zeros(1500))
    with pytest.raises(ValueError, match="groups must have shape"):
        certify(ROTATION, *half_turn, groups=torch.zeros(3))


def test_an_algebra_of_another_dimension_is_refused(half_turn):
    with pytest.raises(ValueError, match="vectors of size 2"):
        certify(catalogue.rotation(3), *half_turn)


def test_auc_counts_ties_half():
    real, fake = torch.tensor([1.0, 2.0, 2.0]), torch.tensor([0.0, 2.0])
    wins = [(r > f) + 0.5 * (r == f) for r in real for f in fake]
    torch.testing.assert_close(area_under_curve(real, fake), torch.tensor(sum(float(w) for w in wins) / 6))


def test_a_weak_target_does_not_pass_on_the_distribution_alone(generator):
    x = torch.randn(3000, 2, generator=generator, dtype=torch.float64)
    y = 0.1 * x[:, 0] + torch.randn(3000, generator=generator, dtype=torch.float64)
    verdict = certify(ROTATION, x, y)
    assert verdict.distribution == "holds"
    assert verdict.explained_variance < 0.1
    assert (verdict.map, verdict.passed, bool(verdict)) == ("undecided", False, False)
    assert "must reach R^2 = 0.5" in str(verdict)


def test_the_words_follow_the_target(half_turn):
    x, y = half_turn
    assert "the map x -> y is equivariant" in str(certify(ROTATION, x, y, steps=500))
    assert "the map x -> y is invariant" in str(certify(ROTATION, x, x.norm(dim=1), steps=500))
    assert "held-out data, with 90 % intervals" in str(certify(ROTATION, x, y, steps=20))


def test_lists_and_arrays_give_one_verdict(half_turn):
    x, y = half_turn
    expected = certify(ROTATION, x, y, steps=20)
    assert certify(ROTATION, x.numpy(), y.tolist(), steps=20) == expected
