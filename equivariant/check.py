"""Is a function equivariant? The relative error |f(g x) - g f(x)| / |g f(x)| over random group elements."""

from collections.abc import Callable

import torch
from torch import Tensor

from equivariant.algebra import LieAlgebra
from equivariant.arrays import ArrayLike, as_floating
from equivariant.expm import exponential
from equivariant.group import Factor, Group, Symmetry, apply_random_discrete
from equivariant.rep import Rep

__all__ = ["assert_equivariant", "elements_of_size", "equivariance_error", "offset"]


def equivariance_error(
    f: Callable[[Tensor], Tensor],
    algebra: Symmetry,
    rep_in: Rep,
    rep_out: Rep,
    x: ArrayLike,
    *,
    size: float = 1.0,
    samples: int = 4,
    generator: torch.Generator | None = None,
) -> float:
    """The largest relative error |f(g x) - g f(x)| / |g f(x)|, of whole batches with one random g per row.

    Elements are exp(A) with A of spectral norm at most ``size`` (for integer coefficients, draws of their own), times
    random discrete elements; they act about the algebra's origin.

    Args:
        f: the function, from (n, ..., rep_in.size) to (n, ..., rep_out.size).
        algebra: a ``LieAlgebra``, a ``Group``, or a sequence of them (a product).
        rep_in: how the last axis of x is built.
        rep_out: how the last axis of f(x) is built.
        x: points, shape (n, ..., rep_in.size).
        size: largest spectral norm of A.
        samples: number of batches of elements.
        generator: source of randomness.

    Returns:
        The error; NaN where f gives NaN.

    Raises:
        ValueError: for x of another size, and fewer than one sample.

    Example:
        >>> from equivariant import Scalar, V, catalogue
        >>> x = torch.randn(10, 3, dtype=torch.float64)
        >>> equivariance_error(lambda x: x.norm(dim=1, keepdim=True), catalogue.rotation(3), V, Scalar, x) < 1e-12
        True
    """
    if samples < 1:
        raise ValueError(f"samples must be at least 1, got {samples}")
    group, x = Group.of(algebra), as_floating(x)
    before, after = offset(rep_in, group).to(x), offset(rep_out, group).to(x)
    with torch.no_grad():
        plain = f(x)
        errors = []
        for _ in range(samples):
            g = tuple(e.to(x) for e in elements_of_size(group, len(x), size, generator))
            expected = rep_out.act(g, plain - after) + after
            actual = f(rep_in.act(g, x - before) + before)
            errors.append(_relative(actual - expected, expected))
    return float(torch.stack(errors).max())


def assert_equivariant(
    f: Callable[[Tensor], Tensor],
    algebra: Symmetry,
    rep_in: Rep,
    rep_out: Rep,
    x: ArrayLike,
    *,
    rtol: float,
    size: float = 1.0,
    samples: int = 4,
    generator: torch.Generator | None = None,
) -> None:
    """Raise ``AssertionError`` with the numbers unless ``equivariance_error`` is at most ``rtol``; for tests.

    Args:
        f: the function, from (n, ..., rep_in.size) to (n, ..., rep_out.size).
        algebra: a ``LieAlgebra``, a ``Group``, or a sequence of them (a product).
        rep_in: how the last axis of x is built.
        rep_out: how the last axis of f(x) is built.
        x: points, shape (n, ..., rep_in.size).
        rtol: the largest relative error that is accepted; NaN never is.
        size: largest spectral norm of the exponent A of an element exp(A).
        samples: number of batches of elements.
        generator: source of randomness.

    Raises:
        AssertionError: where the error is larger.

    Example:
        >>> from equivariant import V, catalogue
        >>> assert_equivariant(lambda x: 2 * x, catalogue.lorentz(), V, V, torch.randn(5, 4), rtol=1e-5)
    """
    error = equivariance_error(
        f, algebra, rep_in, rep_out, x, size=size, samples=samples, generator=generator
    )
    if not error <= rtol:
        raise AssertionError(
            f"not equivariant: relative error {error:.3g} over elements of size <= {size}, "
            f"expected <= {rtol:.3g} ({rep_in} -> {rep_out}, {as_floating(x).dtype})"
        )


def elements_of_size(
    group: Group, n: int, size: float, generator: torch.Generator | None = None
) -> tuple[Tensor, ...]:
    """Random elements exp(A) times random discrete ones, A of spectral norm at most ``size``.

    Args:
        group: the group.
        n: how many.
        size: largest spectral norm of A.
        generator: source of randomness.

    Returns:
        A tensor (n, k, k) for each factor, in float64.
    """
    return tuple(_factor_elements(factor, n, size, generator) for factor in group.factors)


def offset(rep: Rep, group: Group) -> Tensor:
    """The point (size,) that every element fixes: the origin in every copy of V, zero in scalars.

    Args:
        rep: the representation.
        group: the group.

    Raises:
        ValueError: for other tensors of a group whose origin is not zero: only points have a place.
    """
    parts = []
    for block in rep.blocks(group.dims):
        zero = torch.zeros(block.stop - block.start, dtype=torch.float64, device=group.device)
        origins = [group.factors[axis.factor].algebra.origin for axis in block.term]
        if len(origins) == 1 and not block.term[0].dual:
            zero = zero + origins[0].double().repeat(block.copies)
        elif any(origin.any() for origin in origins):
            raise ValueError(
                f"a group about an origin acts on V and Scalar only, got {rep}; centre the data first"
            )
        parts.append(zero)
    return torch.cat(parts) if parts else torch.zeros(0, dtype=torch.float64, device=group.device)


def _factor_elements(factor: Factor, n: int, size: float, generator: torch.Generator | None) -> Tensor:
    algebra: LieAlgebra = factor.algebra.to(torch.float64)
    if algebra.distribution.kind == "integer":
        return factor.sample(n, generator).double()
    device = algebra.basis.device if generator is None else generator.device
    w = torch.randn(n, algebra.n_generators, generator=generator, device=device, dtype=torch.float64)
    tangent = torch.einsum("nc,cij->nij", w.to(algebra.basis.device), algebra.basis)
    length = torch.rand(n, 1, 1, generator=generator, device=device, dtype=torch.float64).to(tangent.device)
    norm = torch.linalg.matrix_norm(tangent, 2)[:, None, None]
    g = exponential(tangent * torch.where(norm > 0, size * length / norm, 0))
    return apply_random_discrete(g, factor.discrete, generator)


def _relative(difference: Tensor, expected: Tensor) -> Tensor:
    """|difference| / |expected|, where zero over zero is no error."""
    error, scale = difference.double().norm(), expected.double().norm()
    return torch.where((error == 0) & (scale == 0), 0.0, error / scale)
