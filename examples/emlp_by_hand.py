"""An EMLP for a group typed in by hand: the symmetries of a magnet with one axis (turns about z, and z -> -z).

The moment of inertia of five points, a matrix T(2), is learned from their positions.
Run: python examples/emlp_by_hand.py
"""

import torch

from equivariant import EMLP, Group, LieAlgebra, T, V, assert_equivariant

TURN = torch.tensor([[[0.0, -1, 0], [1, 0, 0], [0, 0, 0]]])
MIRROR = torch.diag(torch.tensor([1.0, 1, -1]))


def inertia(x: torch.Tensor) -> torch.Tensor:
    """sum |r|^2 1 - r r^T, flat (n, 9), from five positions, flat (n, 15)."""
    r = x.view(-1, 5, 3)
    outer = torch.einsum("npi,npj->nij", r, r)
    trace = outer.diagonal(dim1=1, dim2=2).sum(1)
    return (trace[:, None, None] * torch.eye(3) - outer).flatten(1)


def main(steps: int = 150) -> float:
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    group = Group.with_discrete(LieAlgebra(TURN), MIRROR)
    net = EMLP(5 * V, T(2), group, hidden=96, layers=2)
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    for _ in range(steps):
        x = torch.randn(128, 15, generator=generator)
        loss = (net(x) - inertia(x)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    x = torch.randn(500, 15, generator=generator)
    assert_equivariant(net, group, 5 * V, T(2), x, rtol=1e-4)
    with torch.no_grad():
        return float((net(x) - inertia(x)).square().mean() / inertia(x).var())


if __name__ == "__main__":
    print(f"unexplained variance {main():.3f}; equivariant to 1e-4 with any weights")
