import pytest
import torch
from torch import nn
from torch.func import functional_call

from discover.equations.jvp import jvp


class Spread(nn.Module):
    def forward(self, x):
        return x.reshape(-1, 3, 2)


def networks():
    yield "plain", nn.Sequential(nn.Linear(4, 6), nn.SiLU(), nn.Linear(6, 3))
    yield "batch norm", nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.BatchNorm1d(6), nn.Linear(6, 3))
    yield (
        "batch norm, eval",
        nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.BatchNorm1d(6), nn.Linear(6, 3)).eval(),
    )
    yield "batch norm, channels", nn.Sequential(nn.Linear(4, 6), nn.Tanh(), Spread(), nn.BatchNorm1d(3))
    yield "layer norm", nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.LayerNorm(6), nn.Linear(6, 3))


@pytest.fixture(params=networks(), ids=lambda pair: pair[0])
def network(request):
    net = request.param[1].double()
    for p in net.parameters():
        nn.init.normal_(p, generator=torch.Generator().manual_seed(p.numel()))
    return net


def test_rate_and_its_gradients_are_those_of_differences(network):
    x, dx = torch.randn(2, 8, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    weights = {name: p.detach().clone() for name, p in network.named_parameters()}

    def objective(weights):
        return jvp(lambda x: functional_call(network, weights, (x,)), x, dx)[1].square().sum()

    value, rate = jvp(network, x, dx)
    h = 1e-5
    torch.testing.assert_close(value, network(x), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(
        rate, (network(x + h * dx) - network(x - h * dx)) / (2 * h), rtol=1e-6, atol=1e-6
    )
    name = "0.weight"
    leaf = weights[name].clone().requires_grad_()
    (slope,) = torch.autograd.grad(objective(weights | {name: leaf}), leaf)
    way = torch.randn(leaf.shape, dtype=leaf.dtype, generator=torch.Generator().manual_seed(2))
    there, back = (float(objective(weights | {name: weights[name] + s * h * way})) for s in (1, -1))
    assert float((slope * way).sum()) == pytest.approx((there - back) / (2 * h), rel=1e-5)


def test_running_statistics_are_left_alone():
    norm = nn.BatchNorm1d(4)
    before = norm.running_mean.clone()
    jvp(norm, torch.randn(8, 4), torch.randn(8, 4))
    assert torch.equal(norm.running_mean, before)
    assert norm(torch.randn(8, 4)).isfinite().all()  # and outside the native layer is back


def test_a_constant_map_has_rate_zero():
    assert (
        jvp(lambda x: torch.ones(3, 2), torch.zeros(3, 2), torch.ones(3, 2))[1].tolist() == [[0.0, 0.0]] * 3
    )
