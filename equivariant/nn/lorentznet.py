"""Published LorentzNet weights in a ``LieGNN``: the same block with J = diag(1, -1, -1, -1)."""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from equivariant.arrays import ArrayLike, as_tensor
from equivariant.nn.liegnn import LieGNN

__all__ = ["load_lorentznet"]

NAMES = {"LGEBs.": "blocks.", "graph_dec.": "readout."}


def load_lorentznet(
    state_dict: Mapping[str, Tensor],
    metric: ArrayLike | None = None,
    *,
    step: float = 5e-3,
    dropout: float = 0.2,
) -> LieGNN:
    """A ``LieGNN`` with LorentzNet's weights, in ``eval()`` mode and in their dtype.

    Gong et al. 2022, arXiv 2201.08187.

    Scalars are those of LorentzNet; beams are nodes like the others. The published code averages over all
    nodes of the padded batch; here padding never counts, so give single jets or batches with a mask.

    Args:
        state_dict: key names as published (``LGEBs.0.phi_e.0.weight``, ..., ``graph_dec.3.bias``); sizes and
            number of layers are read from it.
        metric: the invariant form (k, k) or forms (r, k, k); default Minkowski, signature (+,-,-,-).
        step: the published ``c_weight``, which a state dict does not hold.
        dropout: the published ``dropout``, which a state dict does not hold.

    Returns:
        The network, for ``net(scalars, x, mask)``.

    Raises:
        ValueError: where a key is missing or a metric has another number of forms than the weights.

    Example:
        >>> from equivariant import LieGNN
        >>> minkowski = torch.diag(torch.tensor([1.0, -1.0, -1.0, -1.0]))
        >>> state = LieGNN(minkowski, 1, hidden=8, layers=2).state_dict()
        >>> published = {n.replace("blocks", "LGEBs").replace("readout", "graph_dec"): t for n, t in state.items()}
        >>> load_lorentznet(published)(torch.zeros(1, 5, 1), torch.randn(1, 5, 4)).shape
        torch.Size([1, 2])
    """
    weights = {_renamed(name): tensor for name, tensor in state_dict.items()}
    first = _get(weights, "blocks.0.phi_e.0.weight")
    hidden, scalars = _get(weights, "embedding.weight").shape
    given = (
        torch.diag(torch.tensor([1.0, -1.0, -1.0, -1.0])) if metric is None else as_tensor(metric, "metric")
    )
    forms = (first.shape[1] - 2 * hidden) // 2
    if forms != (1 if given.ndim == 2 else len(given)):
        raise ValueError(f"these weights were made for {forms} metric(s), got shape {tuple(given.shape)}")
    net = LieGNN(
        given.to(first.device),
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
            f"these are not LorentzNet's weights: {name} is missing; expected its published key names"
        )
    return weights[name]
