"""A compact one-parameter group as trigonometry: exp(t L) = P + sum_m cos(m w t) C_m + sin(m w t) S_m."""

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Turn", "turn_of"]

HIGHEST = 64  # the largest ratio of frequencies that still counts as commensurate


@dataclass(frozen=True, kw_only=True, eq=False)
class Turn:
    """The closed form of a rotation with commensurate frequencies.

    ``orders (f,)``: the whole numbers m > 0, ascending; ``cosines``, ``sines (f, k, k)``: C_m and S_m;
    ``fixed (k, k)``: P, the projector on what does not move; ``frequency``: w, the common divisor [1/t].
    """

    orders: Tensor
    cosines: Tensor
    sines: Tensor
    fixed: Tensor
    frequency: float

    def element(self, angles: Tensor) -> Tensor:
        """exp(angle L / w), shape (..., k, k), of period 2 pi."""
        phases = angles[..., None, None, None] * self.orders[:, None, None]
        return (phases.cos() * self.cosines + phases.sin() * self.sines).sum(-3) + self.fixed

    def to(self, like: Tensor) -> "Turn":
        """A copy on the device and in the dtype of a tensor."""
        tensors = {name: getattr(self, name).to(like) for name in ("orders", "cosines", "sines", "fixed")}
        return Turn(**tensors, frequency=self.frequency)


def turn_of(generator: Tensor, rtol: float = 1e-7) -> Turn | None:
    """The closed form for L (k, k), or None where exp(t L) has no period.

    No period: an eigenvalue with a real part, frequencies without a common divisor, no frequency at all, or
    an L that cannot be diagonalised.
    """
    values, right = torch.linalg.eig(generator.detach().double())
    size = float(values.abs().max())
    if size == 0 or float(values.real.abs().max()) > rtol * size or float(torch.linalg.cond(right)) > 1e6:
        return None
    frequency, orders = _common_divisor(values.imag, rtol)
    if frequency is None:
        return None
    left = torch.linalg.inv(right)
    distinct = [int(m) for m in orders.unique() if m > 0]
    projectors = [right[:, orders == m] @ left[orders == m] for m in distinct]
    fixed = (right[:, orders == 0] @ left[orders == 0]).real
    return Turn(
        orders=torch.tensor(distinct, dtype=torch.float64, device=generator.device),
        cosines=torch.stack([2 * p.real for p in projectors]),
        sines=torch.stack([-2 * p.imag for p in projectors]),
        fixed=fixed,
        frequency=frequency,
    )


def _common_divisor(frequencies: Tensor, rtol: float) -> tuple[float | None, Tensor]:
    """The largest w of which all frequencies are whole multiples, and the multiples."""
    largest = float(frequencies.abs().max())
    for n in range(1, HIGHEST + 1):
        multiples = frequencies * (n / largest)
        if float((multiples - multiples.round()).abs().max()) <= rtol * n:
            return largest / n, multiples.round()
    return None, frequencies
