import json

import pytest
import torch
from conftest import EXACT, LEARNED

from equivariant import LieAlgebra, catalogue
from equivariant.compare import subspace_error
from tasks.top_tagging import Jets, write_shard
from tasks.top_tagging.data.jets import MINKOWSKI
from tasks.top_tagging.discovery.benchmark import (
    RECIPES,
    JetBenchmark,
    draw_discovery,
    draw_generators,
    simple_basis,
    summary,
    table,
)
from tasks.top_tagging.discovery.jet_algebra import (
    JetDiscovery,
    against_lorentz,
    discovered_metric,
    jet_vectors,
    leaving,
    minkowski_cosine,
)

LORENTZ = catalogue.lorentz()
WHOLE = catalogue.union(LORENTZ, catalogue.scaling(4))
BRIEF = {"progress": False, "evaluation_steps": 20}


def cone_jets(n: int, counts: int = 2, seed: int = 0) -> Jets:
    """Jets of massless constituents in all directions; the label is dealt at random."""
    random = torch.Generator().manual_seed(seed)
    offsets = torch.arange(n + 1) * counts
    label = (torch.rand(n, generator=random) < 0.5).to(torch.int8)
    return Jets(p3=100 * torch.randn(n * counts, 3, generator=random), offsets=offsets, label=label)


@pytest.fixture(scope="module")
def cone() -> Jets:
    return cone_jets(600)


@pytest.fixture(scope="module")
def found(cone):
    return JetDiscovery(**BRIEF).run(cone)


@pytest.mark.parametrize("algebra", [LORENTZ, WHOLE], ids=["lorentz", "with scaling"])
def test_the_metric_of_the_known_group_is_minkowski(algebra):
    metric = discovered_metric(algebra)
    torch.testing.assert_close(metric, MINKOWSKI, rtol=0, atol=EXACT)


@pytest.mark.parametrize("algebra", [LORENTZ, WHOLE], ids=["lorentz", "with scaling"])
def test_noise_on_the_generators_moves_it_as_little(algebra, generator):
    """Science: noise 1e-3 an entry turns J by about 1.5e-3; any mixing of the generators gives the same."""
    mixing = torch.randn(len(algebra.basis), len(algebra.basis), generator=generator, dtype=torch.float64)
    noisy = algebra.basis + 1e-3 * torch.randn(algebra.basis.shape, generator=generator, dtype=torch.float64)
    metric = discovered_metric(LieAlgebra(torch.einsum("ab,bij->aij", mixing, noisy)))
    assert float((metric - MINKOWSKI).norm()) < LEARNED
    assert metric[0, 0] > 0
    assert float(metric.norm()) == pytest.approx(2)
    assert torch.equal(metric, metric.mT)


def test_the_metric_follows_a_change_of_coordinates(generator):
    """L -> S L S^-1 keeps S^-T J S^-1: units of MeV for the energy, say."""
    change = torch.eye(4, dtype=torch.float64) + 0.2 * torch.randn(4, 4, generator=generator).double()
    inverse = torch.linalg.inv(change)
    expected = inverse.mT @ MINKOWSKI @ inverse
    metric = discovered_metric(LieAlgebra(change @ LORENTZ.basis @ inverse))
    torch.testing.assert_close(metric, 2 * expected / expected.norm(), rtol=0, atol=1e-8)


@pytest.mark.parametrize(
    ("algebra", "words"),
    [
        (catalogue.scaling(4), "but scalings"),
        (LieAlgebra(torch.zeros(0, 4, 4, dtype=torch.float64)), "but scalings"),
        (catalogue.general_linear(4), "no single form"),
        (LieAlgebra(LORENTZ.basis[:1]), "no single form"),  # one boost keeps many
        (LieAlgebra(torch.randn(7, 4, 4, generator=torch.Generator().manual_seed(3))), "no single form"),
    ],
    ids=["scaling", "empty", "everything", "too few", "noise"],
)
def test_an_algebra_that_fixes_no_form_is_refused(algebra, words):
    with pytest.raises(ValueError, match=words):
        discovered_metric(algebra)


def test_the_light_cone_is_found_without_labels(cone, found):
    assert found.evidence["n_generators"] == 7
    assert subspace_error(found.algebra, WHOLE) < 0.15
    assert found.evidence["subspace_error_to_lorentz_and_scaling"] == subspace_error(found.algebra, WHOLE)
    assert found.evidence["metric_cosine"] > 0.999
    assert (found.evidence["jets"], found.evidence["left_out"]) == (len(cone), 0)
    assert found.algebra.coordinates == LORENTZ.coordinates
    assert found.verdict is not None
    torch.testing.assert_close(found.metric, discovered_metric(found.algebra))


def test_what_is_found_does_not_depend_on_the_truth(cone):
    """Momenta in other axes, on another cone: the method follows the data, not the catalogue."""
    stretched = Jets(p3=cone.p3 * torch.tensor([1.0, 1.0, 3.0]), offsets=cone.offsets, label=cone.label)
    p4 = jet_vectors(stretched)
    change = torch.diag(torch.tensor([1.0, 1.0, 1.0, 1 / 3], dtype=torch.float64))
    algebra = JetDiscovery(**BRIEF)._estimator().fit(p4 @ change).algebra_
    moved = LieAlgebra(change @ WHOLE.basis @ torch.linalg.inv(change))
    assert subspace_error(algebra, moved) < 0.2 < subspace_error(algebra, WHOLE)


def test_true_generators_leave_the_cone_less_than_any_matrix(cone):
    x = jet_vectors(cone)
    assert leaving(catalogue.general_linear(4), x) == pytest.approx(1, abs=LEARNED)
    assert leaving(WHOLE, x) < 0.3
    assert leaving(LieAlgebra(torch.zeros(0, 4, 4, dtype=torch.float64)), x) is None


def test_jets_without_enough_constituents_are_left_out_and_counted(cone):
    short = Jets.join([cone, cone_jets(7, counts=1), cone_jets(5, counts=0)])
    found = JetDiscovery(**BRIEF).run(short)
    assert (found.evidence["jets"], found.evidence["left_out"]) == (len(cone), 12)
    assert len(jet_vectors(short, "jet")) == len(cone) + 7


def test_labels_stay_with_their_jets(cone):
    short = Jets.join([cone_jets(30, counts=1, seed=4), cone])
    search = JetDiscovery(labels=True, leading=2)
    assert torch.equal(search._label(short), cone.label.long())
    dealt = JetDiscovery(labels=True, shuffled=True)._label(short)
    assert dealt.sum() == cone.label.sum()
    assert not torch.equal(dealt, cone.label.long())


@pytest.mark.parametrize(
    ("settings", "jets", "words"),
    [
        ({"leading": 3}, cone_jets(20), "no jet of 20 has 3"),
        ({}, Jets.empty(), "no jet of 0"),
        ({"leading": 0}, cone_jets(20), "at least 1"),
        ({"method": "magic"}, cone_jets(20), "unknown method 'magic'"),
        ({"vectors": "pairs"}, cone_jets(20), "unknown vectors 'pairs'"),
        ({"shuffled": True}, cone_jets(20), "needs labels=True"),
        ({"labels": True}, cone_jets(40)[cone_jets(40).label == 1], "top and QCD"),
        ({}, cone_jets(4), "at least neighbours"),
    ],
)
def test_what_cannot_work_is_refused(settings, jets, words):
    with pytest.raises(ValueError, match=words):
        JetDiscovery(**BRIEF, **settings).run(jets)


def test_the_label_of_a_mass_alone_shows_the_group():
    """A label that the mass of the whole jet decides: the map keeps so(1,3), and support is not asked."""
    random = torch.Generator().manual_seed(5)
    jets = cone_jets(2500, seed=5)
    mass = jets.masses()
    label = (mass + 20 * torch.randn(len(mass), generator=random).double() > mass.median()).to(torch.int8)
    jets = Jets(p3=jets.p3, offsets=jets.offsets, label=label)
    found = JetDiscovery(vectors="jet", labels=True, thin=0.0, steps=1000, **BRIEF).run(jets)
    assert found.evidence["explained_variance"] > 0.5
    assert found.evidence["n_generators"] in (6, 7)
    assert found.evidence["metric_cosine"] > 0.99


def test_liegan_says_how_large_its_channels_are(cone):
    for published in (False, True):
        found = JetDiscovery(method="liegan", labels=True, published=published, steps=4, **BRIEF).run(cone)
        assert found.evidence["n_generators"] == 7
        assert found.evidence["sizes"][0] == 1
        assert found.metric is None or found.metric[0, 0] > 0


def test_against_the_truth():
    exact = against_lorentz(LORENTZ, -MINKOWSKI)
    assert exact["metric_cosine"] == pytest.approx(1)
    assert exact["subspace_error_to_lorentz"] == pytest.approx(0, abs=EXACT)
    assert len(exact["angles_to_lorentz_and_scaling"]) == 6
    nothing = against_lorentz(LieAlgebra(torch.zeros(0, 4, 4, dtype=torch.float64)), None)
    assert nothing["subspace_error_to_lorentz"] is None  # and not 0, as the norm of no angles would say
    assert nothing["metric_cosine"] is None


def test_the_cosine_does_not_depend_on_sign_and_size():
    assert minkowski_cosine(-3 * MINKOWSKI) == pytest.approx(1, abs=EXACT)
    assert minkowski_cosine(torch.eye(4)) == pytest.approx(0.5)


def test_a_simple_basis_spans_the_same_and_undoes_a_mixing(generator):
    mixing = torch.linalg.qr(torch.randn(6, 6, generator=generator, dtype=torch.float64)).Q
    mixed = torch.einsum("ab,bij->aij", mixing, LORENTZ.basis)
    simple = simple_basis(mixed)
    assert subspace_error(simple, LORENTZ) < 1e-9
    assert sorted((simple.abs() > 0.1).flatten(1).sum(1).tolist()) == [2] * 6
    assert simple_basis(mixed[:0]).shape == (0, 4, 4)


def test_the_study_writes_resumes_and_keeps_failures(tmp_path, cone, monkeypatch):
    write_shard(tmp_path / "shard-00000.safetensors", cone, {"seed": 1})
    study = JetBenchmark(out=tmp_path / "out.json", seeds=2, only=("spectral, 2", "spectral, 10"), quick=True,
                     progress=False)  # fmt: skip
    first = study.run(tmp_path)
    assert json.loads(study.out.read_text()) == json.loads(json.dumps(first))
    assert first["summary"]["spectral, 2 constituents"]["n_generators"]["median"] == 7
    assert first["summary"]["spectral, 10 constituents"]["failed"] == 2
    assert "has 10 constituents" in next(row["failed"] for row in first["rows"] if "failed" in row)
    monkeypatch.setattr(JetDiscovery, "run", lambda *_: pytest.fail("what is known is not run again"))
    assert json.dumps(study.run(tmp_path)["rows"]) == json.dumps(first["rows"])
    assert "spectral, 2 constituents" in str(table(first["summary"]))
    draw_discovery(first).savefig(tmp_path / "out.png")
    assert len(draw_generators(first["rows"][0]).axes) == 8
    write_shard(tmp_path / "shard-00000.safetensors", cone[:-1], {"seed": 1})
    with pytest.raises(ValueError, match="other jets"):
        study.run(tmp_path)


def test_changed_settings_are_run_again(tmp_path, cone, monkeypatch):
    write_shard(tmp_path / "shard-00000.safetensors", cone, {"seed": 1})
    study = JetBenchmark(
        out=tmp_path / "out.json", seeds=1, only=("spectral, jet",), quick=True, progress=False
    )
    monkeypatch.setattr(
        "tasks.top_tagging.discovery.benchmark.RECIPES", {"spectral, jet": RECIPES["spectral, jet"]}
    )
    before = study.run(tmp_path)["rows"]
    changed = {"spectral, jet": JetDiscovery(vectors="jet", thin=0.1)}
    monkeypatch.setattr("tasks.top_tagging.discovery.benchmark.RECIPES", changed)
    after = study.run(tmp_path)["rows"]
    assert len(before) == len(after) == 1
    assert after[0]["settings"]["thin"] == 0.1


def test_a_summary_of_no_runs_and_of_failures():
    assert summary([])["failed"] == 0
    assert summary([{"seed": 1, "failed": "why"}])["failed"] == 1
