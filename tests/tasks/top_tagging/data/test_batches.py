import math

import numpy as np
import pytest
import torch
from conftest import EXACT, SHARED
from torch.utils.data import DataLoader

from equivariant import LieGNNBlock, LieGNNConv, catalogue
from tasks.top_tagging import BEAMS, JetDataset, JetGraphs, Pad, batches, node_scalars
from tasks.top_tagging.data.batches import fully_connected
from tasks.top_tagging.data.jets import MINKOWSKI


@pytest.fixture(scope="module")
def reference():
    path = SHARED / "lorentznet_reference_io.npz"
    if not path.exists():
        pytest.skip("the published network's inputs are not on this machine")
    with np.load(path, allow_pickle=False) as file:
        return {name: torch.from_numpy(file[name]) for name in file.files}


def test_scalars_are_those_of_the_published_network(reference):
    beam = torch.zeros(len(reference["p4"]), dtype=torch.bool)
    beam[reference["offsets"][:-1]] = beam[reference["offsets"][:-1] + 1] = True
    assert torch.equal(reference["p4"][beam].view(-1, 2, 4), BEAMS.expand(32, 2, 4))
    scalars = node_scalars(reference["p4"], beam)
    # m^2 of float32 energies is a small difference of large numbers
    assert (scalars - reference["scalars"]).abs().max() < 1e-8


def test_nodes_are_beams_then_constituents_then_padding(jets):
    batch = Pad()(jets)
    assert batch.p4.shape == (6, 10, 4)
    assert batch.mask.sum(1).tolist() == [7, 5, 2, 3, 10, 6]
    assert torch.equal(batch.p4[3, :2], BEAMS)
    assert torch.equal(batch.p4[0, 2:7, 1:], jets.p3[:5].double())
    assert (batch.p4[~batch.mask] == 0).all()
    assert (batch.scalars[~batch.mask] == 0).all()
    assert torch.allclose(batch.scalars[:, :2], torch.tensor([0, math.log(2)]).double())
    assert batch.label.tolist() == [0, 1, 0, 1, 0, 1]


def test_constituents_are_massless_in_float64(jets):
    p4 = Pad(beams=False)(jets).p4
    assert (torch.einsum("bni,ij,bnj->bn", p4, MINKOWSKI, p4).abs() <= 1e-12 * p4[..., 0] ** 2).all()


def test_a_dtype_comes_last(jets):
    exact, single = Pad()(jets), Pad(dtype=torch.float32)(jets)
    assert torch.equal(single.p4, exact.p4.float())
    assert torch.equal(single.scalars, exact.scalars.float())


def test_scalars_are_lorentz_invariant(generator):
    x = torch.randn(50, 4, generator=generator).double()
    beam = torch.rand(50, generator=generator) < 0.3
    g = catalogue.lorentz().element(0.5 * torch.randn(6, generator=generator).double())
    assert (node_scalars(x @ g.mT, beam) - node_scalars(x, beam)).abs().max() < EXACT
    assert (node_scalars(2 * x, beam) - node_scalars(x, beam)).abs().max() > 0.1


def test_jets_over_the_cap_keep_their_hardest(jets):
    batch = Pad(cap=4, beams=False)(jets)
    assert batch.mask.sum(1).tolist() == [4, 3, 0, 1, 4, 4]
    assert torch.equal(batch.p4[4, :, 1:], jets.leading(4)[4].p3.double())


def test_only_empty_jets_and_no_jets(jets):
    assert Pad(beams=False)(jets[[2, 2]]).mask.shape == (2, 0)
    assert Pad()(jets[[2]]).mask.tolist() == [[True, True]]
    assert Pad()(jets[:0]).p4.shape == (0, 2, 4)


def test_batches_give_every_jet_once(jets, generator):
    in_order = torch.cat([batch.label for batch in batches(jets, 4)])
    assert torch.equal(in_order, jets.label.long())
    shuffled = [batch.mask.sum(1) - 2 for batch in batches(jets, 4, generator=generator)]
    assert sorted(torch.cat(shuffled).tolist()) == sorted(jets.counts.tolist())
    assert [len(counts) for counts in shuffled] == [4, 2]
    with pytest.raises(ValueError, match="at least 1"):
        next(batches(jets, 0))


def test_the_same_seed_is_the_same_order(jets):
    def labels(seed):
        batch = next(batches(jets, 6, generator=torch.Generator().manual_seed(seed)))
        return batch.mask.sum(1).tolist()

    assert labels(1) == labels(1)
    assert labels(1) != labels(2)


def test_a_loader_collates(jets):
    (batch,) = DataLoader(JetDataset(jets), batch_size=6, collate_fn=Pad())
    assert torch.equal(batch.p4, Pad()(jets).p4)


def test_graphs_are_the_batches_without_padding(jets):
    graphs, batch = JetGraphs(jets), Pad()(jets)
    assert len(graphs) == 6
    for i, graph in enumerate(graphs):
        assert torch.equal(graph.x, batch.p4[i][batch.mask[i]])
        assert torch.equal(graph.scalars, batch.scalars[i][batch.mask[i]])
        assert graph.edge_index.shape == (2, graph.num_nodes * (graph.num_nodes - 1))
        assert graph.y.item() == jets.label[i]


def test_every_pair_of_different_nodes_is_an_edge():
    edges = {tuple(edge) for edge in fully_connected(4).T.tolist()}
    assert edges == {(i, j) for i in range(4) for j in range(4) if i != j}
    assert fully_connected(1).shape == fully_connected(0).shape == (2, 0)


def test_empty_and_single_jets_are_graphs(jets):
    graphs = JetGraphs(jets, beams=False)
    assert graphs[2].num_nodes == 0
    assert graphs[3].num_nodes == 1
    assert graphs[3].edge_index.shape == (2, 0)


def test_a_convolution_on_graphs_equals_the_dense_block(jets):
    from torch_geometric.loader import DataLoader as GraphLoader

    torch.manual_seed(0)
    conv = LieGNNConv(MINKOWSKI, hidden=2, scalars=2, dtype=torch.float64).eval()
    block = LieGNNBlock(MINKOWSKI, hidden=2, scalars=2, dtype=torch.float64).eval()
    block.load_state_dict(conv.state_dict())
    batch = Pad()(jets)
    (graph,) = GraphLoader(JetGraphs(jets), batch_size=6)
    h, x = conv(graph.scalars, graph.x, graph.edge_index, graph.scalars)
    dense_h, dense_x = block(batch.scalars, batch.p4, batch.mask, batch.scalars)
    assert (h - dense_h[batch.mask]).abs().max() < EXACT
    assert (x - dense_x[batch.mask]).norm() < EXACT * x.norm()
