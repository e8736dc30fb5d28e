import copy

import pytest
import torch
from conftest import EXACT, SINGLE

from equivariant import EquivariantLinear, Group, LieAlgebra, Scalar, T, V, catalogue, equivariance_error

CASES = [
    (catalogue.rotation(2), 5 * V, 3 * V + 2 * Scalar),
    (catalogue.rotation(3), 2 * V + Scalar, T(2) + V),
    (catalogue.lorentz(), 2 * V + T(2) + Scalar, T(2) + V.T + 3 * Scalar),
    (catalogue.by_name("4*so(2)"), 5 * V, 5 * V),
    (catalogue.scaling(3), V + V.T, V + V.T + Scalar),
    (Group.with_discrete(catalogue.rotation(3), -torch.eye(3)), T(2) + V, T(2) + V + T(3)),
    ([catalogue.rotation(2), catalogue.rotation(3)], V[0] + V[0] * V[1], V[1] * V[0] + V[0] + Scalar),
]


def size_one(module, seed=0):
    """Weights of size one: a fresh layer may hide a broken part behind a small number."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return module


@pytest.mark.parametrize(("algebra", "rep_in", "rep_out"), CASES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, EXACT), (torch.float32, SINGLE)])
def test_the_layer_is_equivariant(algebra, rep_in, rep_out, dtype, tolerance, generator):
    layer = size_one(EquivariantLinear(rep_in, rep_out, algebra).to(dtype))
    x = torch.randn(16, rep_in.size(layer.dims), generator=generator).to(dtype)
    assert layer(x).abs().max() > 0.1
    assert equivariance_error(layer, algebra, rep_in, rep_out, x, generator=generator) <= tolerance


def test_a_planted_error_is_seen(generator):
    layer = size_one(EquivariantLinear(5 * V, V, catalogue.rotation(3)).double())
    layer.get_buffer("map_0_0")[0, 0, 1] += 1e-3
    x = torch.randn(16, 15, generator=generator).double()
    assert equivariance_error(layer, catalogue.rotation(3), 5 * V, V, x, generator=generator) > 1e-5


def test_copies_cost_one_solution_each():
    layer = EquivariantLinear(4 * V, 6 * V, catalogue.rotation(2))
    assert layer.theta.numel() == 4 * 6 * 2


def test_float64_constants_survive_a_cast():
    layer = EquivariantLinear(T(2), T(2), catalogue.lorentz())
    there_and_back = copy.deepcopy(layer).half().double()
    assert torch.equal(there_and_back.get_buffer("map_0_0"), layer.get_buffer("map_0_0"))
    assert there_and_back.theta.dtype == torch.float64


def test_the_dense_copy_gives_the_same_numbers(generator):
    layer = size_one(EquivariantLinear(2 * V + Scalar, T(2) + V, catalogue.rotation(3)))
    x = torch.randn(3, 7, generator=generator)
    assert torch.equal(layer.dense()(x), layer(x))


def test_entries_start_with_the_variance_of_the_input(generator):
    torch.manual_seed(0)
    layer = EquivariantLinear(60 * V + 40 * Scalar, 50 * V + 50 * Scalar + 10 * T(2), catalogue.lorentz())
    y = layer(torch.randn(500, 280, generator=generator)).detach()
    for block in layer.out_blocks:
        assert y[:, block.start : block.stop].var().item() == pytest.approx(1.0, rel=0.35)


def test_a_noisy_algebra_gives_the_layer_of_its_solved_maps():
    noise = torch.randn(6, 4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    noisy = LieAlgebra(catalogue.lorentz().basis + 1e-2 * noise)
    layer = EquivariantLinear(T(2), T(2), noisy)
    assert layer.theta.numel() == 4
    assert 1e-4 < layer.residual < 0.1


def test_the_layer_says_what_it_is():
    layer = EquivariantLinear(5 * V, V + Scalar, catalogue.rotation(2), bias=False)
    assert "5*V -> V + Scalar, weights=10" in str(layer)
    assert layer.bias is None


def test_bad_input_gets_a_sentence():
    layer = EquivariantLinear(5 * V, V, catalogue.rotation(2))
    with pytest.raises(ValueError, match=r"\(\.\.\., 10\)"):
        layer(torch.ones(3, 8))
    with pytest.raises(ValueError, match=r"dtype torch.float32, got torch.float64"):
        layer(torch.ones(3, 10).double())
    with pytest.raises(ValueError, match="device cpu, got meta"):
        layer(torch.ones(3, 10, device="meta"))
    with pytest.raises(ValueError, match="about the origin"):
        EquivariantLinear(V, V, LieAlgebra(catalogue.rotation(2).basis, origin=torch.ones(2)))
    with pytest.raises(ValueError, match="expected a LieAlgebra"):
        EquivariantLinear(V, V, torch.eye(2))
