import math

import pytest
import torch
from conftest import EXACT

from tasks.top_tagging import Jets


def one_by_one(jets):
    return [jets.p3[a:b] for a, b in zip(jets.offsets[:-1], jets.offsets[1:], strict=True)]


@pytest.mark.parametrize(
    "index", [slice(1, 5, 2), [4, 0, 4], torch.tensor([3]), torch.tensor([True, False] * 3)]
)
def test_an_index_takes_whole_jets(jets, index):
    wanted = torch.arange(6)[index]
    picked = jets[index]
    assert picked.label.tolist() == jets.label[wanted].tolist()
    for came, i in zip(one_by_one(picked), wanted.tolist(), strict=True):
        assert torch.equal(came, one_by_one(jets)[i])


def test_an_integer_is_one_jet_and_iteration_ends(jets):
    assert torch.equal(jets[-2].p3, one_by_one(jets)[4])
    assert len(list(jets)) == 6
    with pytest.raises(IndexError):
        jets[6]


def test_joined_parts_are_the_whole(jets):
    assert Jets.join([jets[:2], Jets.empty(), jets[2:]]).digest == jets.digest
    assert len(Jets.join([])) == 0


def test_the_digest_is_of_the_content(jets):
    assert jets[[0, 1, 2, 3, 4, 5]].digest == jets.digest
    assert Jets(p3=jets.p3, offsets=jets.offsets, label=1 - jets.label).digest != jets.digest
    moved = Jets(p3=jets.p3, offsets=torch.tensor([0, 4, 8, 8, 9, 17, 21]), label=jets.label)
    assert moved.digest != jets.digest


def test_momenta_and_masses_by_hand():
    p3 = torch.tensor([[3.0, 0, 4.0], [3.0, 0, -4.0], [0, 2.0, 0]])
    jets = Jets(p3=p3, offsets=torch.tensor([0, 2, 2, 3]), label=torch.tensor([1, 0, 0]).to(torch.int8))
    assert torch.equal(jets.p4()[:, 0], torch.tensor([5.0, 5.0, 2.0]).double())
    assert torch.equal(jets.momenta()[0], torch.tensor([10.0, 6.0, 0, 0]).double())
    assert jets.masses().tolist() == pytest.approx([8.0, 0.0, 0.0], abs=1e-12)


def test_leading_keeps_the_first_of_each(jets):
    least = jets.leading(3)
    assert least.counts.tolist() == [3, 3, 0, 1, 3, 3]
    assert torch.equal(one_by_one(least)[4], one_by_one(jets)[4][:3])
    assert jets.leading(8).digest == jets.digest
    with pytest.raises(ValueError, match="at least one"):
        jets.leading(0)


def test_unusual_jets_are_counted(jets):
    tally = jets.tally(cap=4)
    assert (tally.jets, tally.empty, tally.single, tally.over_cap) == (6, 1, 1, 2)
    assert (tally + tally).over_cap == 4
    assert "1 empty" in str(tally)
    assert "2 over 4)" in str(tally + tally.__class__(jets=0, cap=4))
    with pytest.raises(ValueError, match="caps 4 and 200"):
        tally + jets.tally()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"p3": torch.zeros(21, 4)}, r"\(m, 3\)"),
        ({"p3": torch.zeros(21, 3).double()}, "float32"),
        ({"p3": torch.full((21, 3), math.nan)}, "finite"),
        ({"offsets": torch.tensor([0, 21])}, "one more than labels"),
        ({"offsets": torch.tensor([0, 5, 3, 8, 9, 17, 21])}, "rise"),
        ({"offsets": torch.tensor([0, 5, 8, 8, 9, 17, 20])}, "rise"),
        ({"label": torch.full((6,), 2).to(torch.int8)}, "labels must be 1"),
    ],
)
def test_what_does_not_fit_is_refused(jets, change, says):
    parts = {"p3": jets.p3, "offsets": jets.offsets, "label": jets.label} | change
    with pytest.raises(ValueError, match=says):
        Jets(**parts)


def test_masses_do_not_turn(jets):
    turn = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(1)))[0]
    turned = Jets(p3=jets.p3 @ turn.T, offsets=jets.offsets, label=jets.label)
    assert torch.allclose(turned.masses(), jets.masses(), rtol=1e-5, atol=1e-3)


def test_the_shared_sample_has_the_symmetries_of_a_collision(shared_jets):
    """No direction about the beam and no end of it is preferred, by either class; windows as stated."""
    for y in (0, 1):
        momenta = shared_jets[shared_jets.label == y].momenta()
        n, phi = len(momenta), torch.atan2(momenta[:, 2], momenta[:, 1])
        for k in (1, 2, 3):  # Rayleigh's test: the mean of exp(i k phi) has size 1/sqrt(n) by chance
            assert math.hypot((k * phi).cos().mean(), (k * phi).sin().mean()) < 3 / math.sqrt(n)
        assert abs(momenta[:, 3].sign().mean()) < 4 / math.sqrt(n)
        pt = momenta[:, 1:3].norm(dim=1)
        assert pt.min() > 550 - EXACT
        assert pt.max() < 650 + EXACT


def test_mass_medians_of_the_shared_sample(shared_jets):
    mass = shared_jets.masses()
    assert float(mass[shared_jets.label == 1].median()) == pytest.approx(175.7, abs=0.5)
    assert float(mass[shared_jets.label == 0].median()) == pytest.approx(75, abs=1)
