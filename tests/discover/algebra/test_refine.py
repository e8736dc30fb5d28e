import pytest
import torch
from conftest import EXACT

from discover import identify, refine
from equivariant import CoefficientDistribution, LieAlgebra, catalogue, compare, cosine
from equivariant.metric import invariant_metrics


def noisy(
    algebra: LieAlgebra, size: float, seed: int = 0, distribution: CoefficientDistribution | None = None
) -> LieAlgebra:
    noise = torch.randn(
        algebra.basis.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    )
    return LieAlgebra(algebra.basis + size * noise, distribution)


@pytest.mark.parametrize("name", ["so(2)", "so(3)", "so(1,3)", "4*so(2)", "2*so(3)", "sl(2)", "scaling(3)"])
def test_a_noisy_member_of_the_catalogue_comes_back_exact(name):
    true = catalogue.by_name(name)
    refinement = refine(noisy(true, 0.01))
    assert 1 - cosine(refinement.algebra, true) < EXACT
    assert refinement.algebra.provenance["refinements"][-1]["note"].startswith(f"taken as {name}")


def test_the_raw_algebra_is_the_parent_and_stays():
    raw = noisy(catalogue.rotation(3), 0.01)
    before = raw.digest
    refined = refine(raw).algebra
    assert raw.digest == before
    assert refined.provenance["parent"] == before


def test_every_step_says_how_far_it_turned():
    raw = noisy(catalogue.rotation(3), 0.01)
    refinement = refine(raw)
    assert [c.step for c in refinement.changes] == ["drop", "orthonormalise", "threshold", "exact"]
    last = refinement.changes[-1].size + refinement.changes[-2].size
    whole = float(compare.principal_angles(raw, refinement.algebra).max())
    assert 0 < whole <= last + EXACT


def test_the_law_follows_the_change_of_basis(generator):
    """The elements drawn before and after are the same group elements, up to the noise taken out."""
    mixed = torch.einsum("ab,bij->aij", torch.tensor([[2.0, 0.5, 0], [0, 1, 0], [0.3, 0, 1.5]]).double(),
                         catalogue.rotation(3).basis)  # fmt: skip
    raw = LieAlgebra(mixed, CoefficientDistribution.normal(3, 0.7))
    refined = refine(raw, threshold=0.0).algebra
    before = torch.einsum("ab,bij->aij", torch.diag(raw.distribution.scale), raw.basis).flatten(1)
    after = torch.einsum("ab,aij->bij", refined.distribution.scale, refined.basis).flatten(1)
    # w.L is normal with this covariance over matrix entries
    torch.testing.assert_close(before.mT @ before, after.mT @ after, rtol=1e-9, atol=1e-12)


def test_the_size_of_an_integer_step_is_kept():
    step = 2 * torch.pi / 7
    raw = LieAlgebra(catalogue.rotation(2).basis * step, CoefficientDistribution.integer(1, 3))
    refined = refine(noisy(raw, 0.005, distribution=raw.distribution)).algebra
    assert refined.distribution.kind == "integer"
    angle = torch.linalg.eigvals(refined.basis[0]).imag.abs().max()
    assert abs(float(angle) / step - 1) < 0.01


def test_empty_and_doubled_generators_are_left_out():
    basis = torch.cat(
        [catalogue.rotation(2).basis, 1e-3 * torch.ones(1, 2, 2), 2 * catalogue.rotation(2).basis]
    )
    refinement = refine(LieAlgebra(basis))
    assert refinement.algebra.n_generators == 1
    assert "1 of 3 generators were empty" in str(refinement)
    assert "1 dependent directions left out" in str(refinement)


def test_what_the_catalogue_lacks_keeps_its_form_exactly(generator):
    frame = torch.randn(4, 4, generator=generator, dtype=torch.float64) + 2 * torch.eye(4)
    turned = torch.linalg.inv(frame) @ catalogue.lorentz().basis @ frame  # so(1,3) in other coordinates
    raw = noisy(LieAlgebra(turned), 1e-3)
    refinement = refine(raw, threshold=0.0)
    forms = invariant_metrics(refinement.algebra, rtol=1e-8)
    assert "invariant form" in refinement.changes[-1].note
    assert (len(forms.metrics), forms.residual < 1e-9) == (1, True)
    assert refinement.changes[-1].size < 0.05


def test_on_a_subspace_only_the_action_on_the_data_counts():
    plane = torch.randn(100, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    data = torch.cat([plane, -plane], dim=1)
    true = catalogue.by_name("2*so(2)")
    off = torch.eye(4, dtype=torch.float64) - compare.data_span(data).projector
    raw = LieAlgebra(
        true.basis + 5 * torch.ones(4, 4, dtype=torch.float64) @ off
    )  # differs off the data only
    assert identify(raw) is None
    match = identify(raw, data)
    assert match is not None
    assert match.angle < EXACT
    assert 1 - cosine(refine(raw, data, threshold=0.0).algebra, true, data=data) < EXACT


def test_nothing_found_stays_nothing():
    refined = refine(LieAlgebra(torch.zeros(0, 3, 3))).algebra
    assert refined.n_generators == 0
    assert identify(refined) is None


def test_data_of_another_size_are_refused():
    with pytest.raises(ValueError, match="vectors of size 3"):
        refine(catalogue.rotation(3), torch.ones(5, 2))
