import pytest
import torch
from conftest import EXACT

from discover import identify, refine
from discover.algebra.textbook import textbook
from equivariant import CoefficientDistribution, LieAlgebra, catalogue, compare, cosine


def noisy(algebra: LieAlgebra, size: float, seed: int = 0) -> LieAlgebra:
    rng = torch.Generator().manual_seed(seed)
    noise = torch.randn(algebra.basis.shape, dtype=torch.float64, generator=rng)
    return LieAlgebra(algebra.basis + size * noise, algebra.distribution)


def skewed(name: str, condition: float, seed: int = 0) -> LieAlgebra:
    """The algebra in other coordinates and another basis."""
    rng = torch.Generator().manual_seed(seed)
    basis = textbook(name).basis
    c, k = basis.shape[:2]
    left, right = (torch.linalg.qr(torch.randn(k, k, generator=rng, dtype=torch.float64)).Q for _ in range(2))
    frame = (
        left @ torch.diag(torch.logspace(0, torch.tensor(condition).log10(), k, dtype=torch.float64)) @ right
    )
    mixing = torch.randn(c, c, generator=rng, dtype=torch.float64)
    return LieAlgebra(torch.einsum("ab,bij->aij", mixing, frame @ basis @ torch.linalg.inv(frame)))


def angle(a, b) -> float:
    return float(compare.principal_angles(a, b).max())


@pytest.mark.parametrize("name", ["so(2)", "so(3)", "so(1,3)", "4*so(2)", "2*so(3)", "sl(2)", "scaling(3)"])
def test_a_noisy_member_of_the_catalogue_comes_back_exact(name):
    true = catalogue.by_name(name)
    refinement = refine(noisy(true, 0.01))
    assert 1 - cosine(refinement.algebra, true) < EXACT
    note = refinement.algebra.provenance["refinements"][3]["note"]
    assert note == f"taken as {name} of the catalogue"


@pytest.mark.parametrize("condition", [2.0, 5.0, 10.0])
@pytest.mark.parametrize("name", ["so(3)", "so(1,3)", "se(2)", "sp(4)", "2*so(3)"])
def test_exact_generators_come_back_exact_in_any_coordinates(name, condition):
    raw = skewed(name, condition)
    refined = refine(raw).algebra
    assert refined.n_generators == raw.n_generators
    assert angle(raw, refined) < 1e-8
    assert refined.closure_error() < 1e-8


def test_noisy_generators_in_other_coordinates_become_closed():
    true = skewed("so(1,3)", 3.0)
    sizes = true.basis.flatten(1).norm(dim=1)[:, None, None]
    rng = torch.Generator().manual_seed(1)
    noise = 0.01 * sizes / 4 * torch.randn(true.basis.shape, dtype=torch.float64, generator=rng)
    raw = LieAlgebra(true.basis + noise)
    refinement = refine(raw)
    assert refinement.algebra.closure_error() < 1e-8 < raw.closure_error()
    assert angle(refinement.algebra, true) < angle(raw, true)
    assert refinement.match.name == "so(1,3)"


def test_a_combination_with_small_coefficients_is_mended_by_the_brackets_of_others():
    true = skewed("sp(4)", 5.0, seed=1)
    sizes = true.basis.flatten(1).norm(dim=1)[:, None, None]
    rng = torch.Generator().manual_seed(51)
    noise = 0.01 * sizes / 4 * torch.randn(true.basis.shape, dtype=torch.float64, generator=rng)
    raw = LieAlgebra(true.basis + noise)
    refined = refine(raw).algebra
    assert angle(refined, true) < 0.01 < 0.5 < angle(raw, true)
    assert refined.closure_error() < 1e-8


def test_a_rotation_between_columns_of_other_units_stays_a_rotation():
    rng = torch.Generator().manual_seed(0)
    points = torch.randn(1000, 2, dtype=torch.float64, generator=rng) * torch.tensor([1.0, 10.0])
    true = torch.tensor([[[0.0, -0.1], [10.0, 0.0]]], dtype=torch.float64)
    noise = torch.tensor([[[1e-3, 1e-4], [1e-2, -5e-4]]], dtype=torch.float64)
    refined = refine(LieAlgebra(true + noise), points).algebra
    values = torch.linalg.eigvals(refined.basis[0])
    assert float(values.real.abs().max()) < 1e-9 < float(values.imag.abs().min())
    assert compare.principal_angles(refined, true, points).max() < 0.01
    assert compare.principal_angles(refine(LieAlgebra(true)).algebra, true).max() < 1e-8


@pytest.mark.parametrize("stretch", [1.0, 1.1])
def test_held_out_data_decide_whether_a_form_is_that_of_the_catalogue(stretch):
    rng = torch.Generator().manual_seed(0)
    x = torch.randn(4000, 2, dtype=torch.float64, generator=rng)
    y = x[:, 0] ** 2 + stretch * x[:, 1] ** 2
    true = torch.tensor([[[0.0, -stretch], [1.0, 0.0]]], dtype=torch.float64)
    raw = LieAlgebra(true + 3e-4 * torch.randn(1, 2, 2, dtype=torch.float64, generator=rng))
    refinement = refine(raw, x, y)
    change = next(c for c in refinement.changes if c.step == "catalogue")
    assert change.taken == (stretch == 1.0)
    assert change.defect is not None
    assert angle(refinement.algebra, true) < (1e-9 if stretch == 1 else 1e-3)


def test_without_a_target_a_change_beyond_the_noise_is_not_taken():
    true = torch.tensor([[[0.0, -1.1], [1.0, 0.0]]], dtype=torch.float64)
    noise = 3e-4 * torch.tensor([[[0.5, 1.0], [-1.0, 0.3]]], dtype=torch.float64)
    change = next(c for c in refine(LieAlgebra(true + noise)).changes if c.step == "catalogue")
    assert not change.taken
    assert change.limit is not None
    assert change.limit < change.size


def test_the_raw_algebra_is_the_parent_and_stays():
    raw = noisy(catalogue.rotation(3), 0.01)
    before = raw.digest
    refined = refine(raw).algebra
    assert raw.digest == before
    assert refined.provenance["parent"] == before


def test_every_step_reports_its_change():
    raw = noisy(catalogue.rotation(3), 0.01)
    refinement = refine(raw)
    steps = [c.step for c in refinement.changes]
    assert steps == ["drop", "close", "orthonormalise", "catalogue", "threshold", "sparsify"]
    sizes = sum(c.size for c in refinement.changes if c.taken)
    assert 0 < angle(raw, refinement.algebra) <= sizes + EXACT


def test_the_distribution_follows_the_change_of_basis():
    """The elements drawn before and after are the same group elements, up to the noise taken out."""
    mixing = torch.tensor([[2.0, 0.5, 0], [0, 1, 0], [0.3, 0, 1.5]]).double()
    mixed = torch.einsum("ab,bij->aij", mixing, catalogue.rotation(3).basis)
    raw = LieAlgebra(mixed, CoefficientDistribution.normal(3, 0.7))
    refined = refine(raw).algebra
    before = torch.einsum("ab,bij->aij", torch.diag(raw.distribution.scale), raw.basis).flatten(1)
    after = torch.einsum("ab,aij->bij", refined.distribution.scale, refined.basis).flatten(1)
    # w.L is normal with this covariance over matrix entries
    torch.testing.assert_close(before.mT @ before, after.mT @ after, rtol=1e-9, atol=1e-12)


def test_the_size_of_an_integer_step_is_kept():
    step = 2 * torch.pi / 7
    raw = LieAlgebra(catalogue.rotation(2).basis * step, CoefficientDistribution.integer(1, 3))
    refined = refine(noisy(raw, 0.005)).algebra
    assert refined.distribution.kind == "integer"
    turned = torch.linalg.eigvals(refined.basis[0]).imag.abs().max()
    assert abs(float(turned) / step - 1) < 0.01


def test_empty_and_doubled_generators_are_left_out():
    rotation = catalogue.rotation(2).basis
    refinement = refine(LieAlgebra(torch.cat([rotation, 1e-3 * torch.ones(1, 2, 2), 2 * rotation])))
    assert refinement.algebra.n_generators == 1
    assert "1 of 3 generators were empty" in str(refinement)
    assert "1 dependent directions left out" in str(refinement)


def test_a_small_generator_that_the_others_need_stays():
    basis = catalogue.rotation(3).basis * torch.tensor([1.0, 1.0, 0.01]).double()[:, None, None]
    assert refine(LieAlgebra(basis)).algebra.n_generators == 3


def test_a_basis_with_fewer_entries_is_taken():
    frame = torch.tensor([[1.0, 0.3], [0.0, 1.0]], dtype=torch.float64)
    inner = frame @ catalogue.special_linear(2).basis @ torch.linalg.inv(frame)
    mixing = torch.tensor([[1.0, 0.4, -0.3], [0.2, 1.0, 0.5], [0.1, -0.6, 1.0]]).double()
    turned = LieAlgebra(torch.nn.functional.pad(torch.einsum("ab,bij->aij", mixing, inner), (0, 1, 0, 1)))
    refined = refine(turned).algebra
    assert int((refined.basis.abs() > 1e-9).sum()) == 4
    assert angle(refined, turned) < 1e-9


def test_on_a_subspace_only_the_action_on_the_data_counts():
    plane = torch.randn(100, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    data = torch.cat([plane, -plane], dim=1)
    true = catalogue.by_name("2*so(2)")
    off = torch.eye(4, dtype=torch.float64) - compare.data_span(data).projector
    # differs off the data only
    raw = LieAlgebra(true.basis + 5 * torch.ones(4, 4, dtype=torch.float64) @ off)
    assert not identify(raw).known
    match = identify(raw, data)
    assert match.name == "2*so(2)"
    assert match.angle < EXACT
    assert 1 - cosine(refine(raw, data).algebra, true, data=data) < EXACT


def test_nothing_found_stays_nothing():
    refined = refine(LieAlgebra(torch.zeros(0, 3, 3))).algebra
    assert refined.n_generators == 0
    assert not identify(refined).known


def test_data_of_another_size_are_refused():
    with pytest.raises(ValueError, match="vectors of size 3"):
        refine(catalogue.rotation(3), torch.ones(5, 2))
    with pytest.raises(ValueError, match="give data"):
        refine(catalogue.rotation(3), y=torch.ones(5))
