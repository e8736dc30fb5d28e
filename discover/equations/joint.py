"""An equation learned together with its coordinates: |J_phi(x) x' - F(z)|^2 and its image |J_psi(z) F(z) - x'|^2.

phi encodes x to z, psi decodes, F(z) = C Theta(z) (SINDy autoencoder, Champion et al. 2019; LaLiGAN, arXiv
2310.00105). Both terms are relative to what they should be, so neither units nor a small latent help them.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from discover.equations.equation import Equation
from discover.equations.jvp import push
from discover.equations.library import PolynomialLibrary
from discover.networks.fitting import seeded

__all__ = ["JointEquation", "LatentEquation", "central_rates"]

Map = Callable[[Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class JointEquation:
    """Settings of an equation that is trained beside an autoencoder.

    Args:
        degree, constant: of the library of monomials.
        latent_weight, image_weight: of the two terms of the loss.
        threshold: a term smaller than this, root mean square, relative to the rate z_i' it belongs to, is dropped.
        threshold_every: epochs between two droppings; 0 for none.
        begin: fraction of the training after which the loss counts and terms may be dropped.

    Raises ``ValueError`` for a number out of its range.
    """

    degree: int = 2
    constant: bool = True
    latent_weight: float = 1.0
    image_weight: float = 1.0
    threshold: float = 0.05
    threshold_every: int = 10
    begin: float = 0.0

    def __post_init__(self) -> None:
        for name in ("latent_weight", "image_weight", "threshold", "threshold_every"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        if not 0 <= self.begin <= 1:
            raise ValueError(f"begin is a fraction of the training, 0 to 1, got {self.begin}")

    def is_on(self, epoch: int, epochs: int) -> bool:
        """Whether the loss counts in this epoch, counted from 0."""
        return epoch >= self.begin * epochs

    def drops_after(self, epoch: int, epochs: int) -> bool:
        """Whether small terms are dropped at the end of this epoch; never twice within ``threshold_every``."""
        first = int(self.begin * epochs)
        return self.threshold_every > 0 and epoch >= first and (epoch - first + 1) % self.threshold_every == 0

    def start(
        self,
        latent_dim: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        seed: int = 0,
    ) -> "LatentEquation":
        """The module to be trained, its coefficients small and random from ``seed``."""
        library = PolynomialLibrary(dim=latent_dim, degree=self.degree, constant=self.constant)
        random = torch.Generator().manual_seed(seed)
        return seeded(random, lambda: LatentEquation(library, self)).to(device, dtype)


class LatentEquation(nn.Module):
    """F(z) = C Theta(z) with C = weight * mask; mask and running sizes are in the state dict."""

    weight: Tensor
    mask: Tensor
    sizes: Tensor
    rates: Tensor
    seen: Tensor

    def __init__(self, library: PolynomialLibrary, settings: JointEquation):
        super().__init__()
        self.library, self.settings = library, settings
        shape = (library.dim, len(library))
        self.weight = nn.Parameter(0.1 * torch.randn(shape))
        self.register_buffer("mask", torch.ones(shape, dtype=torch.bool))
        self.register_buffer(
            "sizes", torch.zeros(len(library))
        )  # fading sum of mean squares of the monomials
        self.register_buffer("rates", torch.zeros(library.dim))  # the same of the rates
        self.register_buffer("seen", torch.zeros(()))  # the same of ones

    @property
    def coefficients(self) -> Tensor:
        """C (k, p): the one definition, for the loss, the thresholds and the export."""
        return self.weight * self.mask

    def forward(self, z: Tensor) -> Tensor:
        """dz/dt at z (..., k)."""
        return self.library(z) @ self.coefficients.mT

    def loss(self, encode: Map, decode: Map, x: Tensor, dx: Tensor) -> dict[str, Tensor]:
        """Relative mean squared errors of the rate, ``"latent"`` in z and ``"image"`` in x; ``weigh`` adds them up.

        Args:
            encode, decode: phi and psi, each sample for itself; both get gradients, through z and through J.
            x: samples (b, ...). dx: their rates of change dx/dt, same shape, exact or by finite differences.

        Raises ``ValueError`` where the shapes of x and dx differ or the latent is not (b, k).
        """
        if x.shape != dx.shape:
            raise ValueError(f"x and dx must have one shape, got {tuple(x.shape)} and {tuple(dx.shape)}")
        z, dz = push(encode, x, dx)
        predicted = self(z)
        _, image = push(decode, z, predicted)
        if self.training:
            self._remember(z.detach(), dz.detach())
        return {"latent": _relative(predicted, dz), "image": _relative(image, dx)}

    def weigh(self, losses: dict[str, Tensor]) -> Tensor:
        """The number to descend: both terms of ``loss`` by their weights."""
        return self.settings.latent_weight * losses["latent"] + self.settings.image_weight * losses["image"]

    def symmetry_error(self, generators: Tensor) -> Tensor:
        """Relative |L C - C M(L)|^2 for generators L (c, k, k): how far F is from h(g z) = g h(z).

        A penalty for a symmetry that is known or learned at the same time (EquivSINDy, arXiv 2405.16756);
        differentiable in both.
        """
        left = generators @ self.coefficients
        right = self.coefficients @ self.library.action(generators)
        return (left - right).square().sum() / (left.square().sum() + right.square().sum() + 1e-12)

    @torch.no_grad()
    def solve_(self, encode: Map, x: Tensor, dx: Tensor) -> None:
        """Set the kept coefficients to the least-squares ones for the present encoder: a start, or a cure."""
        z, dz = push(encode, x, dx)
        columns, rates = self.library(z).double(), dz.double()
        for i, kept in enumerate(self.mask):
            answer = torch.linalg.pinv(columns[:, kept], rtol=1e-8) @ rates[:, i]
            self.weight[i, kept] = answer.to(self.weight)
        self._remember(z, dz)

    @torch.no_grad()
    def threshold_(self) -> int:
        """Drop the terms that are small against their rate; the mask only ever shrinks. Returns how many are left.

        Raises ``ValueError`` before the first ``loss`` in training mode, when no sizes are known.
        """
        self.mask &= self.contributions() >= self.settings.threshold
        return int(self.mask.sum())

    @torch.no_grad()
    def contributions(self) -> Tensor:
        """Root mean square of each term over that of its rate, (k, p), over the last hundred batches or so."""
        if self.seen == 0:
            raise ValueError("the sizes of the terms are not known yet; call loss in training mode first")
        terms = self.coefficients.abs() * self.sizes.sqrt()
        return terms / self.rates.sqrt().clamp(min=torch.finfo(terms.dtype).tiny)[:, None]

    def equation(self, variables: tuple[str, ...] | None = None, time_unit: str = "") -> Equation:
        """What has been learned, as a value."""
        return Equation(self.library, self.coefficients, variables, time_unit)

    def extra_repr(self) -> str:
        return f"dim={self.library.dim}, degree={self.library.degree}, terms={int(self.mask.sum())}"

    @torch.no_grad()
    def _remember(self, z: Tensor, dz: Tensor, fade: float = 0.99) -> None:
        sizes = self.library(z).square().flatten(0, -2).mean(0)
        self.sizes.mul_(fade).add_(sizes)
        self.rates.mul_(fade).add_(dz.square().flatten(0, -2).mean(0))
        self.seen.mul_(fade).add_(1)


def central_rates(x: Tensor, dt: float) -> tuple[Tensor, Tensor]:
    """Trajectories (m, T, ...) at steps of ``dt`` to points and rates (m (T - 2), ...), by central differences."""
    if x.ndim < 2 or x.shape[1] < 3 or not dt > 0:
        raise ValueError(f"wanted x (m, T >= 3, ...) and dt > 0, got {tuple(x.shape)} and {dt}")
    rates = (x[:, 2:] - x[:, :-2]) / (2 * dt)
    return x[:, 1:-1].flatten(0, 1), rates.flatten(0, 1)


def _relative(value: Tensor, target: Tensor) -> Tensor:
    """|value - target|^2 / |target|^2; the target is not detached, so shrinking it brings nothing."""
    tiny = torch.finfo(target.dtype).tiny
    return (value - target).square().mean() / target.square().mean().clamp(min=tiny)
