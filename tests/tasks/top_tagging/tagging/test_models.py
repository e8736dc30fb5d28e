from dataclasses import replace

import pytest
import torch
from conftest import EXACT, SINGLE

from equivariant import catalogue
from tasks.top_tagging import Pad
from tasks.top_tagging.data.batches import JetBatch
from tasks.top_tagging.data.jets import MINKOWSKI
from tasks.top_tagging.tagging.models import (
    FEATURES,
    FORMS,
    TAGGERS,
    TaggerSize,
    build_tagger,
    constituent_features,
)


def build(name, size=None, **settings):
    metric = MINKOWSKI if name == "LieGNN" else None
    return build_tagger(name, size or TaggerSize(), metric=metric, **settings)


def with_large_updates(name):
    """A tagger in float64 whose moves of x are of size one: a fresh one hides what it does with moved x."""
    model = build(name).double().eval()
    for block in getattr(model.net, "blocks", []):
        if block.phi_x is not None:
            torch.nn.init.normal_(block.phi_x[-1].weight)
            block.step = 1.0
    return model


def changed(batch, matrix):
    return replace(batch, p4=batch.p4 @ matrix.mT)


@pytest.fixture
def boost(generator):
    return catalogue.lorentz().sample(1, generator)[0]


@pytest.fixture
def rotation(generator):
    matrix = torch.eye(4, dtype=torch.float64)
    matrix[1:, 1:] = catalogue.rotation(3).sample(1, generator)[0]
    return matrix


def distance(name, batch, matrix):
    model = with_large_updates(name)
    with torch.no_grad():
        before, after = model(batch), model(changed(batch, matrix))
    return float((after - before).norm() / before.norm())


@pytest.mark.parametrize("name", ["LieGNN", "LorentzNet"])
def test_no_boost_changes_what_has_the_symmetry(name, jets, boost):
    assert distance(name, Pad()(jets), boost) < EXACT


@pytest.mark.parametrize("name", ["LorentzNet, raw", "EGNN", "Transformer"])
def test_a_boost_changes_what_has_not(name, jets, boost):
    assert distance(name, Pad()(jets), boost) > 1e3 * EXACT


def test_the_euclidean_form_keeps_rotations_of_all_four(jets, generator):
    turn = catalogue.rotation(4).sample(1, generator)[0]
    assert distance("EGNN", Pad()(jets), turn) < EXACT
    assert distance("LorentzNet", Pad()(jets), turn) > 1e3 * EXACT


def test_components_know_no_rotation(jets, rotation):
    assert distance("LorentzNet, raw", Pad()(jets), rotation) > 1e3 * EXACT
    assert distance("EGNN", Pad()(jets), rotation) < EXACT


def test_a_metric_that_was_found_is_the_one_used(jets):
    batch = Pad(dtype=torch.float32)(jets)
    found = {name: build(name)(batch) for name in ("LieGNN", "LorentzNet")}
    assert torch.equal(found["LieGNN"], found["LorentzNet"])
    other = build_tagger("LieGNN", TaggerSize(), metric=FORMS["EGNN"])
    assert torch.equal(other(batch), build("EGNN")(batch))


@pytest.mark.parametrize("name", TAGGERS)
def test_padding_does_not_matter(name, jets):
    batch = Pad()(jets)
    b = len(batch)
    wider = JetBatch(
        p4=torch.cat([batch.p4, torch.full((b, 3, 4), float("nan")).double()], 1),
        mask=torch.cat([batch.mask, torch.zeros(b, 3, dtype=torch.bool)], 1),
        scalars=torch.cat([batch.scalars, torch.zeros(b, 3, 2).double()], 1),
        label=batch.label,
    )
    model = with_large_updates(name)
    with torch.no_grad():
        assert torch.allclose(model(wider), model(batch), rtol=EXACT, atol=EXACT)
        alone = torch.cat([model(Pad()(jets[i])) for i in range(len(jets))])
    assert torch.allclose(alone, model(batch), rtol=EXACT, atol=EXACT)


@pytest.mark.parametrize("beams", [True, False])
@pytest.mark.parametrize("name", TAGGERS)
def test_empty_and_single_jets_have_finite_logits_and_gradients(name, beams, jets):
    model = build(name)
    logits = model(Pad(beams=beams, dtype=torch.float32)(jets[[2, 3, 2]]))
    logits.square().sum().backward()
    assert torch.isfinite(logits).all()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_a_transformer_sees_no_beams(jets):
    model = with_large_updates("Transformer")
    with torch.no_grad():
        assert torch.allclose(model(Pad()(jets)), model(Pad(beams=False)(jets)), rtol=EXACT, atol=EXACT)


@pytest.mark.parametrize("name", TAGGERS)
def test_the_order_of_constituents_does_not_matter(name, jets):
    batch = Pad()(jets[[0]])
    order = torch.tensor([0, 1, 6, 3, 5, 2, 4])
    mixed = replace(batch, p4=batch.p4[:, order], scalars=batch.scalars[:, order])
    model = with_large_updates(name)
    with torch.no_grad():
        assert torch.allclose(model(mixed), model(batch), rtol=EXACT, atol=EXACT)


def test_sizes_are_about_alike():
    for size, low, high in (
        (TaggerSize(), 3_000, 20_000),
        (TaggerSize(hidden=72, layers=6, dropout=0.2), 220_000, 265_000),
    ):
        counts = [sum(p.numel() for p in build(name, size).parameters()) for name in TAGGERS]
        assert low < min(counts)
        assert max(counts) < high
        assert max(counts) < 1.25 * min(counts)


@pytest.mark.parametrize("name", TAGGERS)
def test_the_seed_says_the_weights(name):
    one, same, other = (build(name, seed=seed).state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(one[key], same[key]) for key in one)
    assert any(not torch.equal(one[key], other[key]) for key in one)


def test_features_are_the_standard_ones():
    p3 = torch.tensor([[3.0, 4.0, 0.0], [0.0, 5.0, 5.0]]).double()
    p4 = torch.cat([p3.norm(dim=1, keepdim=True), p3], 1)[None]
    mask = torch.ones(1, 2, dtype=torch.bool)
    found = constituent_features(p4, mask)[0, 0]
    jet_pt, jet_energy = torch.tensor(90.0).sqrt(), 5 + torch.tensor(50.0).sqrt()
    eta, phi = (
        -torch.asinh(5 / jet_pt),
        torch.atan2(torch.tensor(4.0), torch.tensor(3.0)) - torch.atan2(torch.tensor(9.0), torch.tensor(3.0)),
    )
    plain = [torch.tensor(5.0).log(), torch.tensor(5.0).log(), (5 / jet_pt).log(), (5 / jet_energy).log()]
    plain += [torch.hypot(eta, phi), eta, phi]
    shift = torch.tensor([1.7, 2.0, -4.7, -4.7, 0.2, 0.0, 0.0])
    scale = torch.tensor([0.7, 0.7, 0.7, 0.7, 4.0, 1.0, 1.0])
    assert len(found) == len(FEATURES)
    assert torch.allclose(found.float(), (torch.stack(plain) - shift) * scale, rtol=SINGLE, atol=SINGLE)


def test_angles_go_round():
    """Constituents on both sides of phi = pi are near each other."""
    p3 = torch.tensor([[-1.0, 0.1, 0.0], [-1.0, -0.1, 0.0]]).double()
    p4 = torch.cat([p3.norm(dim=1, keepdim=True), p3], 1)[None]
    found = constituent_features(p4, torch.ones(1, 2, dtype=torch.bool))
    assert (found[0, :, -1].abs() < 0.11).all()


def test_what_cannot_be_built_is_told():
    with pytest.raises(ValueError, match=r"unknown tagger 'PELICAN'.*LorentzNet, raw"):
        build_tagger("PELICAN", TaggerSize())
    with pytest.raises(ValueError, match="needs a metric"):
        build_tagger("LieGNN", TaggerSize())
    with pytest.raises(ValueError, match="leave out metric"):
        build_tagger("EGNN", TaggerSize(), metric=MINKOWSKI)
    with pytest.raises(ValueError, match=r"\(4, 4\).*got \(3, 3\)"):
        build_tagger("LieGNN", TaggerSize(), metric=torch.eye(3))
    with pytest.raises(ValueError, match="divide hidden"):
        build_tagger("Transformer", TaggerSize(hidden=10, heads=4))
