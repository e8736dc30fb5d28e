"""The published EMLP package (extra ``emlp``) as a peer: groups both ways, under names unique to their content."""

from typing import Any

import numpy as np
import torch

from equivariant.algebra import LieAlgebra
from equivariant.group import Factor, Group, Symmetry
from equivariant.intertwiners import problem_key

__all__ = ["from_emlp", "to_emlp"]


def to_emlp(algebra: Symmetry) -> Any:
    """An ``emlp.groups.Group`` with the generators and discrete elements of one factor.

    The package caches solutions by the group's name, so the name here is the digest of the content: two
    discovered groups of one size never share an answer. Generators come at size one, since its cut-off is
    absolute.

    Args:
        algebra: a ``LieAlgebra``, or a ``Group`` of one factor.

    Returns:
        The group of the published package.

    Raises:
        ImportError: without the extra ``emlp``.
        ValueError: for a product.

    Example:
        >>> from equivariant import catalogue
        >>> to_emlp(catalogue.rotation(3)).d  # doctest: +SKIP
        3
    """
    groups = _groups()
    group = Group.of(algebra)
    if len(group.factors) != 1:
        raise ValueError(
            f"expected one factor, got {len(group.factors)}; convert each, then multiply them in emlp"
        )
    factor = group.factors[0]

    class Converted(groups.Group):
        def __init__(self, name: str):
            self.lie_algebra = factor.continuous.cpu().numpy()
            self.discrete_generators = factor.finite.cpu().numpy()
            self.d = factor.algebra.dim
            super().__init__(name)

    return Converted("liesmith_" + _content(factor))


def from_emlp(group: Any) -> Group:
    """A ``Group`` with the generators and discrete elements of an ``emlp.groups.Group``, in float64.

    Args:
        group: a group of the published package.

    Returns:
        The same group here; its algebra's provenance holds the name.

    Raises:
        ValueError: for anything else.

    Example:
        >>> from emlp.groups import SO  # doctest: +SKIP
        >>> from_emlp(SO(3)).dims  # doctest: +SKIP
        (3,)
    """
    if not hasattr(group, "d"):
        raise ValueError(f"expected an emlp.groups.Group, got {type(group).__name__}")
    d = int(group.d)
    continuous = _dense(getattr(group, "lie_algebra", ()), d)
    discrete = _dense(getattr(group, "discrete_generators", ()), d)
    algebra = LieAlgebra(continuous, provenance={"method": "from_emlp", "name": repr(group)})
    return Group((Factor(algebra, discrete),))


def _dense(matrices: Any, d: int) -> torch.Tensor:
    """Matrices, or lazy linear operators, as a tensor (c, d, d)."""
    columns = np.eye(d)
    parts = [np.asarray(m @ columns, dtype=np.float64) for m in matrices]
    return torch.from_numpy(np.stack(parts)) if parts else torch.zeros(0, d, d, dtype=torch.float64)


def _content(factor: Factor) -> str:
    return problem_key(Group((factor,)), (), 0.0)[:16]


def _groups() -> Any:
    try:
        import emlp.groups
    except ImportError as error:
        raise ImportError(
            f"the published EMLP package is missing ({error}); pip install 'liesmith[emlp]'"
        ) from None
    return emlp.groups
