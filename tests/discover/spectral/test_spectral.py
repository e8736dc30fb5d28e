import pytest
import torch

from discover import Spectral
from discover.spectral.spectral import robust_null_space
from discover.spectral.tangent import normals
from equivariant import V, catalogue, compare, cosine

BRIEF = {"progress": False, "evaluation_steps": 20}


@pytest.fixture(scope="module")
def ball() -> torch.Tensor:
    return torch.randn(3000, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_finds_all_of_so3_and_their_number(ball):
    estimator = Spectral(steps=1000, **BRIEF).fit(ball, (ball.norm(dim=1) ** 2).sin())
    assert estimator.algebra_.n_generators == 3
    assert compare.subspace_error(estimator.algebra_, catalogue.rotation(3)) < 0.02
    assert estimator.gap_ > 5


def test_labels_show_the_rotations_too(ball):
    estimator = Spectral(steps=1000, **BRIEF).fit(ball, (ball.norm(dim=1) > 1.5).long())
    assert compare.subspace_error(estimator.algebra_, catalogue.rotation(3)) < 0.05


def test_finds_none_where_there_is_none(ball):
    x, y, z = ball.unbind(1)
    estimator = Spectral(steps=1000, **BRIEF).fit(ball, x**3 + y * z + y / 2 + z**2)
    assert estimator.algebra_.n_generators == 0
    assert estimator.verdict_ is None
    assert len(estimator.spectrum_) == 9


def test_a_spectrum_without_a_gap_tells_no_number():
    """Shuffled labels: the network's equations are noise, and noise has small values, too."""
    ladder = torch.tensor([0.015, 0.025, 0.03, 0.055, 0.08, 0.14, 0.25, 0.5, 1.0], dtype=torch.float64)
    equations = ladder.diag().expand(20, 9, 9)

    assert [robust_null_space(equations, **s).dim for s in ({}, {"least_gap": 1.0}, {"count": 2})] == [
        0,
        3,
        2,
    ]


def test_exact_equations_lead_to_no_nan():
    """Most data violate nothing at all: the weights of the others must not come from 0 / 0."""
    equations = torch.eye(3, dtype=torch.float64)[None, 1:].repeat(9, 1, 1)
    assert robust_null_space(equations).basis.abs().tolist() == [[1.0, 0.0, 0.0]]


def test_data_that_require_nothing_are_refused(ball):
    with pytest.raises(ValueError, match="require nothing of a generator"):
        Spectral(thin=0.0, **BRIEF).fit(ball)


def test_a_map_seen_on_half_of_the_directions(half_turn):
    estimator = Spectral(steps=1000, **BRIEF).fit(*half_turn)
    assert estimator.algebra_.n_generators == 1
    assert cosine(estimator.algebra_, catalogue.rotation(2)) > 0.9995


def test_the_light_cone_shows_the_lorentz_group_and_scaling():
    """Massless momenta of any distribution: their support alone fixes so(1,3) with scaling."""
    random = torch.Generator().manual_seed(1)
    p = torch.randn(4000, 3, generator=random, dtype=torch.float64) + torch.tensor([0.5, 0.0, -0.3])
    momenta = torch.cat([p.norm(dim=1, keepdim=True), p], dim=1)
    estimator = Spectral(**BRIEF).fit(momenta)
    expected = catalogue.union(catalogue.lorentz(), catalogue.scaling(4))
    assert estimator.algebra_.n_generators == 7
    assert compare.subspace_error(estimator.algebra_, expected) < 0.1


def test_data_that_fit_no_generator_do_not_decide(generator):
    """Nine data in ten require theta = (1, 0, 0); the others (0, 1, 0), with equations of one size."""
    noise = 0.01 * torch.randn(500, 2, 3, generator=generator, dtype=torch.float64)
    most, few = torch.eye(3, dtype=torch.float64)[1:], torch.eye(3, dtype=torch.float64)[[0, 2]]
    equations = torch.where(torch.arange(500)[:, None, None] % 10 == 0, few, most) + noise
    equations[::10, 0, 1] += 0.5  # and they are not orthogonal to the others
    tilt = {
        rounds: 1 - robust_null_space(equations, count=1, reweightings=rounds).basis[0, 0].abs()
        for rounds in (0, 4)
    }
    assert tilt[4] < tilt[0] / 10


def test_same_seed_same_digest(half_turn):
    def run() -> str:
        return Spectral(steps=50, n_generators=1, **BRIEF).fit(*half_turn).algebra_.digest

    assert run() == run()


def test_normals_of_a_surface_and_of_a_volume():
    random = torch.Generator().manual_seed(2)
    flat = torch.rand(2000, 3, generator=random, dtype=torch.float64)
    surface = torch.cat([flat[:, :2], 3 * flat[:, :1]], dim=1)  # the plane x2 = 3 x0
    rows = normals(surface[:50], surface)
    expected = torch.tensor([3.0, 0.0, -1.0], dtype=torch.float64) / 10**0.5
    projectors = rows.mT @ rows
    torch.testing.assert_close(projectors, expected.outer(expected).expand(50, 3, 3), rtol=0, atol=1e-9)
    assert normals(flat[:50], flat, thin=0.01).abs().amax(dim=(1, 2)).gt(0).float().mean() < 0.1


def test_too_few_data_for_a_support_are_refused():
    with pytest.raises(ValueError, match="at least neighbours = 16"):
        Spectral(**BRIEF).fit(torch.randn(12, 2))


def test_too_few_equations_are_refused(ball):
    x = torch.randn(100, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with pytest.raises(ValueError, match="do not determine 144 unknowns"):
        Spectral(steps=1, thin=0.0, **BRIEF).fit(x, x.norm(dim=1))


def test_units_do_not_change_what_is_found(ball):
    """Metres beside nanometres: the same three rotations."""
    units = torch.tensor([1e9, 1.0, 1e2], dtype=torch.float64)
    estimator = Spectral(steps=1000, **BRIEF).fit(ball * units, (ball.norm(dim=1) ** 2).sin())
    assert estimator.algebra_.n_generators == 3
    back = estimator.algebra_.basis * units / units[:, None]
    assert compare.subspace_error(back, catalogue.rotation(3)) < 0.02


@pytest.mark.parametrize("column", [0.0, 1.0])
def test_a_zero_column_is_a_relation_and_a_constant_one_is_not(ball, column):
    x = torch.cat([ball, torch.full((len(ball), 1), column, dtype=torch.float64)], dim=1)
    estimator = Spectral(steps=200, n_generators=3, **BRIEF).fit(x, (ball.norm(dim=1) ** 2).sin())
    assert estimator.relations_ == (("x3 = 0",) if column == 0 else ())


def test_arrays_of_all_kinds_give_one_digest(half_turn):
    def digest(x, y, **more) -> str:
        return Spectral(steps=20, n_generators=1, **BRIEF).fit(x, y, y_rep=V, **more).algebra_.digest

    x, y = half_turn
    assert digest(x, y) == digest(x.numpy(), y.numpy()) == digest(x.tolist(), y.tolist())
    assert digest(x, y, groups=torch.arange(len(x))) == digest(x, y, groups=list(range(len(x))))


def test_the_explained_variance_is_that_of_held_out_data():
    """Noise can be fitted, not predicted."""
    random = torch.Generator().manual_seed(0)
    x, y = torch.randn(200, 2, generator=random), torch.randn(200, generator=random)
    estimator = Spectral(steps=1500, n_generators=1, **BRIEF).fit(x, y)
    assert estimator.explained_variance_ < 0.1
    assert not estimator.verdict_
