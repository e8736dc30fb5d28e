import pytest
import torch
from conftest import EXACT

from equivariant import LieAlgebra, catalogue, cosine, invariant_metrics, isotropy_algebra, nearest_isometries
from equivariant.metric import signature

MINKOWSKI = torch.diag(torch.tensor([1.0, -1, -1, -1], dtype=torch.float64))


def _noisy(size):
    noise = torch.randn(6, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return LieAlgebra(catalogue.lorentz().basis + size * noise)


def test_lorentz_has_the_minkowski_form():
    found = invariant_metrics(catalogue.lorentz())
    assert torch.allclose(found.metrics, MINKOWSKI[None], rtol=0, atol=EXACT)
    assert found.signatures == [(1, 3, 0)]
    assert found.residual < EXACT
    assert found.gap > 1e6


@pytest.mark.parametrize(("size", "error"), [(1e-3, 5e-3), (1e-2, 4e-2)])
def test_noise_moves_the_form_by_as_much(size, error):
    found = invariant_metrics(_noisy(size))
    assert len(found.metrics) == 1
    assert (found.metrics[0] - MINKOWSKI).norm() / 2 < error
    assert 0.1 * size < found.residual < 10 * size


def test_all_forms_are_found():
    assert len(invariant_metrics(catalogue.by_name("2*so(3)")).metrics) == 3
    found = invariant_metrics(catalogue.by_name("4*so(2)"))
    assert len(found.metrics) == 16
    L = catalogue.by_name("4*so(2)").basis[0]
    assert (L.T @ found.metrics + found.metrics @ L).norm() < EXACT


def test_antisymmetric_forms_on_demand():
    found = invariant_metrics(catalogue.symplectic(4), antisymmetric=True)
    assert len(found.metrics) == 1
    assert torch.equal(found.metrics.mT, -found.metrics)
    assert signature(found.metrics[0]) == (2, 2, 0)


def test_where_no_form_exists_the_user_learns_what_to_do():
    with pytest.raises(ValueError, match="use EMLP"):
        invariant_metrics(catalogue.scaling(3))
    assert len(invariant_metrics(catalogue.scaling(3), allow_none=True).metrics) == 0
    assert len(invariant_metrics(catalogue.scaling(3), count=1).metrics) == 1


def test_nearest_isometries_keep_the_form_exactly():
    noisy = _noisy(1e-2)
    exact = nearest_isometries(noisy, MINKOWSKI)
    assert (exact.basis.mT @ MINKOWSKI + MINKOWSKI @ exact.basis).norm() < EXACT
    assert 1 - cosine(exact, catalogue.lorentz()) < EXACT
    assert exact.provenance["parent"] == noisy.digest
    assert 0 < exact.provenance["change"] < 0.05
    again = nearest_isometries(exact, MINKOWSKI)
    assert again.provenance["change"] < EXACT


def test_the_isotropy_algebra_is_the_whole_of_it():
    assert 1 - cosine(isotropy_algebra(MINKOWSKI), catalogue.lorentz()) < EXACT
    omega = invariant_metrics(catalogue.symplectic(4), antisymmetric=True).metrics
    assert isotropy_algebra(omega).n_generators == 10
    both = isotropy_algebra(invariant_metrics(catalogue.by_name("2*so(3)")).metrics)
    assert 1 - cosine(both, catalogue.by_name("2*so(3)")) < EXACT
    assert both.closure_error() < EXACT


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        (torch.eye(3), "shape"),
        (torch.tensor([[1.0, 2], [3, 4]]), "symmetric"),
        (torch.zeros(2, 2), "singular"),
    ],
)
def test_bad_forms_get_a_sentence(metric, message):
    with pytest.raises(ValueError, match=message):
        nearest_isometries(catalogue.rotation(2), metric)


@pytest.mark.parametrize(
    "bad", [torch.full((2, 2), torch.nan), torch.ones(2), torch.ones(2, 3), torch.ones(0, 2, 2)]
)
def test_what_is_no_form_gets_a_sentence(bad):
    with pytest.raises(ValueError, match=r"finite|shape"):
        signature(bad)
    with pytest.raises(ValueError, match=r"finite|shape"):
        isotropy_algebra(bad)
