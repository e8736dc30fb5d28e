import copy
import pickle
import subprocess
import sys
from itertools import pairwise

import pytest
import torch
from conftest import EXACT, SINGLE

from equivariant import EMLP, Group, LieAlgebra, Scalar, T, V, catalogue, equivariance_error
from equivariant.intertwiners import MapSolver
from equivariant.nn.emlp import Bilinear, gated, hidden_rep

CASES = [
    (catalogue.rotation(2), 5 * V, 5 * V),
    (catalogue.rotation(3), 2 * V + Scalar, T(2) + V),
    (catalogue.lorentz(), 4 * V, V + Scalar),
    (catalogue.by_name("4*so(2)"), 5 * V, 5 * V),
    (catalogue.scaling(3), 2 * V + V.T, V),
    (Group.with_discrete(catalogue.rotation(3), -torch.eye(3)), 2 * V, V + T(2)),
    ([catalogue.rotation(2), catalogue.rotation(3)], V[0] + V[1], V[1] + Scalar),
]


def size_one(module):
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return module


@pytest.mark.parametrize(("algebra", "rep_in", "rep_out"), CASES)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, EXACT), (torch.float32, SINGLE)])
def test_the_network_is_equivariant(algebra, rep_in, rep_out, dtype, tolerance, generator):
    net = size_one(EMLP(rep_in, rep_out, algebra, hidden=48).to(dtype))
    x = torch.randn(16, rep_in.size(net.dims), generator=generator).to(dtype)
    assert net(x).abs().max() > 0
    assert equivariance_error(net, algebra, rep_in, rep_out, x, generator=generator) <= tolerance


def test_products_are_in_the_answer(generator):
    """Without bilinear products the next test would pass for a part that does nothing."""
    solver = MapSolver(Group.of(catalogue.rotation(3)))
    layer = Bilinear(4 * V + 8 * Scalar, solver.group, solver)
    x = torch.randn(5, 20, generator=generator)
    change = layer(x) - x
    assert change.abs().max() > 1e-3
    assert torch.allclose(layer(2 * x) - 2 * x, 4 * change, atol=1e-5)
    with torch.no_grad():
        layer.linear.theta.zero_()
    assert torch.equal(layer(x), x)


def test_a_planted_error_in_the_products_is_seen(generator):
    net = size_one(EMLP(2 * V, V, catalogue.rotation(3), hidden=48).double())
    bilinear = net.layers[0].bilinear
    bilinear.linear.get_buffer("map_1_0")[0, 0, 1] += 1e-2
    x = torch.randn(16, 6, generator=generator).double()
    assert equivariance_error(net, catalogue.rotation(3), 2 * V, V, x, generator=generator) > 1e-6


@pytest.mark.parametrize("width", [1, 30, 384])
def test_a_width_is_shared_out(width):
    rep = hidden_rep(width, catalogue.lorentz())
    assert rep.size(4) == width
    assert gated(rep).size(4) == width + sum(copies for copies, term in rep.terms if term)


def test_duals_are_hidden_only_where_they_differ():
    assert "V.T" not in str(hidden_rep(100, catalogue.special_linear(2)))
    assert "V.T" in str(hidden_rep(100, catalogue.scaling(3)))


def test_hidden_may_be_a_representation_or_absent():
    net = EMLP(2 * V, Scalar, catalogue.rotation(2), hidden=4 * V + 6 * Scalar, layers=1)
    assert net.layers[0].gate.rep == 4 * V + 6 * Scalar
    assert len(EMLP(V, V, catalogue.rotation(2), layers=0).layers) == 1


@pytest.mark.parametrize(
    ("algebra", "rep"),
    [(catalogue.rotation(2), 5 * V), (catalogue.rotation(3), 5 * V), (catalogue.lorentz(), 5 * V)],
)
def test_outputs_start_as_large_as_those_of_a_plain_network(algebra, rep, generator):
    size = rep.size(algebra.dim)
    x = torch.randn(64, size, generator=generator)
    torch.manual_seed(0)
    ratio = _typical(EMLP(rep, rep, algebra), x) / _typical(_mlp(size, 384), x)
    assert 0.5 < ratio < 2


def _typical(net, x):
    """Median size of the output over fresh starts."""
    sizes = []
    for _ in range(5):
        for module in net.modules():
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()
        sizes.append(net(x).detach().std())
    return torch.stack(sizes).median()


def _mlp(size, width):
    sizes = [size, width, width, width]
    layers = []
    for a, b in pairwise(sizes):
        layers += [torch.nn.Linear(a, b), torch.nn.SiLU()]
    return torch.nn.Sequential(*layers, torch.nn.Linear(width, size))


def test_the_state_dict_is_everything(tmp_path, generator):
    net = EMLP(2 * V, V + Scalar, catalogue.lorentz(), hidden=32)
    x = torch.randn(7, 8, generator=generator)
    torch.save({"state": net.state_dict(), "x": x, "y": net(x)}, tmp_path / "saved.pt")
    code = """
import sys, torch
torch.set_num_threads(1)
from equivariant import EMLP, Scalar, V, catalogue
saved = torch.load(sys.argv[1])
net = EMLP(2 * V, V + Scalar, catalogue.lorentz(), hidden=32)
net.load_state_dict(saved["state"])
sys.exit(not torch.equal(net(saved["x"]), saved["y"]))
"""
    assert subprocess.run([sys.executable, "-c", code, tmp_path / "saved.pt"]).returncode == 0


def test_a_copy_and_a_pickle_give_the_same_numbers(generator):
    net = EMLP(2 * V, V, catalogue.rotation(3), hidden=32)
    x = torch.randn(7, 6, generator=generator)
    assert torch.equal(copy.deepcopy(net)(x), net(x))
    assert torch.equal(pickle.loads(pickle.dumps(net))(x), net(x))


@pytest.mark.parametrize("name", ["so(2)", "so(3)", "so(1,3)", "4*so(2)"])
@pytest.mark.parametrize(("layers", "rep_out"), [(0, V), (1, Scalar), (3, 2 * V + Scalar)])
def test_the_dense_copy_gives_the_same_numbers_and_slopes(name, layers, rep_out, generator):
    torch.manual_seed(0)
    net = EMLP(2 * V, rep_out, catalogue.by_name(name), hidden=64, layers=layers).double()
    net.load_state_dict(
        {n: 0.3 * torch.randn_like(t) if "map_" not in n else t for n, t in net.state_dict().items()}
    )
    x = torch.randn(2, 7, net.rep_in.size(net.dims), generator=generator).double().requires_grad_()
    dense = net.dense()
    assert not any(True for _ in dense.parameters())
    for ours, expected in zip(*(_with_slope(f, x) for f in (dense, net)), strict=True):
        assert (ours - expected).norm() <= EXACT * expected.norm()


def _with_slope(f, x):
    y = f(x)
    return y, torch.autograd.grad(y.square().sum(), x)[0]


def test_the_dense_copy_leaves_out_what_reaches_no_answer():
    net = EMLP(2 * V, V, catalogue.rotation(3), hidden=64, layers=2)
    first, last = net.dense().blocks
    assert last.scalars == 0
    assert first.scalars > 0
    with pytest.raises(ValueError, match=r"x must have shape \(..., 6\)"):
        net.dense()(torch.ones(3, 5))


def test_a_noisy_algebra_says_how_far_it_is():
    noise = torch.randn(3, 3, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    noisy = LieAlgebra(catalogue.rotation(3).basis + 1e-2 * noise)
    assert 1e-4 < EMLP(V, V, noisy, hidden=48).residual < 0.1
    assert EMLP(V, V, catalogue.rotation(3), hidden=48).residual < EXACT


def test_bad_input_gets_a_sentence():
    with pytest.raises(ValueError, match="layers"):
        EMLP(V, V, catalogue.rotation(2), layers=-1)
    with pytest.raises(ValueError, match="width"):
        EMLP(V, V, catalogue.rotation(2), hidden=0)
    with pytest.raises(ValueError, match="x must have shape"):
        EMLP(V, V, catalogue.rotation(2), hidden=8)(torch.ones(3, 5))
