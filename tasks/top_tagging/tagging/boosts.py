"""Scores of a tagger on boosted jets: p -> B p with rapidity eta along a direction n.

.. math:: B = ((\\cosh\\eta, n^T \\sinh\\eta), (n \\sinh\\eta, 1 + (\\cosh\\eta - 1) n n^T))
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from tasks.top_tagging.data.batches import BEAMS, JetBatch, Pad
from tasks.top_tagging.data.jets import CAP, Jets

__all__ = ["RAPIDITIES", "boost", "boosted", "boosted_scores"]

RAPIDITIES = tuple(round(1.5 * i / 7, 4) for i in range(8))


def boost(rapidity: float | Tensor, direction: Tensor) -> Tensor:
    """Boosts on columns (E, px, py, pz).

    Args:
        rapidity: a number, or one for each direction.
        direction: shape (..., 3); its length does not matter.

    Returns:
        Matrices (..., 4, 4).

    Raises:
        ValueError: for a direction of length 0 or NaN.

    Example:
        >>> boost(1.0, torch.tensor([0.0, 0.0, 2.0]))[0]
        tensor([1.5431, 0.0000, 0.0000, 1.1752])
    """
    length = direction.norm(dim=-1, keepdim=True)
    if direction.shape[-1] != 3 or not bool((length > 0).all()):
        raise ValueError(
            f"direction must have shape (..., 3) and a length, got {tuple(direction.shape)} of length "
            f"{float(length.min()) if length.numel() else 0}"
        )
    n = direction / length
    rapidity = torch.as_tensor(rapidity, dtype=n.dtype).expand(n.shape[:-1])[..., None]
    matrix = torch.zeros(*n.shape[:-1], 4, 4, dtype=n.dtype, device=n.device)
    matrix[..., 0, 0] = rapidity[..., 0].cosh()
    matrix[..., 0, 1:] = matrix[..., 1:, 0] = n * rapidity.sinh()
    stretch = (rapidity.cosh() - 1)[..., None] * n[..., :, None] * n[..., None, :]
    matrix[..., 1:, 1:] = torch.eye(3, dtype=n.dtype, device=n.device) + stretch
    return matrix


def boosted(batch: JetBatch, matrix: Tensor, *, beams: bool = True) -> JetBatch:
    """A copy of ``batch``, made with beams, in which ``matrix`` (4, 4) or (b, 4, 4) has acted on the constituents.

    With ``beams`` it acts on the two beams too. Scalars of nodes are invariant and stay as they are.
    """
    p4 = batch.p4 @ matrix.mT.to(batch.p4)
    if not beams:
        p4 = torch.cat([batch.p4[:, : len(BEAMS)], p4[:, len(BEAMS) :]], dim=1)
    return replace(batch, p4=p4)


@torch.no_grad()
def boosted_scores(
    model: nn.Module,
    jets: Jets,
    rapidities: Sequence[float] = RAPIDITIES,
    *,
    beams: bool = True,
    cap: int = CAP,
    batch_size: int = 100,
    seed: int = 0,
) -> Tensor:
    """Scores of jets after boosts, each jet along a direction of its own.

    Boosts are made in float64 and handed over in the dtype and on the device of ``model``.

    Args:
        model: takes a ``JetBatch`` with beams.
        jets: what to boost.
        rapidities: of the boosts.
        beams: whether the beams are boosted, too.
        cap: constituents at most.
        batch_size: jets scored at once.
        seed: of the directions, uniform on the sphere; they are the same for every rapidity and tagger.

    Returns:
        Probabilities of top (r, n), float64.
    """
    first = next(model.parameters())
    directions = torch.randn(len(jets), 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    scores = torch.empty(len(rapidities), len(jets), dtype=torch.float64)
    pad, training = Pad(cap=cap), model.training
    model.eval()
    for chosen in jets.counts.argsort().split(batch_size):
        batch = pad(jets[chosen])
        for i, rapidity in enumerate(rapidities):
            new = boosted(batch, boost(rapidity, directions[chosen]), beams=beams)
            new = replace(new, p4=new.p4.to(first.dtype), scalars=new.scalars.to(first.dtype))
            scores[i, chosen] = model(new.to(first.device)).double().softmax(dim=-1)[:, 1].cpu()
    model.train(training)
    return scores
