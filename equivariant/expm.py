"""Matrix exponentials of batches of small matrices: g = exp(A) = (sum_n (A / 2^s)^n / n!)^(2^s)."""

from dataclasses import dataclass
from math import ceil, factorial, log2
from typing import Any

import torch
from torch import Tensor

__all__ = [
    "ClosedForm",
    "OneParameterGroup",
    "closed_form",
    "elements",
    "exponential",
    "exponential_at",
    "is_traced",
    "one_parameter_group",
    "product",
]

BOUND = 0.5  # on the norm of A / 2^s: the terms left out are then below rounding
DEGREES = {torch.float64: 12, torch.float32: 8}
SMALL = 8  # up to this size, products of whole planes of the batch beat batched matrix products


def exponential(matrices: Tensor) -> Tensor:
    """exp(A) for a batch A (..., k, k), differentiable any number of times.

    The matrices are scaled by the largest norm of the batch, and squared after a Taylor polynomial in blocks
    of four powers (Paterson, Stockmeyer 1973). The backward is a few small products, where
    ``torch.linalg.matrix_exp`` exponentiates matrices of twice the size. Other dtypes, large norms, and calls
    under ``torch.compile`` or ``vmap`` (the number of squarings depends on the data) use the latter.
    """
    if matrices.dtype not in DEGREES or matrices.numel() == 0 or is_traced(matrices):
        return torch.linalg.matrix_exp(matrices)
    size = float(matrices.detach().abs().sum(-1).max())
    squarings = max(0, ceil(log2(size / BOUND))) if size > 0 else 0
    if not squarings <= 10:
        return torch.linalg.matrix_exp(matrices)
    a = matrices.reshape(-1, *matrices.shape[-2:]).permute(1, 2, 0).contiguous() / 2**squarings
    result = _taylor(a, DEGREES[matrices.dtype])
    for _ in range(squarings):
        result = product(result, result)
    return result.permute(2, 0, 1).reshape(matrices.shape)


def _taylor(a: Tensor, degree: int) -> Tensor:
    """sum_{n <= degree} a^n / n! for a (k, k, b), degree a multiple of four."""
    square = product(a, a)
    fourth = product(square, square)
    identity = torch.eye(len(a), dtype=a.dtype, device=a.device).unsqueeze(-1).expand_as(a)
    powers = torch.stack([identity, a, square, product(square, a), fourth])
    rows = [[1 / factorial(n + i) for i in range(4)] + [0.0] for n in range(0, degree, 4)]
    rows[-1][4] = 1 / factorial(degree)
    blocks = torch.tensordot(torch.tensor(rows, dtype=a.dtype, device=a.device), powers, dims=1)
    result = blocks[-1]
    for block in blocks[:-1].flip(0):
        result = block + product(fourth, result)
    return result


def product(a: Tensor, b: Tensor) -> Tensor:
    """The matrix products of a and b (k, k, batch)."""
    small = len(a) <= SMALL and not (is_traced(a) or is_traced(b))
    return _SmallProduct.apply(a, b) if small else _batched(a, b)


class _SmallProduct(torch.autograd.Function):
    """sum_j a_ij b_jl as k products of whole planes; its gradients are products of the same kind."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor) -> Tensor:  # type: ignore[override]
        ctx.save_for_backward(a, b)
        total = a[:, 0, None] * b[0]
        for j in range(1, len(a)):
            total.addcmul_(a[:, j, None], b[j])
        return total

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        a, b = ctx.saved_tensors
        return product(grad, b.transpose(0, 1)), product(a.transpose(0, 1), grad)


def _batched(a: Tensor, b: Tensor) -> Tensor:
    return (a.permute(2, 0, 1) @ b.permute(2, 0, 1)).permute(1, 2, 0)


def is_traced(matrices: Tensor) -> bool:
    """Whether a call is under ``torch.compile`` or a transform such as ``vmap``."""
    wrapped = torch._C._functorch.is_functorch_wrapped_tensor(matrices)  # type: ignore[attr-defined]
    return torch.compiler.is_compiling() or wrapped


HIGHEST = 64  # the largest ratio of frequencies that still counts as commensurate


@dataclass(frozen=True, kw_only=True, eq=False)
class OneParameterGroup:
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

    def to(self, like: Tensor) -> "OneParameterGroup":
        """A copy on the device and in the dtype of a tensor."""
        tensors = {name: getattr(self, name).to(like) for name in ("orders", "cosines", "sines", "fixed")}
        return OneParameterGroup(**tensors, frequency=self.frequency)


def one_parameter_group(generator: Tensor, rtol: float = 1e-7) -> OneParameterGroup | None:
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
    return OneParameterGroup(
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


RADIUS, DOUBLINGS, FAR = 4.0, 5, 64.0


def exponential_at(generator: Tensor, times: Tensor) -> Tensor:
    """exp(t L) for one generator L (k, k) and many times t (n,): (n, k, k), differentiable in both.

    The powers L^m, m < 32, are made once and each element is a combination of them, squared where |t L| is
    above 4. For eager code, as it reads the largest |t L|; beyond 64 it is ``exponential``.
    """
    size = float(generator.detach().norm() * times.detach().abs().amax()) if times.numel() else 0.0
    if not size <= FAR:
        return exponential(times[:, None, None] * generator)
    squarings = max(0, ceil(log2(size / RADIUS))) if size > 0 else 0
    powers = _powers(generator)
    orders = torch.arange(len(powers), dtype=times.dtype, device=times.device)
    weights = (times[:, None] / 2**squarings) ** orders / torch.exp(torch.lgamma(orders + 1))
    result = (weights @ powers.flatten(1)).unflatten(1, generator.shape)
    for _ in range(squarings):
        result = result @ result
    return result


def _powers(generator: Tensor) -> Tensor:
    """L^m for m < 32, by doubling the list."""
    powers = torch.eye(generator.shape[-1], dtype=generator.dtype, device=generator.device)[None]
    step = generator
    for _ in range(DOUBLINGS):
        powers = torch.cat([powers, powers @ step])
        step = step @ step
    return powers


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
        return exponential_at(basis[0], w.reshape(-1)).view(*w.shape[:-1], k, k)
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
