"""An EMLP for evaluation: constant weight matrices, in place, features in rows; what cannot reach the answer is cut."""

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from equivariant.exact import check_like

__all__ = ["FrozenBlock", "FrozenEMLP"]


class FrozenBlock(nn.Module):
    """One block of an ``EMLP``: z = W x + b, y = z + B (z_u z_v), then scalars to silu(y), others times their gate.

    Rows of z: the wanted scalars, the other wanted features, the gates of these, and what only products need.

    Args:
        weight, bias: of the linear map; ``products (rows, p)``: the matrix B.
        pairs: rows (2, p) of the full z that are multiplied.
        gates: for each feature the row of the full z that is its gate, -1 for a scalar.
        wanted: the features that are to be given, in the order of the answer.

    Shapes: (in, n) -> (wanted, n), features in rows.
    """

    weight: Tensor
    bias: Tensor
    products: Tensor
    pairs: Tensor
    gate_of: Tensor

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor,
        products: Tensor,
        pairs: Tensor,
        gates: Tensor,
        *,
        wanted: Tensor,
    ):
        super().__init__()
        wanted = wanted[(gates[wanted] >= 0).argsort(stable=True)]
        own = gates[wanted][gates[wanted] >= 0]
        opened, gate_of = own.unique(return_inverse=True)
        changed = torch.cat([wanted, opened])
        useful = (products[changed] != 0).any(0)
        pairs = pairs[:, useful]
        more = pairs.unique()
        rows = torch.cat([changed, more[~torch.isin(more, changed)]])
        place = torch.empty(len(weight), dtype=torch.long, device=weight.device)
        place[rows] = torch.arange(len(rows), device=weight.device)
        self.wanted, self.scalars = wanted, len(wanted) - len(own)
        constants = {
            "weight": weight[rows],
            "bias": bias[rows, None],
            "products": products[changed][:, useful],
        }
        for name, tensor in {**constants, "pairs": place[pairs], "gate_of": gate_of}.items():
            self.register_buffer(name, tensor.contiguous())

    def forward(self, x: Tensor) -> Tensor:
        z = torch.addmm(self.bias, self.weight, x)
        product = z[self.pairs[0]].mul_(z[self.pairs[1]])
        y = z[: len(self.products)].addmm_(self.products, product)
        size = self.scalars + len(self.gate_of)
        silu(y[: self.scalars], inplace=True)
        y[self.scalars : size].mul_(y[size:].sigmoid()[self.gate_of])
        return y[:size]

    def take(self, features: Tensor) -> None:
        """From now on the input holds only these of the features, in this order."""
        self.weight = self.weight[:, features].contiguous()

    def extra_repr(self) -> str:
        return f"{self.weight.shape[1]} -> {len(self.wanted)} features, {self.pairs.shape[1]} products"


class FrozenEMLP(nn.Module):
    """What ``EMLP.dense`` gives: the answers of the model as it is now, without its parameters.

    Args:
        blocks: constants of each block, see ``FrozenBlock``; ``weight, bias``: of the last linear map.

    Shapes: (..., rep_in.size) -> (..., rep_out.size).
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, blocks: list[tuple[Tensor, ...]], weight: Tensor, bias: Tensor):
        super().__init__()
        self.size = blocks[0][0].shape[1] if blocks else weight.shape[1]
        frozen: list[FrozenBlock] = []
        for constants in reversed(blocks):
            after = frozen[0].weight if frozen else weight
            block = FrozenBlock(*constants, wanted=(after != 0).any(0).nonzero().squeeze(1))
            if frozen:
                frozen[0].take(block.wanted)
            else:
                weight = weight[:, block.wanted]
            frozen.insert(0, block)
        self.blocks = nn.Sequential(*frozen)
        self.register_buffer("weight", weight.contiguous())
        self.register_buffer("bias", bias)

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[-1:] != (self.size,):
            raise ValueError(f"x must have shape (..., {self.size}), got {tuple(x.shape)}")
        check_like(x, self.weight)
        rows = self.blocks(x.reshape(-1, self.size).mT)
        return torch.addmm(self.bias, rows.mT, self.weight.mT).unflatten(0, x.shape[:-1])
