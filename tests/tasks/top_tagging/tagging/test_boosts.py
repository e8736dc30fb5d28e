import math

import pytest
import torch
from conftest import EXACT
from torch import nn

from equivariant import LieGNN
from tasks.top_tagging.data.batches import Pad
from tasks.top_tagging.data.jets import MINKOWSKI
from tasks.top_tagging.tagging.boosts import RAPIDITIES, boost, boosted, boosted_scores


class Net(nn.Module):
    """A tagger; raw ones also see the four numbers of every momentum."""

    def __init__(self, raw=False):
        super().__init__()
        torch.manual_seed(0)
        self.raw = raw
        self.net = LieGNN(MINKOWSKI, 6 if raw else 2, hidden=8, layers=2, dtype=torch.float64)
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.5)  # a fresh skip connection hides what is broken

    def forward(self, batch):
        scalars = torch.cat([batch.scalars, batch.p4 / 100], -1) if self.raw else batch.scalars
        return self.net(scalars, batch.p4 / 100, batch.mask)


@pytest.mark.parametrize("rapidity", [0.0, 0.7, 1.5, -2.0])
def test_a_boost_keeps_the_metric_and_undoes_itself(rapidity, generator):
    direction = torch.randn(5, 3, generator=generator, dtype=torch.float64)
    b = boost(rapidity, direction)
    assert torch.allclose(b.mT @ MINKOWSKI @ b, MINKOWSKI.expand(5, 4, 4), atol=EXACT * 100)
    assert torch.allclose(b @ boost(-rapidity, direction), torch.eye(4).double().expand(5, 4, 4), atol=EXACT)
    assert torch.allclose(b[:, 0, 0], torch.tensor(math.cosh(rapidity)).double())


def test_rapidities_add_along_z():
    z = torch.tensor([0.0, 0.0, 3.0], dtype=torch.float64)
    p4 = torch.tensor([5.0, 3.0, 0.0, 4.0], dtype=torch.float64)
    moved = boost(0.8, z) @ p4
    assert float((moved[3] / moved[0]).atanh() - (p4[3] / p4[0]).atanh()) == pytest.approx(0.8, abs=EXACT)
    assert torch.equal(moved[1:3], p4[1:3])


def test_massless_stays_massless_and_padding_nothing(jets):
    batch = Pad()(jets)
    moved = boosted(batch, boost(1.5, torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)))
    kept = Pad()(jets)
    assert torch.equal(batch.p4, kept.p4)
    mass2 = moved.p4[..., 0] ** 2 - moved.p4[..., 1:].square().sum(-1)
    assert float(mass2[:, 2:].abs().max()) < 1e-8 * float(moved.p4.abs().max()) ** 2
    assert torch.allclose(mass2[:, :2], torch.ones(()).double())
    assert not moved.p4[~batch.mask].any()
    alone = boosted(batch, boost(1.5, torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)), beams=False)
    assert torch.equal(alone.p4[:, :2], batch.p4[:, :2])
    assert torch.equal(alone.p4[:, 2:], moved.p4[:, 2:])


def test_scores_are_flat_only_for_what_is_invariant(jets):
    flat = boosted_scores(Net().eval(), jets)
    assert flat.shape == (len(RAPIDITIES), len(jets))
    assert torch.allclose(flat, flat[:1].expand_as(flat), atol=1e-6)
    assert float((flat[:, 0] - flat[:, 1]).abs().max()) > 1e-4
    for model, beams in ((Net(raw=True), True), (Net(), False)):
        bent = boosted_scores(model.eval(), jets, beams=beams)
        assert float((bent - bent[:1]).abs().max()) > 3e-5  # a hundred times more


def test_logits_are_flat_to_rounding(jets):
    batch, net = Pad()(jets), Net().eval()
    moved = boosted(batch, boost(1.5, torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)))
    with torch.no_grad():
        still, after = net(batch), net(moved)
    assert float((still - after).abs().max()) < EXACT * float(still.abs().max())


def test_order_and_mode_are_kept_whatever_the_batches(jets):
    model = Net().train()
    one, many = (boosted_scores(model, jets, (0.0, 1.0), batch_size=size) for size in (1, 100))
    assert torch.allclose(one, many, atol=1e-6)
    assert model.training
    assert boosted_scores(model, jets[:0]).shape == (len(RAPIDITIES), 0)


@pytest.mark.parametrize("direction", [torch.zeros(3), torch.full((3,), float("nan")), torch.ones(4)])
def test_a_direction_without_length_is_refused(direction):
    with pytest.raises(ValueError, match="direction must have shape"):
        boost(1.0, direction)
