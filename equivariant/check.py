"""Is a function equivariant? The relative error |f(g x) - g f(x)| / |g f(x)| over random group elements."""

from collections.abc import Callable

import torch
from torch import Tensor

from equivariant.algebra import LieAlgebra
from equivariant.expm import exponential
from equivariant.group import Factor, Group, Symmetry, flip
from equivariant.rep import Rep

__all__ = ["assert_equivariant", "elements_of_size", "equivariance_error", "offset"]


def equivariance_error(
    f: Callable[[Tensor], Tensor],
    algebra: Symmetry,
    rep_in: Rep,
    rep_out: Rep,
    x: Tensor,
    *,
    size: float = 1.0,
    samples: int = 4,
    generator: torch.Generator | None = None,
) -> float:
    """The largest error over ``samples`` draws of one g per row of x, over the whole batch.

    Elements are exp(A) with A of spectral norm at most ``size`` (for an integer distribution, its own draws), times
    random discrete elements; they act about the algebra's origin. NaN anywhere gives NaN.

    Shapes: x (n, ..., rep_in.size); f(x) (n, ..., rep_out.size).
    """
    group = Group.of(algebra)
    before, after = offset(rep_in, group).to(x), offset(rep_out, group).to(x)
    with torch.no_grad():
        plain = f(x)
        errors = []
        for _ in range(samples):
            g = tuple(e.to(x) for e in elements_of_size(group, len(x), size, generator))
            wanted = rep_out.act(g, plain - after) + after
            came = f(rep_in.act(g, x - before) + before)
            errors.append(_relative(came - wanted, wanted))
    return float(torch.stack(errors).max()) if samples else 0.0


def assert_equivariant(
    f: Callable[[Tensor], Tensor],
    algebra: Symmetry,
    rep_in: Rep,
    rep_out: Rep,
    x: Tensor,
    *,
    rtol: float,
    size: float = 1.0,
    samples: int = 4,
    generator: torch.Generator | None = None,
) -> None:
    """Raise ``AssertionError`` with the numbers unless the error is at most ``rtol``; NaN fails."""
    error = equivariance_error(
        f, algebra, rep_in, rep_out, x, size=size, samples=samples, generator=generator
    )
    if not error <= rtol:
        raise AssertionError(
            f"not equivariant: relative error {error:.3g} over elements of size <= {size}, "
            f"wanted <= {rtol:.3g} ({rep_in} -> {rep_out}, {x.dtype})"
        )


def elements_of_size(
    group: Group, n: int, size: float, generator: torch.Generator | None = None
) -> tuple[Tensor, ...]:
    """n elements of each factor, (n, k, k): exp of spectral norm at most ``size``, times discrete ones."""
    return tuple(_factor_elements(factor, n, size, generator) for factor in group.factors)


def offset(rep: Rep, group: Group) -> Tensor:
    """The point (size,) that stays fixed: the origin in every copy of V, zero in scalars.

    Raises ``ValueError`` for other tensors of a group whose origin is not zero: only points have a place.
    """
    parts = []
    for block in rep.blocks(group.dims):
        zero = torch.zeros(block.stop - block.start, dtype=torch.float64, device=group.device)
        origins = [group.factors[axis.factor].algebra.origin for axis in block.term]
        if len(origins) == 1 and not block.term[0].dual:
            zero = zero + origins[0].double().repeat(block.copies)
        elif any(origin.any() for origin in origins):
            raise ValueError(f"about an origin only V and Scalar can turn, got {rep}; centre the data first")
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
    return flip(g, factor.discrete, generator)


def _relative(difference: Tensor, wanted: Tensor) -> Tensor:
    """|difference| / |wanted|, where zero over zero is no error."""
    error, scale = difference.double().norm(), wanted.double().norm()
    return torch.where((error == 0) & (scale == 0), 0.0, error / scale)
