import math

import pytest
import torch
from conftest import EXACT
from torch import nn

from discover.equations.joint import JointEquation, central_rates
from equivariant import catalogue


def nets(seed=0, norm=False):
    torch.manual_seed(seed)
    last = [nn.BatchNorm1d(2)] if norm else []
    encode = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2), *last)
    decode = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 4))
    return encode.double(), decode.double()


def circle(samples=64):
    """x = A (cos t, sin t) in R^4 and its rates: z turns at rate 1."""
    random = torch.Generator().manual_seed(5)
    mix = torch.randn(4, 2, dtype=torch.float64, generator=random)
    angle = 2 * math.pi * torch.rand(samples, dtype=torch.float64, generator=random)
    z = torch.stack([angle.cos(), angle.sin()], dim=1)
    dz = torch.stack([-z[:, 1], z[:, 0]], dim=1)
    return z @ mix.T, dz @ mix.T, mix


def start(**settings):
    return JointEquation(**settings).start(2, torch.float64, seed=1)


@pytest.mark.parametrize("norm", [False, True])
@pytest.mark.parametrize("term", ["latent", "image"])
def test_gradients_of_both_nets_and_of_the_equation_are_those_of_differences(term, norm):
    x, dx, _ = circle(16)
    encode, decode = nets(norm=norm)
    motion = start()

    def value():
        return motion.loss(encode, decode, x, dx)[term]

    weights = {"encoder": encode[0].weight, "equation": motion.weight}
    if term == "image":
        weights["decoder"] = decode[0].weight
    slopes = dict(zip(weights, torch.autograd.grad(value(), list(weights.values())), strict=True))
    for name, weight in weights.items():
        way = torch.randn(weight.shape, dtype=weight.dtype, generator=torch.Generator().manual_seed(2))
        steps = []
        for step in (1e-5, -1e-5):
            with torch.no_grad():
                weight += step * way
                steps.append(float(value()))
                weight -= step * way
        expected = (steps[0] - steps[1]) / 2e-5
        assert abs(expected) > 1e-6
        assert float((slopes[name] * way).sum()) == pytest.approx(expected, rel=1e-4), name


def test_the_loss_is_zero_at_the_truth_and_one_for_no_motion():
    x, dx, mix = circle()
    motion = start(degree=1, constant=False)
    inverse = torch.linalg.pinv(mix)
    pair = (lambda x: x @ inverse.T), (lambda z: z @ mix.T)
    with torch.no_grad():
        motion.weight.copy_(torch.tensor([[0.0, -1.0], [1.0, 0.0]]))
    assert max(float(v.detach()) for v in motion.loss(*pair, x, dx).values()) < EXACT
    with torch.no_grad():
        motion.weight.zero_()
    assert [float(v.detach()) for v in motion.loss(*pair, x, dx).values()] == pytest.approx([1.0, 1.0])


def test_the_loss_does_not_depend_on_latent_scale_or_units():
    x, dx, _ = circle()
    encode, decode = nets()
    motion = start(degree=1)
    with torch.no_grad():
        motion.weight[:, 0] = 0  # the constant term would feel the scale
    losses = [
        motion.loss(lambda x, s=s: s * encode(x), lambda z, s=s: decode(z / s), x, u * dx)
        for s, u in [(1.0, 1.0), (1e-3, 1.0)]
    ]
    for name, value in losses[0].items():
        assert float(losses[1][name]) == pytest.approx(float(value), rel=1e-9)


def test_weights_of_the_two_terms():
    x, dx, _ = circle()
    motion = start(latent_weight=2.0, image_weight=0.5)
    terms = motion.loss(*nets(), x, dx)
    assert float(motion.total_loss(terms)) == pytest.approx(
        2 * float(terms["latent"]) + 0.5 * float(terms["image"])
    )


def test_learns_the_rotation_together_with_its_coordinates():
    """Linear nets, finite differences for the rates; the frequency is 1 whatever the latent basis."""
    _, _, mix = circle()
    times = torch.arange(0, 12, 0.02, dtype=torch.float64)
    path = torch.stack([times.cos(), times.sin()], dim=1) @ mix.T
    x, dx = central_rates(path[None], 0.02)
    torch.manual_seed(0)
    encode, decode = nn.Linear(4, 2, bias=False).double(), nn.Linear(2, 4, bias=False).double()
    motion = start(threshold=0.02)
    weights = [*encode.parameters(), *decode.parameters(), *motion.parameters()]
    optimizer = torch.optim.Adam(weights, lr=1e-2)
    motion.solve_(encode, x, dx)
    for step in range(600):
        optimizer.zero_grad()
        lost = (decode(encode(x)) - x).square().mean() / x.square().mean()
        (lost + motion.total_loss(motion.loss(encode, decode, x, dx))).backward()
        optimizer.step()
        if step % 100 == 99:
            motion.threshold_()
    found = motion.equation()
    assert found.is_linear
    assert float(found.frequencies()[0]) == pytest.approx(1.0, rel=0.01)


def test_least_squares_start():
    x, dx, mix = circle()
    motion = start()
    inverse = torch.linalg.pinv(mix)
    motion.mask[0, 1] = False
    motion.solve_(lambda x: x @ inverse.T, x, dx)
    expected = torch.zeros_like(motion.weight)
    expected[0, 2], expected[1, 1] = -1, 1
    torch.testing.assert_close(motion.coefficients.detach(), expected, rtol=0, atol=1e-7)


def test_the_mask_only_shrinks_and_training_obeys_it():
    x, dx, _ = circle()
    encode, decode = nets()
    motion = start(threshold=0.3)
    motion.loss(encode, decode, x, dx)
    before = motion.mask.clone()
    left = motion.threshold_()
    dropped = ~motion.mask
    assert 0 < left < before.numel()
    assert left == motion.equation().terms
    with torch.no_grad():
        motion.weight[dropped] = 100.0  # a dropped weight that grows again counts for nothing
    assert motion.threshold_() <= left
    assert not motion.coefficients[dropped].any()
    motion.total_loss(motion.loss(encode, decode, x, dx)).backward()
    assert not motion.weight.grad[dropped].any()


def test_a_threshold_of_zero_restores_no_term():
    x, dx, _ = circle()
    motion = start(threshold=0.0)
    motion.mask[0, 1] = False
    motion.loss(*nets(), x, dx)
    assert motion.threshold_() == motion.mask.numel() - 1
    assert not motion.mask[0, 1]


def test_state_dict_carries_mask_and_sizes():
    x, dx, _ = circle()
    one, other = start(threshold=0.3), JointEquation(threshold=0.3).start(2, torch.float64, seed=9)
    one.loss(*nets(), x, dx)
    one.threshold_()
    assert not torch.equal(one.weight, other.weight)
    other.load_state_dict(one.state_dict())
    assert torch.equal(one.equation().coefficients, other.equation().coefficients)
    assert one.threshold_() == other.threshold_()
    assert torch.equal(one.mask, other.mask)


def test_sizes_do_not_move_in_eval():
    x, dx, _ = circle()
    motion = start().eval()
    motion.loss(*nets(), x, dx)
    with pytest.raises(ValueError, match="call loss in training mode"):
        motion.threshold_()


def test_same_seed_same_start_and_the_global_stream_is_left_alone():
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    assert torch.equal(start().weight, start().weight)
    assert torch.equal(torch.rand(1), expected)
    assert JointEquation().start(3).weight.dtype == torch.float32
    assert "degree=2" in str(start())


def test_the_schedule():
    settings = JointEquation(begin=0.5, threshold_every=3)
    assert [settings.is_on(e, 10) for e in range(10)] == [False] * 5 + [True] * 5
    assert [e for e in range(12) if settings.drops_after(e, 12)] == [8, 11]
    assert not any(JointEquation(threshold_every=0).drops_after(e, 9) for e in range(9))


def test_symmetry_error():
    motion, turn = start(degree=3), catalogue.rotation(2).basis
    assert float(motion.symmetry_error(turn).detach()) > 0.01
    with torch.no_grad():
        motion.weight.zero_()
        motion.weight[0, 1] = motion.weight[1, 2] = 0.7
    assert float(motion.symmetry_error(turn)) < EXACT
    generators = turn.clone().requires_grad_()
    start(degree=3).symmetry_error(generators).backward()
    assert generators.grad.norm() > 0


def test_wrong_arguments_get_a_sentence():
    x, dx, _ = circle()
    with pytest.raises(ValueError, match="the same shape"):
        start().loss(*nets(), x, dx[:3])
    with pytest.raises(ValueError, match="z must have shape"):
        JointEquation().start(3, torch.float64).loss(*nets(), x, dx)
    with pytest.raises(ValueError, match="begin"):
        JointEquation(begin=2.0)
    with pytest.raises(ValueError, match="threshold must not be negative"):
        JointEquation(threshold=-1.0)
    with pytest.raises(ValueError, match="T >= 3"):
        central_rates(torch.zeros(2, 2, 4), 0.1)
