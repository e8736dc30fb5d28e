r"""Group elements g = exp(A) of small matrices, each by the quickest way that is exact.

``exponential`` takes any batch of matrices; ``exponential_at`` one generator at many times; ``elements`` the
coefficients of an algebra, and uses a closed form where its matrices satisfy a short equation. With the trace taken
out, A = t + B with tr B = 0 and exp A = e^t exp B, two equations have one:

.. math::
    B^3 = \delta B: \quad & \exp B = 1 + S(\delta) B + K(\delta) B^2 \\
    B^4 = p B^2 - d: \quad & \exp B = f_C(B^2) + B f_S(B^2), \quad
    f(B^2) = f(\mu_-) + f[\mu_+, \mu_-] (B^2 - \mu_-), \quad \mu_\pm = p / 2 \pm \sqrt{p^2 / 4 - d}

with C(mu) = cosh sqrt(mu), S(mu) = sinh sqrt(mu) / sqrt(mu), K(mu) = (C(mu) - 1) / mu, all of them entire. The first
is every 2x2 matrix, rotations and Lorentz transformations of three dimensions (Rodrigues), one generator of a single
frequency such as ``4*so(2)``; the second, with d <= 0, is the Lorentz algebra, mu the squares of rapidity and angle.

``one_parameter_group`` writes a compact one-parameter group as a sum of cosines and sines.
"""

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

BOUND = 0.5  # on the norm of A / 2^s in exponential: the terms left out are then below rounding
DEGREES = {torch.float64: 12, torch.float32: 8}
SMALL = 8  # up to this size, products of whole planes of the batch beat batched matrix products
RADIUS, DOUBLINGS, FAR = (
    4.0,
    5,
    64.0,
)  # of exponential_at: |t L| before squaring, log2 of the powers, largest |t L|
NEAR, TERMS = 0.25, 7  # below NEAR a series of so many terms: the next is below rounding
RTOL = 1e-13  # of a closed form's equation, relative to the size of its terms
HIGHEST = 64  # the largest ratio of frequencies that still counts as commensurate


def exponential(matrices: Tensor) -> Tensor:
    """exp(A) for a batch of small matrices, differentiable any number of times.

    The matrices are scaled by the largest norm of the batch, and squared after a Taylor polynomial in blocks
    of four powers (Paterson, Stockmeyer 1973). The backward is a few small products, where
    ``torch.linalg.matrix_exp`` exponentiates matrices of twice the size. Other dtypes, large norms, and calls
    under ``torch.compile`` or ``vmap`` (the number of squarings depends on the data) use the latter.

    Args:
        matrices: A, shape (..., k, k).

    Returns:
        Matrices (..., k, k).

    Example:
        >>> exponential(torch.zeros(1, 2, 2))
        tensor([[[1., 0.],
                 [0., 1.]]])
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


def exponential_at(generator: Tensor, times: Tensor) -> Tensor:
    """exp(t L) for one generator and many times, differentiable in both.

    The powers L^m, m < 32, are made once and each element is a combination of them, squared where |t L| is
    above 4. For eager code, as it reads the largest |t L|; beyond 64 it is ``exponential``.

    Args:
        generator: L, shape (k, k).
        times: t, shape (n,).

    Returns:
        Matrices (n, k, k).
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


def elements(w: Tensor, basis: Tensor, form: "ClosedForm | None" = None) -> Tensor:
    """exp(w.L) for coefficients and generators, differentiable in both.

    Args:
        w: coefficients, shape (..., c).
        basis: generators L, shape (c, k, k).
        form: ``closed_form(basis)``; without one, a single generator uses ``exponential_at``, several ``exponential``.

    Returns:
        Matrices (..., k, k).

    Example:
        >>> from equivariant import catalogue
        >>> basis = catalogue.rotation(2).basis
        >>> elements(torch.tensor([torch.pi]), basis.float(), closed_form(basis)).round().abs()
        tensor([[1., 0.],
                [0., 1.]])
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


@dataclass(frozen=True)
class ClosedForm:
    """Which equation the matrices of an algebra satisfy, see the head of this file.

    Args:
        degree: 3 or 4.
        multiplicity: m in delta = tr(B^2) / m, for degree 3.
    """

    degree: int
    multiplicity: int = 2


def closed_form(basis: Tensor) -> ClosedForm | None:
    """The closed form of the elements of an algebra, or None; checked on many of its matrices.

    Args:
        basis: generators, shape (c, k, k).
    """
    c, k = basis.shape[:2]
    rng = torch.Generator().manual_seed(0)
    w = torch.randn(4 * c + 8, c, generator=rng, dtype=torch.float64).to(basis.device)
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
    hyperbolic, circular = torch.where(positive, root, 1), torch.where(positive, 1, root)
    c = torch.where(positive, hyperbolic.cosh(), circular.cos())
    s = torch.where(positive, hyperbolic.sinh(), circular.sin()) / root
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


@dataclass(frozen=True, kw_only=True, eq=False)
class OneParameterGroup:
    """A compact one-parameter group in closed form: exp(t L) = P + sum_m cos(m w t) C_m + sin(m w t) S_m.

    Made by ``one_parameter_group``; a rotation whose frequencies are whole multiples of one, w.

    Args:
        orders: the whole numbers m > 0, ascending, shape (f,).
        cosines: C_m, shape (f, k, k).
        sines: S_m, shape (f, k, k).
        fixed: P, the projector on the vectors that do not move, shape (k, k).
        frequency: w, the common divisor, per unit of t.
    """

    orders: Tensor
    cosines: Tensor
    sines: Tensor
    fixed: Tensor
    frequency: float

    def element(self, angles: Tensor) -> Tensor:
        """exp(angle L / w), of period 2 pi.

        Args:
            angles: shape (...,) [rad].

        Returns:
            Matrices (..., k, k).
        """
        phases = angles[..., None, None, None] * self.orders[:, None, None]
        return (phases.cos() * self.cosines + phases.sin() * self.sines).sum(-3) + self.fixed

    def to(self, like: Tensor) -> "OneParameterGroup":
        """A copy on the device and in the dtype of a tensor.

        Args:
            like: the tensor.
        """
        tensors = {name: getattr(self, name).to(like) for name in ("orders", "cosines", "sines", "fixed")}
        return OneParameterGroup(**tensors, frequency=self.frequency)


def one_parameter_group(generator: Tensor, rtol: float = 1e-7) -> OneParameterGroup | None:
    """The one-parameter group of a generator, or None where exp(t L) has no period.

    No period: an eigenvalue with a real part, frequencies without a common divisor, no frequency at all, or
    an L that cannot be diagonalised.

    Args:
        generator: L, shape (k, k).
        rtol: relative tolerance for real parts and for ratios of frequencies.

    Example:
        >>> plane = torch.tensor([[0.0, -1.0], [1.0, 0.0]])
        >>> group = one_parameter_group(torch.block_diag(2 * plane, 3 * plane))
        >>> group.orders.tolist(), round(group.frequency, 6)
        ([2.0, 3.0], 1.0)
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


def product(a: Tensor, b: Tensor) -> Tensor:
    """The matrix products of two batches whose batch is the last axis.

    Args:
        a: shape (k, k, batch).
        b: shape (k, k, batch).
    """
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
    """Whether a call is under ``torch.compile``, ``torch.jit.trace`` or a transform such as ``vmap``.

    Args:
        matrices: an argument of the call.
    """
    if torch.compiler.is_compiling():  # first: the compiler cannot follow the question below
        return True
    wrapped = torch._C._functorch.is_functorch_wrapped_tensor(matrices)  # type: ignore[attr-defined]
    return torch.jit.is_tracing() or wrapped  # type: ignore[attr-defined]
