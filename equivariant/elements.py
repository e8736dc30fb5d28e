r"""Elements g = exp(w.L) of one algebra, by a closed form where its matrices satisfy a short equation.

With the trace taken out, A = t + B with tr B = 0 and exp A = e^t exp B, two equations have one:

.. math::
    B^3 = \delta B: \quad & \exp B = 1 + S(\delta) B + K(\delta) B^2 \\
    B^4 = p B^2 - d: \quad & \exp B = f_C(B^2) + B f_S(B^2), \quad
    f(B^2) = f(\mu_-) + f[\mu_+, \mu_-] (B^2 - \mu_-), \quad \mu_\pm = p / 2 \pm \sqrt{p^2 / 4 - d}

with C(mu) = cosh sqrt(mu), S(mu) = sinh sqrt(mu) / sqrt(mu), K(mu) = (C(mu) - 1) / mu, all of them entire. The first
is every 2x2 matrix, rotations and Lorentz transformations of three dimensions (Rodrigues), one generator of a
single speed such as ``4*so(2)``; the second, with d <= 0, is the Lorentz algebra, mu the squares of rapidity and angle.
"""

from dataclasses import dataclass
from math import factorial

import torch
from torch import Tensor

from equivariant.exponential import exponential, is_traced, product
from equivariant.one_parameter import one_parameter

__all__ = ["ClosedForm", "closed_form", "elements"]

NEAR, TERMS = 0.25, 7  # below NEAR a series of so many terms: the next is below rounding
RTOL = 1e-13  # of an equation's violation, relative to the size of its terms


@dataclass(frozen=True)
class ClosedForm:
    """Which equation holds: its ``degree``, 3 or 4; ``multiplicity`` m in delta = tr(B^2) / m."""

    degree: int
    multiplicity: int = 2


def closed_form(basis: Tensor) -> ClosedForm | None:
    """The closed form of the elements of an algebra (c, k, k), or None; checked on many of its matrices."""
    c, k = basis.shape[:2]
    generator = torch.Generator().manual_seed(0)
    w = torch.randn(4 * c + 8, c, generator=generator, dtype=torch.float64).to(basis.device)
    a = torch.einsum("nc,cij->nij", w, basis.detach().double())
    if c == 0 or not torch.isfinite(a).all():
        return None
    b = a - _trace(a)[:, None, None] / k * torch.eye(k, dtype=a.dtype, device=a.device)
    b = b / a.flatten(1).norm(dim=1).clamp(min=torch.finfo(a.dtype).tiny)[:, None, None]
    square = b @ b
    half = _trace(square) / 2
    for m in range(1, k + 1):
        if _vanishes(square @ b - (2 * half / m)[:, None, None] * b):
            return ClosedForm(3, m)
    d = half.square() / 2 - _trace(square @ square) / 4
    unit = torch.eye(k, dtype=a.dtype, device=a.device)
    rest = square @ square - half[:, None, None] * square + d[:, None, None] * unit
    lorentz = k == 4 and _vanishes(rest) and bool((d <= RTOL).all())
    return ClosedForm(4) if lorentz else None


def elements(w: Tensor, basis: Tensor, form: ClosedForm | None = None) -> Tensor:
    """exp(w.L) for coefficients (..., c) and generators (c, k, k): (..., k, k), differentiable in both.

    ``form`` is ``closed_form(basis)``; without one, one generator goes by its powers and several by ``exponential``.
    """
    c, k = basis.shape[:2]
    if form is None and c == 1 and w.numel() and not is_traced(w):
        return one_parameter(basis[0], w.reshape(-1)).view(*w.shape[:-1], k, k)
    if form is None:
        return exponential(torch.einsum("...c,cij->...ij", w, basis))
    a = (basis.reshape(c, k * k).mT @ w.reshape(-1, c).mT).view(k, k, -1)
    trace = a.diagonal().sum(-1) / k
    unit = torch.eye(k, dtype=a.dtype, device=a.device).unsqueeze(-1)
    b = a - trace * unit
    g = _cubic(b, unit, form.multiplicity) if form.degree == 3 else _quartic(b, unit)
    return (g * trace.exp()).permute(2, 0, 1).reshape(*w.shape[:-1], k, k)


def _cubic(b: Tensor, unit: Tensor, multiplicity: int) -> Tensor:
    square = product(b, b)
    _, s, k = _entire(square.diagonal().sum(-1) / multiplicity)
    return unit + s * b + k * square


def _quartic(b: Tensor, unit: Tensor) -> Tensor:
    square = product(b, b)
    p = square.diagonal().sum(-1) / 2
    d = p.square() / 2 - (square * square.transpose(0, 1)).sum((0, 1)) / 4
    (c0, s0), (c1, s1) = _divided(p, d)
    return c0 * unit + c1 * square + product(b, s0 * unit + s1 * square)


def _entire(mu: Tensor) -> Tensor:
    """C, S and K of mu, stacked. Each branch sees only what it is for, so that no gradient meets an infinity."""
    near, positive = mu.abs() < NEAR, mu > 0
    small, far = torch.where(near, mu, 0), torch.where(near, 1, mu)
    root = far.abs().sqrt()
    boost, turn = torch.where(positive, root, 1), torch.where(positive, 1, root)
    c = torch.where(positive, boost.cosh(), turn.cos())
    s = torch.where(positive, boost.sinh(), turn.sin()) / root
    coefficients = _coefficients(mu, 3)
    series = coefficients[-1]
    for coefficient in coefficients[:-1].flip(0):
        series = torch.addcmul(coefficient, series, small)
    return torch.where(near, series, torch.stack([c, s, (c - 1) / far]))


def _divided(p: Tensor, d: Tensor) -> tuple[Tensor, Tensor]:
    """f_0 and f_1 (2, n) with f(X) = f_0 + f_1 X where X^2 = p X - d, for f = C and f = S."""
    near = (p.abs() < NEAR) & (d.abs() < NEAR**2 / 4)
    apart, centre = torch.where(near, 1, p.square() / 4 - d).sqrt(), torch.where(near, 0, p / 2)
    high, low = _entire(torch.stack([centre + apart, centre - apart]))[:2].unbind(1)
    slope = (high - low) / (2 * apart)
    value = low - (centre - apart) * slope
    u, v = _divided_series(torch.where(near, p, 0), torch.where(near, d, 0))
    return torch.where(near, u, value), torch.where(near, v, slope)


def _divided_series(p: Tensor, d: Tensor) -> tuple[Tensor, Tensor]:
    """The same for small p and d, by Horner: (u + v X) X + c = (c - d v) + (u + p v) X."""
    coefficients = _coefficients(p, 2)
    u, v = coefficients[-1].expand(2, len(p)), p.new_zeros(2, len(p))
    for coefficient in coefficients[:-1].flip(0):
        u, v = torch.addcmul(coefficient, d, v, value=-1), torch.addcmul(u, p, v)
    return u, v


def _coefficients(like: Tensor, functions: int) -> Tensor:
    """1 / (2 m + k)! of X^m, m <= TERMS, for C, S and K: (TERMS + 1, functions, 1, ...)."""
    rows = [[1 / factorial(2 * m + k) for k in range(functions)] for m in range(TERMS + 1)]
    table = torch.tensor(rows, dtype=like.dtype, device=like.device)
    return table.view(TERMS + 1, functions, *[1] * like.ndim)


def _trace(matrices: Tensor) -> Tensor:
    return matrices.diagonal(dim1=-2, dim2=-1).sum(-1)


def _vanishes(matrices: Tensor) -> bool:
    return float(matrices.abs().max()) <= RTOL
