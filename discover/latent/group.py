"""The group that acts on a latent space: generators learned freely, learned in copies, or given."""

import re

import torch
from torch import Tensor, nn

from discover.adversarial.generator import Generator
from discover.data.search_space import SearchSpace
from discover.data.whitening import Whitening
from equivariant import catalogue
from equivariant.algebra import CoefficientDistribution, LieAlgebra, draw
from equivariant.expm import ClosedForm, elements

__all__ = ["GivenGroup", "LatentGenerator", "Structure", "latent_group"]

Structure = str | LieAlgebra
PLANE = ClosedForm(3, 2)  # every traceless 2 x 2 matrix satisfies B^3 = delta B


class LatentGenerator(Generator):
    """Generators to be learned, of fixed size on a latent space of unit covariance, with a mask on their entries.

    They start skew: of all generators of that size only skew ones leave unit covariance invariant, and a run that
    starts at a hyperbolic one may stay there. Masked entries are neither sampled nor exported.
    Args: as for ``Generator``.
    """

    mask: Tensor

    def reset_parameters(self) -> None:
        """Random skew directions, as far as the search space has them; nothing masked."""
        super().reset_parameters()
        with torch.no_grad():
            basis = torch.einsum("cm,mij->cij", self.weight, self.matrices)
            skew = torch.einsum("cij,mij->cm", basis - basis.mT, self.matrices)
            useful = skew.norm(dim=1, keepdim=True) > 1e-6 * self.weight.norm(dim=1, keepdim=True)
            start = torch.where(useful, skew, self.weight)
            self.weight.copy_(start * self.weight.norm(dim=1, keepdim=True) / start.norm(dim=1, keepdim=True))
        self.register_buffer("mask", torch.ones_like(self.weight))

    @property
    def coefficients(self) -> Tensor:
        """theta (c, m) without the masked entries, at the fixed size."""
        left = self.weight * self.mask
        return left * (self._norm(self.size or 1.0) / left.norm(dim=1, keepdim=True))

    def forward(self, n: int, rng: torch.Generator | None = None) -> Tensor:
        """n group elements (n, k, k), differentiable; by their closed form in two dimensions."""
        if self.rank != 2:
            return super().forward(n, rng)
        return elements(draw(self.kind, self.mean, self.scale, n, rng), self.whitened_basis, PLANE)

    def threshold(self, level: float) -> None:
        """Mask, for good, the entries below ``level`` times the largest of their generator."""
        with torch.no_grad():
            size = self.coefficients.abs()
            self.mask.mul_(size >= level * size.amax(dim=1, keepdim=True))


class GivenGroup(nn.Module):
    """A known group with the interface of ``LatentGenerator`` and nothing to learn.

    Args:
        algebra: its generators and the distribution of their coefficients.
    """

    basis: Tensor
    mean: Tensor
    scale: Tensor

    def __init__(self, algebra: LieAlgebra):
        super().__init__()
        distribution = algebra.distribution
        self.kind, self.form = distribution.kind, algebra.form
        tensors = {"basis": algebra.basis, "mean": distribution.mean, "scale": distribution.scale}
        for name, value in tensors.items():
            self.register_buffer(name, value.clone())

    @property
    def whitened_basis(self) -> Tensor:
        """The generators (c, k, k)."""
        return self.basis

    @property
    def distribution(self) -> CoefficientDistribution:
        """The distribution of the coefficients."""
        return CoefficientDistribution(self.kind, self.mean, self.scale)

    def forward(self, n: int, rng: torch.Generator | None = None) -> Tensor:
        """n group elements (n, k, k)."""
        return self.element(draw(self.kind, self.mean, self.scale, n, rng))

    def element(self, w: Tensor) -> Tensor:
        """g = exp(w.L): coefficients (..., c) to (..., k, k)."""
        return elements(w, self.basis, self.form)

    def threshold(self, level: float) -> None:
        """Does nothing: the generators are known."""


def latent_group(
    structure: Structure, k: int, c: int, distribution: str, scale: float
) -> LatentGenerator | GivenGroup:
    """The group of a description, acting on R^k.

    Args:
        structure: ``"free"``: c generators, every entry free. ``"2*free(2)"``: c generators made of two copies of one
            free 2 x 2 block. Or a given group: ``"so(3)"``, ``"3*so(3)"``, any name that ``catalogue.by_name`` reads,
            ``"so(2)+so(2)"`` (a product of groups, each on its own part), or an algebra.
        k: dimension of the latent space.
        c: number of generators, where they are learned.
        distribution: kind of the distribution of the coefficients.
        scale: of this distribution.

    Raises:
        ValueError: for another description, or one that does not fit k.
    """
    kind = getattr(CoefficientDistribution, distribution)
    if isinstance(structure, str):
        free = re.fullmatch(r"\s*(?:(\d+)\s*\*\s*)?free(?:\((\d+)\))?\s*", structure)
        if free is not None:
            copies = int(free[1] or 1)
            return LatentGenerator(_copies(copies, int(free[2] or k // max(copies, 1)), k), kind(c, scale))
        structure = _given(structure)
    if structure.dim != k:
        raise ValueError(
            f"structure must act on the latent space of {k} dimensions, got one that acts on {structure.dim}; "
            f"set latent_dim={structure.dim}"
        )
    return GivenGroup(LieAlgebra(structure.basis.double(), kind(structure.n_generators, scale)))


def _given(name: str) -> LieAlgebra:
    try:
        parts = [catalogue.by_name(part) for part in name.split("+")]
    except ValueError:
        raise ValueError(
            f"unknown structure {name!r}; choose 'free', 'm*free(n)', or a sum of {catalogue.names()}"
        ) from None
    return parts[0] if len(parts) == 1 else catalogue.direct_sum(*parts)


def _copies(copies: int, size: int, k: int) -> SearchSpace:
    """The block-diagonal matrices of copies of one block of this size."""
    if copies < 1 or copies * size != k:
        raise ValueError(f"{copies}*free({size}) acts on {copies * size} dimensions, but latent_dim is {k}")
    unit = torch.eye(size * size, dtype=torch.float64).reshape(-1, size, size)
    matrices = torch.stack([torch.kron(torch.eye(copies, dtype=torch.float64), m) for m in unit])
    matrices = matrices / copies**0.5
    none = Whitening.none(torch.eye(k, dtype=torch.float64))
    return SearchSpace(matrices=matrices, whitened=matrices, whitening=none)
