"""The learned group: L = sum_j theta_j B_j over a search space, g = exp(sum_i w_i L_i) with random w."""

import torch
from torch import Tensor, nn

from discover.data.search_space import SearchSpace
from equivariant.algebra import CoefficientDistribution, draw
from equivariant.expm import exponential, exponential_at

__all__ = ["Generator"]


class Generator(nn.Module):
    """c generators to be learned, and the distribution of their coefficients, fixed or learned.

    What is sampled and what is exported read one property, ``coefficients``.

    Args:
        space: where the generators are looked for.
        distribution: of the coefficients w (c,) at the start.
        size: root mean square of a generator's action on whitened data, fixed by construction; ``None`` leaves it free.
        learn_distribution: whether the mean and the scale of a normal or uniform distribution are learned too.

    Raises:
        ValueError: for more generators than the search space holds.
    """

    matrices: Tensor | None
    whitened: Tensor | None
    encode: Tensor
    decode: Tensor

    def __init__(
        self,
        space: SearchSpace,
        distribution: CoefficientDistribution,
        *,
        size: float | None = 1.0,
        learn_distribution: bool = False,
    ):
        super().__init__()
        c = len(distribution.mean)
        if c > space.size:
            raise ValueError(
                f"n_generators must be at most {space.size}, the dimension of the search space, got {c}"
            )
        self.kind, self.size, self.rank = distribution.kind, size, space.rank
        self.register_buffer("matrices", space.matrices)
        self.register_buffer("whitened", space.whitened)
        if space.matrices is None:
            self.register_buffer("encode", space.whitening.encode)
            self.register_buffer("decode", space.whitening.decode)
        self.weight = nn.Parameter(torch.empty(c, space.size, dtype=torch.float64))
        self.mean = nn.Parameter(distribution.mean.double().clone(), requires_grad=learn_distribution)
        self.log_scale = nn.Parameter(distribution.scale.double().log(), requires_grad=learn_distribution)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Random directions of root mean square action one (or ``size``)."""
        nn.init.normal_(self.weight)
        with torch.no_grad():
            norms = self.weight.norm(dim=1, keepdim=True)
            self.weight.mul_(self._norm(self.size or 1.0) / norms)

    @property
    def coefficients(self) -> Tensor:
        """theta (c, m): the generators in the basis of the search space."""
        if self.size is None:
            return self.weight
        return self.weight * (self._norm(self.size) / self.weight.norm(dim=1, keepdim=True))

    @property
    def basis(self) -> Tensor:
        """The generators (c, k, k) as they act on the data's own vectors."""
        if self.matrices is None:
            return self.decode @ self.whitened_basis @ self.encode
        return torch.einsum("cm,mij->cij", self.coefficients, self.matrices)

    @property
    def whitened_basis(self) -> Tensor:
        """The generators (c, r, r) as they act on whitened data."""
        if self.whitened is None:
            return self.coefficients.reshape(-1, self.rank, self.rank)
        return torch.einsum("cm,mij->cij", self.coefficients, self.whitened)

    @property
    def distribution(self) -> CoefficientDistribution:
        """The distribution of the coefficients as it stands."""
        return CoefficientDistribution(self.kind, self.mean, self.scale)

    @property
    def scale(self) -> Tensor:
        """Standard deviation, half width or bound (c,) of the distribution."""
        return self.log_scale.exp() if self.kind != "integer" else self.log_scale.exp().round()

    def forward(self, n: int, rng: torch.Generator | None = None) -> Tensor:
        """Group elements on whitened data, differentiable in the generators and in a learned distribution.

        Args:
            n: how many.
            rng: source of the coefficients.

        Returns:
            Elements (n, r, r).
        """
        w = draw(self.kind, self.mean, self.scale, n, rng)
        if len(self.mean) == 1:
            return exponential_at(self.whitened_basis[0], w[:, 0])
        return exponential(torch.einsum("nc,cij->nij", w, self.whitened_basis))

    def _norm(self, size: float) -> float:
        """Frobenius norm of a generator of this size on r whitened coordinates, each of variance one."""
        return size * self.rank**0.5
