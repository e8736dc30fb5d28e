"""The group that acts on a latent space: generators learned freely, learned in copies, or given."""

import re

import torch
from torch import Tensor, nn

from discover.adversarial.generator import Generator
from discover.data.search_space import SearchSpace
from discover.data.whitening import Whitening
from equivariant import catalogue
from equivariant.algebra import CoefficientDistribution, LieAlgebra
from equivariant.expm import ClosedForm, elements

__all__ = ["GivenGroup", "LatentGenerator", "Structure", "latent_group"]

Structure = str | LieAlgebra
PLANE = ClosedForm(3, 2)  # every 2 x 2 matrix without trace obeys B^3 = delta B


class LatentGenerator(Generator):
    """Generators to be learned, of fixed size on a latent space of unit covariance, with a mask on their entries.

    They start skew: of all generators of that size only skew ones keep a distribution of unit
    covariance, and a game that starts at a hyperbolic one may stay there. What is masked
    is neither sampled nor exported.
    """

    mask: Tensor

    def reset_parameters(self) -> None:
        """Random skew directions, in the search space as far as it has them; nothing masked."""
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
        """theta (c, m) of what the mask leaves, at the size they are held to."""
        left = self.weight * self.mask
        return left * (self._norm(self.size or 1.0) / left.norm(dim=1, keepdim=True))

    def forward(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """n group elements (n, k, k), differentiable; by their closed form in two dimensions."""
        if self.whitened.shape[-1] != 2:
            return super().forward(n, generator)
        return elements(self.distribution.sample(n, generator).to(self.weight), self.whitened_basis, PLANE)

    def threshold(self, level: float) -> None:
        """Mask, for good, the entries below ``level`` times the largest of their generator."""
        with torch.no_grad():
            size = self.coefficients.abs()
            self.mask.mul_(size >= level * size.amax(dim=1, keepdim=True))


class GivenGroup(nn.Module):
    """A group that is known; the same face as ``LatentGenerator``, nothing to learn."""

    basis: Tensor
    mean: Tensor
    scale: Tensor

    def __init__(self, algebra: LieAlgebra):
        super().__init__()
        self.kind, self.form = algebra.distribution.kind, algebra.form
        for name, value in {
            "basis": algebra.basis,
            "mean": algebra.distribution.mean,
            "scale": algebra.distribution.scale,
        }.items():
            self.register_buffer(name, value.clone())

    @property
    def whitened_basis(self) -> Tensor:
        """The generators (c, k, k)."""
        return self.basis

    @property
    def distribution(self) -> CoefficientDistribution:
        """The distribution of the coefficients."""
        return CoefficientDistribution(self.kind, self.mean, self.scale)

    def forward(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """n group elements (n, k, k)."""
        return self.element(self.distribution.sample(n, generator))

    def element(self, w: Tensor) -> Tensor:
        """g = exp(w.L): coefficients (..., c) to (..., k, k)."""
        return elements(w, self.basis, self.form)

    def threshold(self, level: float) -> None:
        """A given group stays as it is."""


def latent_group(
    structure: Structure, k: int, c: int, distribution: str, scale: float
) -> LatentGenerator | GivenGroup:
    """The group of a description, acting on R^k.

    ``"free"``: c generators, every entry free. ``"2*free(2)"``: c generators made of two copies of one free 2 x 2
    block. ``"so(3)"``, ``"3*so(3)"``, ``"so(2)+so(2)"``, any name ``catalogue.by_name`` reads, sums of such names
    (a product of groups, each on its own part), or an algebra: given.

    Raises ``ValueError`` for anything else, or for what does not fit k.
    """
    if isinstance(structure, str):
        free = re.fullmatch(r"\s*(?:(\d+)\s*\*\s*)?free(?:\((\d+)\))?\s*", structure)
        if free is not None:
            copies = int(free[1] or 1)
            return _learned(
                copies,
                int(free[2] or k // max(copies, 1)),
                k,
                getattr(CoefficientDistribution, distribution)(c, scale),
            )
        structure = _given(structure)
    if structure.dim != k:
        raise ValueError(
            f"structure must act on the latent space of {k} dimensions, got one that acts on {structure.dim}; "
            f"set latent_dim={structure.dim}"
        )
    chosen = getattr(CoefficientDistribution, distribution)(structure.n_generators, scale)
    return GivenGroup(LieAlgebra(structure.basis.double(), chosen))


def _given(name: str) -> LieAlgebra:
    try:
        parts = [catalogue.by_name(part) for part in name.split("+")]
    except ValueError:
        raise ValueError(
            f"unknown structure {name!r}; choose 'free', 'm*free(n)', or a sum of {catalogue.names()}"
        ) from None
    return parts[0] if len(parts) == 1 else catalogue.direct_sum(*parts)


def _learned(copies: int, size: int, k: int, distribution: CoefficientDistribution) -> LatentGenerator:
    if copies < 1 or copies * size != k:
        raise ValueError(f"{copies}*free({size}) acts on {copies * size} dimensions, but latent_dim is {k}")
    unit = torch.eye(size * size, dtype=torch.float64).reshape(-1, size, size)
    matrices = torch.stack([torch.kron(torch.eye(copies, dtype=torch.float64), m) for m in unit])
    matrices = matrices / copies**0.5
    none = Whitening.none(torch.eye(k, dtype=torch.float64))
    space = SearchSpace(matrices=matrices, whitened=matrices, whitening=none)
    if len(distribution.mean) > space.size:
        raise ValueError(f"n_generators must be at most {space.size}, got {len(distribution.mean)}")
    return LatentGenerator(space, distribution)
