"""Augmentation in your own training loop: a plain network learns a law of motion that turns with its input.

The torque-free force of a spring is learned on points of one half plane and tested on the other.
Run: python examples/augmentation.py
"""

import torch
from torch import Tensor, nn

from equivariant import GroupAverage, RandomGroupAction, V, catalogue, equivariance_error


def data(n: int, generator: torch.Generator, side: float) -> tuple[Tensor, Tensor]:
    """Positions x [m] in a half plane, and forces y [N]."""
    x = torch.randn(n, 2, generator=generator)
    x[:, 0] = side * x[:, 0].abs()
    return x, -x / (1 + x.square().sum(1, keepdim=True))


def main(steps: int = 400) -> dict[str, float]:
    generator = torch.Generator().manual_seed(0)
    so2 = catalogue.rotation(2)
    x, y = data(500, generator, side=-1.0)
    x_test, y_test = data(500, generator, side=1.0)
    errors = {}
    for name in ("plain", "augmented"):
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(2, 32), nn.Tanh(), nn.Linear(32, 2))
        action = RandomGroupAction(so2, V, V, generator=generator).train(name == "augmented")
        optimizer = torch.optim.Adam(net.parameters(), 1e-2)
        for _ in range(steps):
            gx, gy = action(x, y)  # one g per sample, the same for input and target
            loss = nn.functional.mse_loss(net(gx), gy)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            errors[name] = float(nn.functional.mse_loss(net(x_test), y_test))
    average = GroupAverage(net, so2, V, V, samples=8)
    with torch.no_grad():
        errors["averaged"] = float(nn.functional.mse_loss(average(x_test), y_test))
    errors["equivariance"] = equivariance_error(average, so2, V, V, x_test)
    return errors


if __name__ == "__main__":
    for name, value in main().items():
        print(f"{name:13s} {value:.2e}")
