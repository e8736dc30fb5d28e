"""Every model works with the tools around it: compile, export, vmap, jacrev, autocast, double backward, devices."""

import copy

import pytest
import torch
from conftest import EXACT
from torch.func import functional_call, hessian, jacrev, stack_module_state, vmap

from equivariant import EMLP, LieGNN, RandomGroupAction, V, catalogue, invariant_metrics

LORENTZ = catalogue.lorentz()


@pytest.fixture(params=["emlp", "liegnn"])
def case(request, generator):
    """A model and its inputs, (n, ...) each."""
    torch.manual_seed(0)
    if request.param == "emlp":
        net = EMLP(2 * V, V, LORENTZ, hidden=24, layers=2)
        return net, (torch.randn(6, 8, generator=generator),)
    net = LieGNN(invariant_metrics(LORENTZ).metrics, 2, hidden=8, layers=2)
    return net.eval(), (torch.randn(6, 5, 2, generator=generator), torch.randn(6, 5, 4, generator=generator))


def test_compile_fullgraph(case):
    net, inputs = case
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
    assert torch.allclose(compiled(*inputs), net(*inputs), atol=1e-6)
    compiled(*inputs).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters() if p.grad is not None)


def test_export(case):
    net, inputs = case
    program = torch.export.export(net, inputs)
    assert torch.allclose(program.module()(*inputs), net(*inputs), atol=1e-6)


def test_vmap_over_an_ensemble(case):
    net, inputs = case
    nets = [copy.deepcopy(net), net]
    for parameter in nets[0].parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    parameters, buffers = stack_module_state(nets)

    def call(parameters, buffers):
        return functional_call(net, (parameters, buffers), inputs)

    together = vmap(call)(parameters, buffers)
    assert torch.allclose(together[0], nets[0](*inputs), atol=1e-5)
    assert torch.allclose(together[1], nets[1](*inputs), atol=1e-5)


def test_jacobians(case):
    net, inputs = case
    inputs = tuple(x[:1].double() for x in inputs)
    net = net.double()

    def last(x):
        return net(*inputs[:-1], x)

    by_rule = jacrev(last)(inputs[-1])
    by_loop = torch.autograd.functional.jacobian(last, inputs[-1])
    assert torch.allclose(by_rule, by_loop, rtol=0, atol=EXACT)


def test_second_order_gradients(case):
    net, inputs = case
    net = net.double()
    fixed, x = [x[:1].double() for x in inputs[:-1]], inputs[-1][:1, ..., :4].double()
    x = inputs[-1][:1].double()

    def energy(x):
        return net(*fixed, x).square().sum()

    direction = torch.randn_like(x)
    exact = torch.einsum("...i,i->...", hessian(energy)(x).reshape(x.numel(), -1), direction.flatten())
    step = 1e-5
    slope = [torch.autograd.functional.jacobian(energy, x + s * step * direction) for s in (1, -1)]
    measured = (slope[0] - slope[1]).flatten() / (2 * step)
    assert torch.allclose(exact, measured, rtol=1e-4, atol=1e-5 * float(measured.abs().max()))


def test_bfloat16_autocast(case):
    net, inputs = case
    with torch.autocast("cpu", torch.bfloat16):
        loose = net(*inputs)
        loose.float().square().sum().backward()
    exact = net(*inputs)
    assert (loose.float() - exact).norm() < 0.1 * exact.norm()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters() if p.grad is not None)


def test_nothing_is_left_behind_when_a_model_moves(case):
    net, _ = case
    moved = copy.deepcopy(net).to("meta")
    assert all(t.is_meta for t in [*moved.parameters(), *moved.buffers()])
    assert set(net.state_dict()) >= {name for name, _ in net.named_buffers()}


def test_everything_that_forward_reads_is_a_parameter_or_a_buffer(case):
    net, _ = case
    for module in net.modules():
        loose = [name for name, value in vars(module).items() if isinstance(value, torch.Tensor)]
        assert not loose, (type(module).__name__, loose)


class _Points(torch.utils.data.Dataset):
    """Moves its samples in the worker."""

    def __init__(self):
        self.action = RandomGroupAction(catalogue.rotation(2), V)

    def __len__(self):
        return 8

    def __getitem__(self, index):
        return self.action(torch.tensor([[1.0, 0.0]]))[0]


def test_every_worker_of_a_loader_draws_its_own():
    def batch(seed):
        generator = torch.Generator().manual_seed(seed)
        loader = torch.utils.data.DataLoader(_Points(), batch_size=4, num_workers=2, generator=generator)
        return torch.cat(list(loader))

    first = batch(0)
    assert len(first.unique(dim=0)) == 8
    assert torch.equal(first, batch(0))
    assert not torch.equal(first, batch(1))
