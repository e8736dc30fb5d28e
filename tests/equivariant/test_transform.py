import pytest
import torch
from torch_geometric.data import Data

from equivariant import RandomGroupTransform, Scalar, V, catalogue


@pytest.fixture
def graph(generator):
    pos = torch.randn(6, 3, generator=generator)
    return Data(pos=pos, flow=torch.cat([2 * pos, torch.ones(6, 1)], 1), y=pos[:1], z=torch.arange(6))


def test_one_element_moves_every_named_field(graph, generator):
    transform = RandomGroupTransform(catalogue.rotation(3), {"pos": V, "flow": V + Scalar, "y": V}, generator)
    before = {key: value.clone() for key, value in graph.to_dict().items()}
    moved = transform(graph)
    assert torch.allclose(moved.flow[:, :3], 2 * moved.pos, atol=1e-5)
    assert torch.allclose(moved.y, moved.pos[:1], atol=1e-5)
    assert torch.allclose(torch.cdist(moved.pos, moved.pos), torch.cdist(graph.pos, graph.pos), atol=1e-4)
    assert not torch.allclose(moved.pos, graph.pos)
    assert torch.equal(moved.z, graph.z)
    assert all(torch.equal(graph[key], value) for key, value in before.items())


def test_it_says_what_it_moves_and_what_is_missing(graph):
    transform = RandomGroupTransform(catalogue.rotation(3), {"pos": V, "speed": V})
    assert repr(transform) == "RandomGroupTransform(pos: V, speed: V)"
    with pytest.raises(ValueError, match=r"no field \['speed'\]"):
        transform(graph)
    with pytest.raises(ValueError, match="must have shape"):
        RandomGroupTransform(catalogue.rotation(3), {"flow": V})(graph)
