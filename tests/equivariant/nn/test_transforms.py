"""What PyTorch and its users do to a model: one sample, vmap, gradients of samples, Hessians, tracing, meta, NumPy."""

import numpy as np
import pytest
import torch
from conftest import EXACT
from torch.func import functional_call, grad, hessian, vmap

from equivariant import EMLP, LieGNN, Scalar, T, V, catalogue

ROTATION = catalogue.rotation(3)
METRIC = torch.eye(3, dtype=torch.float64)


@pytest.fixture(params=["model", "dense"])
def model(request):
    torch.manual_seed(0)
    emlp = EMLP(2 * V, V + Scalar, ROTATION, hidden=32, layers=2).double()
    return emlp if request.param == "model" else emlp.dense()


@pytest.fixture
def x(generator):
    return torch.randn(5, 6, generator=generator, dtype=torch.float64)


def same(a, b):
    return torch.allclose(a, b, rtol=0, atol=EXACT)


def test_one_sample_without_a_batch(model, x):
    assert same(model(x[0]), model(x)[0])
    assert model(x[:0]).shape == (0, 4)
    assert same(model(x.view(5, 1, 6)), model(x).unsqueeze(1))


def test_vmap(model, x):
    assert same(vmap(model)(x), model(x))


def test_per_sample_gradients(x):
    model = EMLP(2 * V, V, ROTATION, hidden=32, layers=1).double()
    parameters = dict(model.named_parameters())

    def loss(parameters, x):
        return functional_call(model, parameters, (x,)).square().sum()

    each = vmap(grad(loss), (None, 0))(parameters, x)
    model(x).square().sum().backward()
    for name, parameter in parameters.items():
        expected = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        assert same(each[name].sum(0), expected), name


def test_hessians(model, x):
    expected = torch.autograd.functional.hessian(lambda x: model(x).sum(), x[0])
    assert expected.abs().max() > 1e-6
    assert same(hessian(lambda x: model(x).sum())(x[0]), expected)


@pytest.mark.filterwarnings("ignore")
def test_jit_trace(model, x):
    traced = torch.jit.trace(model, x)
    other = torch.cat([x, 2 * x])
    assert same(traced(other), model(other))


def test_meta_device(model, x):
    assert model.to("meta")(x.to("meta")).shape == (5, 4)


def test_maps_are_solved_under_a_default_device_of_meta(x):
    with torch.device("meta"):
        model = EMLP(2 * V, V, ROTATION, hidden=16, layers=1)
    assert model(x.float()).shape == (5, 3)


def test_arrays_lists_and_frames(model, x):
    class Frame:
        def to_numpy(self):
            return x.numpy()

    for given in (x.numpy(), x.float().numpy().astype(np.float64), x.tolist(), Frame()):
        assert torch.allclose(model(given), model(x), atol=1e-5)
    with pytest.raises(ValueError, match="x must be real"):
        model(x.numpy() + 1j)
    with pytest.raises(ValueError, match="dtype"):
        model(x.long())


def test_bfloat16_autocast(model, x):
    model = model.float()
    with torch.autocast("cpu", torch.bfloat16):
        low = model(x.float())
    assert low.dtype == torch.bfloat16
    assert (low.float() - model(x.float())).norm() < 0.05 * model(x.float()).norm()


@pytest.mark.parametrize(
    ("algebra", "widths"),
    [
        (ROTATION, range(1, 14)),
        (catalogue.special_linear(3), (7, 16, 20, 24)),
        (catalogue.euclidean(3), (5, 16, 24, 32)),
        (catalogue.special_linear(4), (48,)),
        (catalogue.lorentz(), (V + T(2), 3 * V, 1 * Scalar)),
    ],
)
def test_small_widths_build(algebra, widths):
    for hidden in widths:
        model = EMLP(V, V, algebra, hidden=hidden, layers=1)
        assert model(torch.ones(2, algebra.dim)).shape == (2, algebra.dim)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden": 0}, "width must be"),
        ({"hidden": 2.5}, "width must be"),
        ({"hidden": 0 * V}, "at least one number"),
        ({"layers": -1}, "layers must be"),
    ],
)
def test_sizes_that_are_not_positive_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        EMLP(V, V, ROTATION, **options)


def test_a_state_dict_of_another_group_is_refused():
    torch.manual_seed(0)
    here, again = (EMLP(2 * V, V, ROTATION, hidden=16, layers=1) for _ in range(2))
    there = EMLP(2 * V, V, catalogue.pseudo_orthogonal(1, 2), hidden=16, layers=1)
    again.load_state_dict(here.state_dict())
    x = torch.randn(3, 6)
    assert torch.equal(again(x), here(x))
    for strict in (True, False):
        with pytest.raises(ValueError, match="another group"):
            there.load_state_dict(here.state_dict(), strict=strict)


def test_a_state_dict_in_another_basis_of_the_same_maps_loads():
    torch.manual_seed(0)
    here, again = (EMLP(2 * V, V, ROTATION, hidden=16, layers=1) for _ in range(2))
    state = {name: -t if "map_" in name or "theta" in name else t for name, t in here.state_dict().items()}
    state |= {
        name: -t for name, t in here.state_dict().items() if name.endswith("bias") and "map" not in name
    }
    again.load_state_dict(state)
    x = torch.randn(3, 6)
    assert torch.allclose(again(x), here(x), atol=1e-6)


class TestLieGNN:
    @pytest.fixture
    def net(self):
        torch.manual_seed(0)
        return LieGNN(METRIC, 2, hidden=8, layers=2, edge_scalars=1).double().eval()

    @pytest.fixture
    def cloud(self, generator):
        shapes = (2, 5, 2), (2, 5, 3), (2, 5, 5, 1)
        s, x, e = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)
        mask = torch.ones(2, 5, dtype=torch.bool)
        mask[0, 3:] = False
        return s, x, mask, e

    @pytest.mark.parametrize("training", [False, True])
    def test_edges_that_do_not_exist_are_not_read(self, net, cloud, training):
        net.train(training)
        net.readout[2].p = 0.0
        s, x, mask, e = cloud
        edges = mask.unsqueeze(1) & mask.unsqueeze(2) & ~torch.eye(5, dtype=torch.bool)
        padded = torch.where(edges.unsqueeze(-1), e, torch.nan)
        gradients = []
        for given in (e, padded):
            net.zero_grad()
            net(s, x, mask, given).square().sum().backward()
            gradients.append([p.grad.clone() for p in net.parameters() if p.grad is not None])
        assert torch.equal(net(s, x, mask, padded), net(s, x, mask, e))
        assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))

    def test_arrays_and_lists(self, net, cloud):
        s, x, mask, e = cloud
        expected = net(s, x, mask, e)
        assert torch.equal(net(*(t.numpy() for t in cloud)), expected)
        assert torch.equal(net(*(t.tolist() for t in cloud)), expected)

    @pytest.mark.filterwarnings("ignore")
    def test_vmap_tracing_hessian_and_meta(self, net, cloud):
        s, x, mask, e = cloud
        one = vmap(lambda *given: net(*(t.unsqueeze(0) for t in given)).squeeze(0))
        assert same(one(s, x, mask, e), net(s, x, mask, e))
        traced = torch.jit.trace(net, cloud)
        other = s.flip(0), 2 * x, mask.flip(0), e
        assert same(traced(*other), net(*other))
        assert torch.isfinite(hessian(lambda x: net(s, x, mask, e).sum())(x)).all()
        assert net.to("meta")(*(t.to("meta") for t in cloud)).shape == (2, 2)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"metrics": torch.zeros(3, 3)}, "metric of zeros"),
            ({"metrics": torch.zeros(0, 3, 3)}, "metrics must have shape"),
            ({"edge_scalars": -1}, "edge_scalars must be"),
            ({"scalars": -1}, "scalars must be"),
            ({"hidden": 0}, "hidden must be"),
            ({"vectors": 0}, "vectors must be"),
            ({"outputs": 0}, "outputs must be"),
        ],
    )
    def test_sizes_and_metrics_are_checked(self, options, message):
        with pytest.raises(ValueError, match=message):
            LieGNN(**({"metrics": METRIC, "scalars": 1} | options))

    def test_edge_scalars_of_another_shape_are_refused(self, net, cloud):
        s, x, mask, e = cloud
        with pytest.raises(ValueError, match="built with 1 edge_scalars, got none"):
            net(s, x, mask)
        with pytest.raises(ValueError, match=r"edge_scalars must have shape \(2, 5, 5, 1\)"):
            net(s, x, mask, e[..., 0])

    def test_a_block_alone_checks_its_inputs(self, net, cloud):
        _, x, mask, e = cloud
        h, block = torch.zeros(2, 5, 8).double(), net.blocks[0]
        assert torch.equal(
            block(h.numpy(), x.tolist(), mask, h[..., :2], e)[0], block(h, x, mask, h[..., :2], e)[0]
        )
        with pytest.raises(ValueError, match=r"x must have shape \(b, n, 3\)"):
            block(h, x[..., :2])
        with pytest.raises(ValueError, match=r"h must have shape \(2, 5, 8\)"):
            block(h[..., :2], x)
        with pytest.raises(ValueError, match="built with 2 scalars, got none"):
            block(h, x, mask)
