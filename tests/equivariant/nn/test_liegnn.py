import pytest
import torch
from conftest import EXACT, LEARNED, SINGLE

from equivariant import LieGNN, Scalar, V, catalogue, equivariance_error, invariant_metrics
from equivariant.nn.norm import MaskedBatchNorm

LORENTZ = catalogue.lorentz()
MINKOWSKI = invariant_metrics(LORENTZ).metrics


def size_one(module):
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return module


def _relative(a, b):
    return (a - b).norm() / b.norm()


def _cloud(generator, dtype=torch.float64, b=4, n=7, k=4, s=2):
    shapes = [(b, n, s), (b, n, k)]
    return [torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) for shape in shapes]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, EXACT), (torch.float32, SINGLE)])
@pytest.mark.parametrize(
    ("algebra", "vectors"), [(LORENTZ, 1), (catalogue.rotation(3), 2), (catalogue.by_name("2*so(2)"), 1)]
)
@pytest.mark.parametrize("training", [False, True])
def test_answers_are_invariant_and_vectors_turn(algebra, vectors, dtype, tolerance, training, generator):
    metrics = invariant_metrics(algebra).metrics
    net = LieGNN(metrics, 2, 3, hidden=16, layers=3, step=0.1, vectors=vectors, dropout=0.0).to(dtype)
    size_one(net).train(training)
    s, x = _cloud(generator, dtype, k=vectors * algebra.dim)
    rep = 7 * vectors * V

    def answer(flat):
        return net(s, flat.view(x.shape))

    def positions(flat):
        return net.features(s, flat.view(x.shape))[1].flatten(1)

    kwargs = {"generator": generator, "size": 1.0}
    assert answer(x.flatten(1)).std() > 1e-2
    assert (positions(x.flatten(1)) - x.flatten(1)).abs().max() > 1e-2
    assert equivariance_error(answer, algebra, rep, 3 * Scalar, x.flatten(1), **kwargs) <= tolerance
    assert equivariance_error(positions, algebra, rep, rep, x.flatten(1), **kwargs) <= tolerance


def test_a_wrong_metric_is_seen(generator):
    net = size_one(LieGNN(torch.eye(4), 2, 3, hidden=16, layers=3).double()).eval()
    s, x = _cloud(generator)
    error = equivariance_error(
        lambda flat: net(s, flat.view(x.shape)), LORENTZ, 7 * V, 3 * Scalar, x.flatten(1), generator=generator
    )
    assert error > 1e-3


@pytest.mark.parametrize("training", [False, True])
def test_padding_changes_nothing(training, generator):
    net = size_one(LieGNN(MINKOWSKI, 2, 3, hidden=16, layers=3, step=0.1, dropout=0.0).double())
    s, x = _cloud(generator)
    mask = torch.tensor([[True] * 5 + [False] * 2] * 4)
    padded = [torch.where(mask[..., None], t, torch.nan) for t in (s, x)]
    net.train(training)
    state = {key: value.clone() for key, value in net.state_dict().items()}
    short = net(s[:, :5], x[:, :5])
    statistics = {key: value.clone() for key, value in net.state_dict().items()}
    net.load_state_dict(state)
    long = net(*padded, mask)
    assert _relative(short, long) <= EXACT
    for key, value in net.state_dict().items():
        assert torch.allclose(value, statistics[key], rtol=0, atol=EXACT), key


def test_order_of_the_nodes_does_not_matter(generator):
    net = size_one(LieGNN(MINKOWSKI, 2, 3, hidden=16, layers=2).double()).eval()
    s, x = _cloud(generator)
    order = torch.randperm(7, generator=generator)
    assert _relative(net(s, x), net(s[:, order], x[:, order])) <= EXACT


@pytest.mark.parametrize(("b", "n"), [(2, 1), (2, 0), (0, 3)])
@pytest.mark.parametrize("training", [False, True])
def test_lone_nodes_and_empty_clouds_have_finite_answers(b, n, training):
    net = LieGNN(MINKOWSKI, 2, 3, hidden=8, layers=2).train(training)
    answer = net(torch.ones(b, n, 2), torch.ones(b, n, 4))
    assert answer.shape == (b, 3)
    assert torch.isfinite(answer).all()
    assert all(torch.isfinite(value).all() for value in net.state_dict().values())


def test_a_state_dict_of_other_metrics_is_refused(generator):
    here, there = LieGNN(MINKOWSKI, 2, hidden=8, layers=2), LieGNN(torch.eye(4), 2, hidden=8, layers=2)
    s, x = _cloud(generator, torch.float32)
    with pytest.raises(ValueError, match="another group"):
        there.load_state_dict(here.state_dict())
    again = LieGNN(MINKOWSKI, 2, hidden=8, layers=2)
    again.load_state_dict(here.state_dict())
    assert torch.equal(again.eval()(s, x), here.eval()(s, x))


def test_gradients_stay_finite(generator):
    net = LieGNN(MINKOWSKI, 2, hidden=8, layers=2)
    s, x = _cloud(generator, torch.float32)
    x = torch.cat([x, x[:, :1]], dim=1).requires_grad_()
    net(torch.cat([s, s[:, :1]], dim=1), x).sum().backward()
    assert torch.isfinite(x.grad).all()


def test_masked_batch_norm_is_batch_norm_on_what_exists(generator):
    plain, masked = torch.nn.BatchNorm1d(5).double(), MaskedBatchNorm(5).double()
    for _ in range(3):
        x = torch.randn(4, 6, 5, generator=generator).double() * 3 + 1
        mask = torch.rand(4, 6, 1, generator=generator) < 0.6
        rows = plain(x[mask.squeeze(-1)])
        assert torch.allclose(masked(x, mask)[mask.squeeze(-1)], rows, rtol=0, atol=EXACT)
    for (name, a), b in zip(plain.named_buffers(), masked.buffers(), strict=True):
        assert torch.allclose(a, b), name


def test_the_network_says_what_it_is():
    assert "metrics=1x4x4, hidden=72, scalars=2" in str(LieGNN(MINKOWSKI, 2))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda net: net(torch.ones(1, 3, 2), torch.ones(1, 3, 3)), "x must have shape"),
        (lambda net: net(torch.ones(1, 3, 1), torch.ones(1, 3, 4)), "scalars must have shape"),
        (lambda net: net(torch.ones(1, 3, 2), torch.ones(1, 3, 4), torch.ones(1, 3)), "mask must be boolean"),
        (lambda net: net(torch.ones(1, 3, 2), torch.ones(1, 3, 4).double()), "x must have the model's dtype"),
        (lambda _: LieGNN(torch.ones(2, 3), 2), "metrics must have shape"),
        (lambda _: LieGNN(torch.tensor([[1.0, 2], [0, 1]]), 2), "symmetric"),
        (lambda _: LieGNN(MINKOWSKI, 2, layers=0), "layers must be"),
    ],
)
def test_bad_input_gets_a_sentence(call, message):
    with pytest.raises(ValueError, match=message):
        call(LieGNN(MINKOWSKI, 2, hidden=8, layers=1))


@pytest.mark.parametrize("per_node", [False, True])
def test_a_time_is_one_more_scalar(per_node, generator):
    torch.manual_seed(0)
    net = size_one(LieGNN(MINKOWSKI, 2, layers=2, hidden=8, time=True, dtype=torch.float64)).eval()
    same = size_one(LieGNN(MINKOWSKI, 3, layers=2, hidden=8, dtype=torch.float64)).eval()
    same.load_state_dict(net.state_dict())
    scalars, x = _cloud(generator)
    time = torch.randn((4, 7) if per_node else (4,), generator=generator).double()
    column = (time if per_node else time[:, None].expand(4, 7)).unsqueeze(-1)
    assert torch.equal(net(scalars, x, time=time), same(torch.cat([scalars, column], dim=-1), x))
    assert not torch.allclose(net(scalars, x, time=time + 1), net(scalars, x, time=time))


def test_a_wrong_time_gets_a_sentence(generator):
    scalars, x = _cloud(generator, torch.float32)
    with pytest.raises(ValueError, match="built with time=True"):
        LieGNN(MINKOWSKI, 2, time=True)(scalars, x)
    with pytest.raises(ValueError, match="built with time=False"):
        LieGNN(MINKOWSKI, 2)(scalars, x, time=torch.zeros(4))
    with pytest.raises(ValueError, match=r"time must have shape \(4,\) or \(4, 7\)"):
        LieGNN(MINKOWSKI, 2, time=True)(scalars, x, time=torch.zeros(7))


@pytest.mark.parametrize("training", [False, True])
def test_autocast_spares_invariants_and_positions(training, generator, monkeypatch):
    from equivariant.nn import liegnn as block

    plain, seen = block.pair_messages, []

    def watched(features, target, *rest):
        seen.append((features, target))
        return plain(features, target, *rest)

    monkeypatch.setattr(block, "pair_messages", watched)
    net = LieGNN(MINKOWSKI, 2, hidden=8, layers=2, step=0.1, dropout=0.0).train(training)
    s, x = _cloud(generator, torch.float32)
    x = 300 * x  # as momenta [GeV]: bfloat16 knows them to one
    expected, (h, moved) = net(s, x), net.features(s, x)
    with torch.autocast("cpu", torch.bfloat16):
        answer = net(s, x)
        h_cast, moved_cast = net.features(s, x)
    assert torch.equal(seen[0][0], seen[4][0])
    assert all(tensor.dtype == torch.float32 for pair in seen for tensor in pair)
    assert moved_cast.dtype == h_cast.dtype == torch.float32
    assert _relative(moved_cast - x, moved - x) < LEARNED
    assert 0 < _relative(h_cast, h) < LEARNED
    assert _relative(answer.float(), expected) < 3 * LEARNED
    answer.float().square().sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters() if p.grad is not None)
