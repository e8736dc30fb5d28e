import pytest
import torch
from conftest import EXACT

from equivariant.nn import pairs
from equivariant.nn.pairs import PairMaps, pair_messages


def _problem(generator, vectors, b=3, n=5, hidden=6, f=2):
    def numbers(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()

    inner = [numbers(hidden, hidden), numbers(hidden), numbers(vectors, hidden)] if vectors else []
    maps = PairMaps(
        numbers(hidden, f), numbers(hidden, hidden), numbers(hidden), numbers(1, hidden), numbers(1), *inner
    )
    inputs = [numbers(f, b, n, n), numbers(b, n, hidden), numbers(b, n, hidden)]
    return [*inputs, (torch.rand(b, n, n, generator=generator) < 0.7).double()], maps


def _slopes(results, tensors, create_graph=False):
    weighted = sum(
        (result * torch.arange(1.0, 1 + result.numel()).view_as(result)).sum() for result in results
    )
    return torch.autograd.grad(weighted, tensors, create_graph=create_graph)


@pytest.mark.parametrize("vectors", [0, 1, 2])
@pytest.mark.parametrize("chunk", [1, 70, 2**19])
def test_parts_give_the_formula_and_its_gradients(vectors, chunk, generator, monkeypatch):
    monkeypatch.setattr(pairs, "CHUNK", chunk)
    inputs, maps = _problem(generator, vectors)
    tensors = [t for t in (*inputs, *maps) if t is not None and t.requires_grad]
    results = pair_messages(*inputs, maps), pairs._formula(*inputs, *maps)
    for ours, expected in zip(*results, strict=True):
        assert torch.allclose(ours, expected, rtol=0, atol=EXACT)
    slopes = _slopes(results[0], tensors), _slopes(results[1], tensors)
    for ours, expected in zip(*slopes, strict=True):
        assert (ours - expected).norm() <= EXACT * expected.norm()


@pytest.mark.parametrize("vectors", [0, 2])
def test_gradients_can_be_differentiated(vectors, generator):
    inputs, maps = _problem(generator, vectors)
    # one input made from another: a gradient must not reach it twice
    inputs[1] = inputs[1] + maps.second.sum()
    tensors = [t for t in (*inputs, *maps) if t is not None and t.requires_grad]
    second = []
    for results in (pair_messages(*inputs, maps), pairs._formula(*inputs, *maps)):
        slopes = _slopes(results, tensors, create_graph=True)
        second.append(_slopes([slope.square() for slope in slopes], tensors))
    for ours, expected in zip(*second, strict=True):
        assert (ours - expected).norm() <= EXACT * expected.norm().clamp(min=1)


def test_without_gradients_nothing_is_kept(generator, monkeypatch):
    inputs, maps = _problem(generator, 1)
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(saved.append, lambda t: t):
        with torch.no_grad():
            quiet = pair_messages(*inputs, maps)
        assert not saved
        loud = pair_messages(*inputs, maps)
    assert sum(t is not None and t.shape == (3, 5, 5, 6) for t in saved) == 1
    assert all(torch.equal(a, b) for a, b in zip(quiet, loud, strict=True))
