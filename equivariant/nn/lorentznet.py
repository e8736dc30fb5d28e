"""Published LorentzNet weights in a ``LieGNN``: the same block with J = diag(1, -1, -1, -1)."""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from equivariant.nn.liegnn import LieGNN

__all__ = ["load_lorentznet"]

NAMES = {"LGEBs.": "blocks.", "graph_dec.": "readout."}


def load_lorentznet(
    state_dict: Mapping[str, Tensor],
    metric: Tensor | None = None,
    *,
    step: float = 5e-3,
    dropout: float = 0.2,
) -> LieGNN:
    """A ``LieGNN`` with LorentzNet's weights, in ``eval()`` mode and in their dtype (Gong et al. 2022, 2201.08187).

    Args:
        state_dict: key names as published (``LGEBs.0.phi_e.0.weight``, ..., ``graph_dec.3.bias``); sizes and
            number of layers are read from it.
        metric: the invariant form (k, k) or forms (r, k, k); default Minkowski, signature (+,-,-,-).
        step, dropout: the published ``c_weight`` and ``dropout``, which a state dict does not hold.

    Scalars are those of LorentzNet; beams are nodes like the others. The published code averages over all
    nodes of the padded batch; here padding never counts, so give single jets or batches with a mask.
    Raises ``ValueError`` where a key is missing or a metric has another number of forms than the weights.
    """
    weights = {_renamed(name): tensor for name, tensor in state_dict.items()}
    first = _get(weights, "blocks.0.phi_e.0.weight")
    hidden, scalars = _get(weights, "embedding.weight").shape
    metric = torch.diag(torch.tensor([1.0, -1.0, -1.0, -1.0])) if metric is None else metric
    forms = (first.shape[1] - 2 * hidden) // 2
    if forms != (1 if metric.ndim == 2 else len(metric)):
        raise ValueError(f"these weights were made for {forms} metric(s), got {tuple(metric.shape)}")
    net = LieGNN(
        metric.to(first.device),
        scalars,
        len(_get(weights, "readout.3.bias")),
        hidden=hidden,
        layers=1 + max(int(name.split(".")[1]) for name in weights if name.startswith("blocks.")),
        dropout=dropout,
        step=step,
        clamp=100.0,
        dtype=first.dtype,
    )
    constants = {name: buffer for name, buffer in net.named_buffers() if name.endswith("metrics")}
    missing, unexpected = net.load_state_dict({**weights, **constants}, strict=False)
    if missing or unexpected:
        raise ValueError(
            f"these are not LorentzNet's weights: missing {missing[:3]}, unknown {unexpected[:3]}"
        )
    return net.eval()


def _renamed(name: str) -> str:
    for old, new in NAMES.items():
        name = re.sub("^" + re.escape(old), new, name)
    return name


def _get(weights: Mapping[str, Tensor], name: str) -> Tensor:
    if name not in weights:
        raise ValueError(
            f"these are not LorentzNet's weights: {name} is missing; wanted its published key names"
        )
    return weights[name]
