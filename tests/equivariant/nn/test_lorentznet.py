import numpy as np
import pytest
import torch
from conftest import EXACT, SHARED
from safetensors.torch import load_file

from equivariant import LieGNN, load_lorentznet

WEIGHTS, REFERENCE = SHARED / "lorentznet_pretrained.safetensors", SHARED / "lorentznet_reference_io.npz"


@pytest.fixture(scope="module")
def published():
    if not (WEIGHTS.exists() and REFERENCE.exists()):
        pytest.skip("the published LorentzNet weights are not on this machine")
    data = np.load(REFERENCE, allow_pickle=False)
    jets = [slice(a, b) for a, b in zip(data["offsets"][:-1], data["offsets"][1:], strict=True)]
    arrays = {name: torch.from_numpy(data[name]) for name in ("p4", "scalars", "logits", "metric")}
    return load_file(WEIGHTS), arrays, jets


def test_published_weights_give_the_published_logits(published):
    weights, arrays, jets = published
    net = load_lorentznet(weights).double()
    with torch.no_grad():
        logits = torch.cat([net(arrays["scalars"][None, jet], arrays["p4"][None, jet]) for jet in jets])
    assert (logits - arrays["logits"]).abs().max() <= 1e-9


def test_a_padded_batch_gives_the_same(published):
    weights, arrays, jets = published
    net = load_lorentznet(weights, arrays["metric"]).double()
    longest = max(jet.stop - jet.start for jet in jets)
    scalars, momenta = (
        torch.zeros(len(jets), longest, 2).double(),
        torch.full((len(jets), longest, 4), 7.0).double(),
    )
    mask = torch.zeros(len(jets), longest, dtype=torch.bool)
    for i, jet in enumerate(jets):
        n = jet.stop - jet.start
        scalars[i, :n], momenta[i, :n], mask[i, :n] = arrays["scalars"][jet], arrays["p4"][jet], True
    with torch.no_grad():
        assert (net(scalars, momenta, mask) - arrays["logits"]).abs().max() <= 1e-9


def _published_names(net):
    state = {name: value for name, value in net.state_dict().items() if not name.endswith("metrics")}
    return {n.replace("blocks.", "LGEBs.").replace("readout.", "graph_dec."): t for n, t in state.items()}


@pytest.mark.parametrize("metric", [torch.diag(torch.tensor([-1.1, 1.2, 1.3, 1.0])), torch.randn(2, 4, 4)])
def test_another_metric_is_kept(metric, generator):
    metric = (metric + metric.mT) / 2
    made = LieGNN(metric, 2, 2, hidden=8, layers=3, clamp=100.0).eval()
    loaded = load_lorentznet(_published_names(made), metric)
    s, x = torch.randn(2, 5, 2, generator=generator), torch.randn(2, 5, 4, generator=generator)
    assert torch.allclose(loaded(s, x), made(s, x), rtol=0, atol=EXACT)
    minkowski = torch.diag(torch.tensor([1.0, -1, -1, -1])).expand_as(metric)
    assert not torch.allclose(load_lorentznet(_published_names(made), minkowski)(s, x), made(s, x))


def test_foreign_weights_get_a_sentence():
    with pytest.raises(ValueError, match="is missing"):
        load_lorentznet({"weight": torch.ones(2)})
    state = _published_names(LieGNN(torch.eye(4), 2, 2, hidden=8, layers=2))
    with pytest.raises(ValueError, match="made for 1 metric"):
        load_lorentznet(state, torch.stack([torch.eye(4), torch.eye(4)]))
    with pytest.raises(ValueError, match="missing"):
        load_lorentznet({name: t for name, t in state.items() if "phi_m" not in name})
