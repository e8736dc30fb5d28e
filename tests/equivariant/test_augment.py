import pytest
import torch
from conftest import EXACT, SINGLE
from torch.utils.data import DataLoader, Dataset

from equivariant import (
    CoefficientDistribution,
    Group,
    GroupAverage,
    LieAlgebra,
    RandomGroupAction,
    Scalar,
    T,
    V,
    catalogue,
    equivariance_error,
)

ROTATION = catalogue.rotation(3)
ORBITS = catalogue.by_name("4*so(2)")


def _net(size_in, size_out, dtype=torch.float64):
    torch.manual_seed(0)
    layers = torch.nn.Linear(size_in, 32), torch.nn.ReLU(), torch.nn.Linear(32, size_out)
    return torch.nn.Sequential(*layers).to(dtype)


def test_one_element_per_sample_goes_to_every_tensor(generator):
    action = RandomGroupAction(catalogue.rotation(3), V, 2 * V + Scalar, generator=generator)
    x = torch.randn(50, 3)
    moved, more = action(x, torch.cat([x, 2 * x, torch.ones(50, 1)], dim=1))
    assert torch.allclose(more[:, :3], moved, atol=1e-5)
    assert torch.allclose(more[:, 3:6], 2 * moved, atol=1e-5)
    assert torch.equal(more[:, 6], torch.ones(50))
    angles = torch.nn.functional.cosine_similarity(x, moved)
    assert angles.std() > 0.1


def test_in_eval_nothing_moves():
    action = RandomGroupAction(catalogue.rotation(2), V).eval()
    x = torch.randn(5, 2)
    assert action(x) is x


def test_the_generator_decides():
    def moved(seed):
        action = RandomGroupAction(ORBITS, V, generator=torch.Generator().manual_seed(seed))
        return action(torch.ones(4, 8))

    assert torch.equal(moved(1), moved(1))
    assert not torch.equal(moved(1), moved(2))


def test_the_law_of_the_algebra_is_followed(generator):
    turn = LieAlgebra(catalogue.rotation(2).basis * torch.pi / 2, CoefficientDistribution.integer(1, 1))
    moved = RandomGroupAction(turn, V, generator=generator)(torch.tensor([[1.0, 0]]).repeat(200, 1))
    assert {tuple(row) for row in moved.round().int().tolist()} == {(1, 0), (0, 1), (0, -1)}


def test_points_turn_about_the_origin(generator):
    origin = torch.tensor([3.0, -1.0])
    algebra = LieAlgebra(catalogue.rotation(2).basis, origin=origin)
    action = RandomGroupAction(algebra, V + Scalar, generator=generator)
    x = torch.tensor([[3.0, -1.0, 7.0]]).repeat(5, 1)
    assert torch.allclose(action(x), x, atol=1e-5)
    assert not torch.allclose(action(x + 1)[:, :2], x[:, :2] + 1)
    with pytest.raises(ValueError, match="centre the data"):
        RandomGroupAction(algebra, T(2))


def test_drawing_and_turning_back(generator):
    action = RandomGroupAction(catalogue.lorentz(), V, generator=generator)
    x = torch.randn(6, 4, generator=generator).double()
    g = action.draw(6, torch.float64)
    assert torch.allclose(action.act_inverse(g, action.act(g, x)), x, atol=1e-9)


def test_discrete_elements_are_drawn(generator):
    mirror = Group.with_discrete(LieAlgebra(torch.zeros(0, 2, 2)), torch.diag(torch.tensor([1.0, -1.0])))
    moved = RandomGroupAction(mirror, V, generator=generator)(torch.ones(100, 2))
    assert {tuple(row) for row in moved.int().tolist()} == {(1, 1), (1, -1)}


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, EXACT), (torch.float32, SINGLE)])
@pytest.mark.parametrize("samples", [1, 8])
def test_the_average_over_a_turn_is_equivariant(dtype, tolerance, samples, generator):
    net = _net(40, 9, dtype)
    average = GroupAverage(net, ORBITS, 5 * V, V + Scalar, samples).to(dtype)
    x = torch.randn(20, 40, generator=generator).to(dtype)
    assert average.exact
    assert equivariance_error(average, ORBITS, 5 * V, V + Scalar, x, generator=generator) <= tolerance
    assert equivariance_error(net, ORBITS, 5 * V, V + Scalar, x, generator=generator) > 0.1


def test_a_frame_with_folds_is_exact_too(generator):
    plane = catalogue.rotation(2).basis[0]
    algebra = LieAlgebra(torch.block_diag(2 * plane, 3 * plane)[None])
    average = GroupAverage(_net(4, 4), algebra, V, V, samples=5)
    x = torch.randn(20, 4, generator=generator).double()
    assert average.exact
    assert equivariance_error(average, algebra, V, V, x, size=6.0, generator=generator) <= EXACT


def test_the_average_turns_about_the_origin(generator):
    origin = torch.tensor([3.0, -1.0]).double()
    algebra = LieAlgebra(catalogue.rotation(2).basis, origin=origin)
    average = GroupAverage(_net(2, 2), algebra, V, V)
    x = torch.randn(20, 2, generator=generator).double()
    assert equivariance_error(average, algebra, V, V, x, generator=generator) <= EXACT


def test_an_equivariant_model_is_left_as_it_is(generator):
    average = GroupAverage(lambda x: 3 * x, catalogue.lorentz(), V, V, samples=4, generator=generator)
    x = torch.randn(5, 4, generator=generator).double()
    assert not average.exact
    assert torch.allclose(average(x), 3 * x, atol=1e-9)


def test_draws_of_other_algebras_are_kept(generator):
    net = _net(4, 4)
    average = GroupAverage(net, catalogue.lorentz(), V, V, samples=4, generator=generator)
    other = GroupAverage(net, catalogue.lorentz(), V, V, samples=4)
    x = torch.randn(5, 4, generator=generator).double()
    assert not torch.equal(average(x), other(x))
    other.load_state_dict(average.state_dict())
    assert torch.equal(average(x), other(x))


def test_bad_input_gets_a_sentence():
    with pytest.raises(ValueError, match="expected a representation"):
        RandomGroupAction(ORBITS)
    with pytest.raises(ValueError, match="expected 1 tensors"):
        RandomGroupAction(ORBITS, V)(torch.ones(2, 8), torch.ones(2, 8))
    with pytest.raises(ValueError, match="same samples"):
        RandomGroupAction(ORBITS, V, V)(torch.ones(2, 8), torch.ones(3, 8))
    with pytest.raises(ValueError, match="samples"):
        GroupAverage(_net(8, 8), ORBITS, V, V, samples=0)


def test_one_sample_arrays_and_lists(generator):
    action = RandomGroupAction(ROTATION, V, V, generator=generator)
    x = torch.randn(3, dtype=torch.float64)
    moved, target = action(x, 2 * x)
    assert torch.allclose(target, 2 * moved)
    moved, target = action(x.numpy(), [2 * float(entry) for entry in x])
    assert torch.allclose(target, 2 * moved)
    averaged = GroupAverage(_net(2, 2), catalogue.rotation(2), V, V)
    assert torch.allclose(averaged([[1.0, 2.0]])[0], averaged(torch.tensor([1.0, 2.0]).double()))


class Rotated(Dataset):
    """Item i is the vector (1, 0, 0), rotated at random."""

    def __init__(self, action):
        self.action = action

    def __len__(self):
        return 8

    def __getitem__(self, i):
        return self.action(torch.tensor([1.0, 0.0, 0.0]))


def test_workers_of_a_data_loader_draw_differently():
    def epoch(workers, seed=0):
        action = RandomGroupAction(ROTATION, V, generator=torch.Generator().manual_seed(seed))
        source = torch.Generator().manual_seed(1)
        return torch.cat(list(DataLoader(Rotated(action), 2, num_workers=workers, generator=source)))

    alone, shared = epoch(0), epoch(2)
    assert len(torch.unique(alone.round(decimals=5), dim=0)) == 8
    assert len(torch.unique(shared.round(decimals=5), dim=0)) == 8
    assert torch.equal(shared, epoch(2))
    assert not torch.equal(shared, epoch(2, seed=5))


def test_an_average_refuses_the_state_dict_of_another_group():
    here, again = (GroupAverage(_net(2, 2), catalogue.rotation(2), V, V) for _ in range(2))
    again.load_state_dict(here.state_dict())
    mirrored = LieAlgebra(torch.tensor([[[0.0, 4.0], [-0.25, 0.0]]]))
    with pytest.raises(ValueError, match="another group"):
        GroupAverage(_net(2, 2), mirrored, V, V).load_state_dict(here.state_dict())
