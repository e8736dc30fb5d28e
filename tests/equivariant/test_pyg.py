import pytest
import torch
from conftest import EXACT

from equivariant import LieGNNBlock, LieGNNConv, V, catalogue, equivariance_error, invariant_metrics

MINKOWSKI = invariant_metrics(catalogue.lorentz()).metrics


def _pair(**options):
    torch.manual_seed(0)
    graph = LieGNNConv(MINKOWSKI, 8, 2, step=0.1, **options).double()
    with torch.no_grad():
        for parameter in graph.parameters():
            parameter.copy_(torch.randn(parameter.shape))
    dense = LieGNNBlock(MINKOWSKI, 8, 2, step=0.1, **options).double()
    dense.load_state_dict(graph.state_dict())
    return graph, dense


def _complete(b, n):
    i, j = torch.cartesian_prod(torch.arange(n), torch.arange(n)).T
    pairs = torch.stack([i, j])[:, i != j]
    return torch.cat([pairs + n * graph for graph in range(b)], dim=1)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("options", [{}, {"update_x": False}, {"vectors": 2}, {"clamp": 0.1}])
def test_graph_and_dense_agree(training, options, generator):
    graph, dense = (module.train(training) for module in _pair(**options))
    shapes = [(3, 5, 8), (3, 5, 4 * options.get("vectors", 1)), (3, 5, 2)]
    h, x, s = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)
    h1, x1 = graph(h.flatten(0, 1), x.flatten(0, 1), _complete(3, 5), s.flatten(0, 1))
    h2, x2 = dense(h, x, None, s)
    assert torch.allclose(h1, h2.flatten(0, 1), rtol=0, atol=EXACT)
    assert torch.allclose(x1, x2.flatten(0, 1), rtol=0, atol=EXACT)
    for a, b in zip(graph.buffers(), dense.buffers(), strict=True):
        assert torch.allclose(a, b)


def test_edge_scalars_go_the_same_way(generator):
    graph, dense = _pair(edge_scalars=3)
    h, x, s = (torch.randn(1, 4, size, generator=generator).double() for size in (8, 4, 2))
    edges = torch.randn(1, 4, 4, 3, generator=generator).double()
    index = _complete(1, 4)
    ragged = edges[0, index[1], index[0]]
    h1, _ = graph(h[0], x[0], index, s[0], ragged)
    h2, _ = dense(h, x, None, s, edges)
    assert torch.allclose(h1, h2[0], rtol=0, atol=EXACT)


def test_ragged_graphs_are_equivariant(generator):
    graph, _ = _pair()
    h, s = (torch.randn(6, size, generator=generator).double() for size in (8, 2))
    index = torch.tensor([[0, 1, 2, 5, 5], [1, 0, 1, 0, 3]])
    x = torch.randn(1, 24, generator=generator).double()
    graph.eval()

    def positions(flat):
        return graph(h, flat.view(6, 4), index, s)[1].view(1, 24)

    error = equivariance_error(positions, catalogue.lorentz(), 6 * V, 6 * V, x, generator=generator)
    assert error <= EXACT


@pytest.mark.parametrize("nodes", [0, 1, 3])
def test_a_graph_without_edges_gets_no_messages(nodes):
    graph, _ = _pair()
    h, x = torch.ones(nodes, 8).double(), torch.ones(nodes, 4).double()
    out, still = graph(h, x, torch.zeros(2, 0, dtype=torch.long), torch.ones(nodes, 2).double())
    assert out.shape == (nodes, 8)
    assert torch.equal(still, x)
    assert torch.isfinite(out).all()


@pytest.mark.parametrize(
    ("edge_index", "message"),
    [
        (torch.tensor([[0], [3]]), "lie in 0..2"),
        (torch.tensor([[0, 1]]), r"shape \(2, E\)"),
        (torch.tensor([[0.0], [1.0]]), "whole numbers"),
    ],
)
def test_bad_graphs_get_a_sentence(edge_index, message):
    graph, _ = _pair()
    with pytest.raises(ValueError, match="dtype"):
        graph(torch.ones(3, 8), torch.ones(3, 4).double(), edge_index)
    with pytest.raises(ValueError, match=message):
        graph(torch.ones(3, 8).double(), torch.ones(3, 4).double(), edge_index, torch.ones(3, 2).double())


def test_edges_of_any_whole_numbers_and_arrays(generator):
    graph, _ = _pair()
    h, x, s = (torch.randn(4, size, generator=generator).double() for size in (8, 4, 2))
    index = _complete(1, 4)
    expected = graph.eval()(h, x, index, s)
    for given in (index.int(), index.numpy(), index.tolist()):
        assert all(torch.equal(a, b) for a, b in zip(graph(h, x, given, s), expected, strict=True))
    assert torch.equal(graph(h.numpy(), x.numpy(), index, s.numpy())[0], expected[0])


def test_inputs_of_wrong_width_get_a_sentence():
    graph, _ = _pair(edge_scalars=3)
    h, x, index = torch.ones(3, 8).double(), torch.ones(3, 4).double(), torch.tensor([[0, 1], [1, 2]])
    with pytest.raises(ValueError, match="built with 2 scalars, got none"):
        graph(h, x, index)
    with pytest.raises(ValueError, match=r"edge_scalars must have shape \(2, 3\)"):
        graph(h, x, index, torch.ones(3, 2).double(), torch.ones(3, 3).double())
    with pytest.raises(ValueError, match=r"torch\.bool"):
        graph(h, x, index.bool())
