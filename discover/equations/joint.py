r"""An equation of motion trained together with its coordinates, as in the SINDy autoencoder.

With an encoder phi, a decoder psi and z' = F(z) = C Theta(z), the loss has two terms (Champion et al., PNAS 2019,
equation 7; LaLiGAN, arXiv 2310.00105), each relative to the size of what it compares with, so that neither units nor
the scale of the latent space change it:

.. math::
    |J_\phi(x) x' - F(z)|^2 / |J_\phi(x) x'|^2, \qquad |J_\psi(z) F(z) - x'|^2 / |x'|^2
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from discover.equations.equation import Equation
from discover.equations.jvp import jvp
from discover.equations.library import PolynomialLibrary
from discover.networks.fitting import seeded

__all__ = ["JointEquation", "LatentEquation", "central_rates"]

Map = Callable[[Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class JointEquation:
    """Settings of an equation of motion that is trained together with an autoencoder.

    Args:
        degree: highest degree of the monomials.
        constant: whether the monomial 1 is among them.
        latent_weight: of the loss in z, |J_phi(x) x' - F(z)|^2.
        image_weight: of the loss in x, |J_psi(z) F(z) - x'|^2.
        threshold: a term is removed when its root mean square is below this fraction of that of its rate z_i'.
        threshold_every: epochs between two removals; 0 for none.
        begin: fraction of the training after which the loss is added and terms are removed.

    Raises:
        ValueError: if a number is out of its range.

    Example:
        >>> from discover import JointEquation
        >>> settings = JointEquation(degree=2, begin=0.5, threshold_every=2)
        >>> settings.is_on(epoch=4, epochs=10), settings.is_on(epoch=5, epochs=10)
        (False, True)
        >>> settings.start(latent_dim=2)
        LatentEquation(dim=2, degree=2, terms=12)
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
        """Whether the loss is added in an epoch.

        Args:
            epoch: counted from 0.
            epochs: of the whole training.

        Returns:
            True from the fraction ``begin`` on.
        """
        return epoch >= self.begin * epochs

    def drops_after(self, epoch: int, epochs: int) -> bool:
        """Whether small terms are removed at the end of an epoch.

        Args:
            epoch: counted from 0.
            epochs: of the whole training.

        Returns:
            True once in every ``threshold_every`` epochs after ``begin``.
        """
        first = int(self.begin * epochs)
        return self.threshold_every > 0 and epoch >= first and (epoch - first + 1) % self.threshold_every == 0

    def start(
        self,
        latent_dim: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
        seed: int = 0,
    ) -> "LatentEquation":
        """The module to be trained, with small random coefficients.

        Args:
            latent_dim: k, number of latent variables.
            dtype: of the coefficients.
            device: of the coefficients.
            seed: of the coefficients.

        Returns:
            The module.
        """
        library = PolynomialLibrary(dim=latent_dim, degree=self.degree, constant=self.constant)
        rng = torch.Generator().manual_seed(seed)
        return seeded(rng, lambda: LatentEquation(library, self)).to(device, dtype)


class LatentEquation(nn.Module):
    """F(z) = C Theta(z) with C = weight * mask; the mask and the running mean squares are in the state dict.

    Args:
        library: the monomials Theta.
        settings: weights and thresholds.
    """

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
        # exponentially decaying sums over batches: mean squares of the monomials and of the rates, and their weight
        self.register_buffer("sizes", torch.zeros(len(library)))
        self.register_buffer("rates", torch.zeros(library.dim))
        self.register_buffer("seen", torch.zeros(()))

    @property
    def coefficients(self) -> Tensor:
        """C (k, p), as the loss, the thresholds and the export use it."""
        return self.weight * self.mask

    def forward(self, z: Tensor) -> Tensor:
        """dz/dt at z (..., k)."""
        return self.library(z) @ self.coefficients.mT

    def loss(self, encode: Map, decode: Map, x: Tensor, dx: Tensor) -> dict[str, Tensor]:
        """Relative mean squared errors of the rates of change, in z and in x.

        Args:
            encode: phi, on each sample separately; gets gradients through z and through its Jacobian.
            decode: psi, likewise.
            x: samples (b, ...).
            dx: their rates of change dx/dt, of the same shape, exact or by finite differences.

        Returns:
            ``"latent"``, the error of z', and ``"image"``, that of x'; ``total_loss`` adds them up.

        Raises:
            ValueError: if the shapes of x and dx differ, or the latent is not (b, k).
        """
        if x.shape != dx.shape:
            raise ValueError(f"x and dx must have the same shape, got {tuple(x.shape)} and {tuple(dx.shape)}")
        z, dz = jvp(encode, x, dx)
        predicted = self(z)
        _, image = jvp(decode, z, predicted)
        if self.training:
            self._remember(z.detach(), dz.detach())
        return {"latent": _relative(predicted, dz), "image": _relative(image, dx)}

    def total_loss(self, losses: dict[str, Tensor]) -> Tensor:
        """The sum of both terms of ``loss`` with the weights of the settings."""
        return self.settings.latent_weight * losses["latent"] + self.settings.image_weight * losses["image"]

    def symmetry_error(self, generators: Tensor) -> Tensor:
        """Violation of F(g z) = g F(z), a penalty for a known or simultaneously learned symmetry.

        Args:
            generators: L (c, k, k); with M(L) their action on the library.

        Returns:
            |L C - C M(L)|^2 relative to both terms (EquivSINDy, arXiv 2405.16756), differentiable in C and L.
        """
        left = generators @ self.coefficients
        right = self.coefficients @ self.library.action(generators)
        return (left - right).square().sum() / (left.square().sum() + right.square().sum() + 1e-12)

    @torch.no_grad()
    def solve_(self, encode: Map, x: Tensor, dx: Tensor) -> None:
        """Set the coefficients that are not masked to the least-squares solution for the present encoder."""
        z, dz = jvp(encode, x, dx)
        columns, rates = self.library(z).double(), dz.double()
        for i, kept in enumerate(self.mask):
            answer = torch.linalg.pinv(columns[:, kept], rtol=1e-8) @ rates[:, i]
            self.weight[i, kept] = answer.to(self.weight)
        self._remember(z, dz)

    @torch.no_grad()
    def threshold_(self) -> int:
        """Mask the terms that are small relative to their rate, for good.

        Returns:
            The number of terms that are left.

        Raises:
            ValueError: before the first ``loss`` in training mode, when the sizes of the terms are unknown.
        """
        self.mask &= self.contributions() >= self.settings.threshold
        return int(self.mask.sum())

    @torch.no_grad()
    def contributions(self) -> Tensor:
        """Root mean square of each term over that of its rate, (k, p), over about the last hundred batches."""
        if self.seen == 0:
            raise ValueError("the sizes of the terms are not known yet; call loss in training mode first")
        terms = self.coefficients.abs() * self.sizes.sqrt()
        return terms / self.rates.sqrt().clamp(min=torch.finfo(terms.dtype).tiny)[:, None]

    def equation(self, variables: tuple[str, ...] | None = None, time_unit: str = "") -> Equation:
        """The learned equation.

        Args:
            variables: k names; z1, z2, ... by default.
            time_unit: unit of t.

        Returns:
            A detached copy.
        """
        return Equation(self.library, self.coefficients, variables, time_unit)

    def extra_repr(self) -> str:
        return f"dim={self.library.dim}, degree={self.library.degree}, terms={int(self.mask.sum())}"

    @torch.no_grad()
    def _remember(self, z: Tensor, dz: Tensor, decay: float = 0.99) -> None:
        sizes = self.library(z).square().flatten(0, -2).mean(0)
        self.sizes.mul_(decay).add_(sizes)
        self.rates.mul_(decay).add_(dz.square().flatten(0, -2).mean(0))
        self.seen.mul_(decay).add_(1)


def central_rates(x: Tensor, dt: float) -> tuple[Tensor, Tensor]:
    """Points and their rates of change from trajectories, by central differences.

    Args:
        x: trajectories (m, T, ...) of at least 3 samples.
        dt: time between two samples.

    Returns:
        Points and rates, both (m (T - 2), ...).

    Raises:
        ValueError: for shorter trajectories or a dt that is not positive.
    """
    if x.ndim < 2 or x.shape[1] < 3 or not dt > 0:
        raise ValueError(f"expected x (m, T >= 3, ...) and dt > 0, got {tuple(x.shape)} and {dt}")
    rates = (x[:, 2:] - x[:, :-2]) / (2 * dt)
    return x[:, 1:-1].flatten(0, 1), rates.flatten(0, 1)


def _relative(value: Tensor, target: Tensor) -> Tensor:
    """|value - target|^2 / |target|^2; the target is not detached, so that shrinking it does not lower the loss."""
    tiny = torch.finfo(target.dtype).tiny
    return (value - target).square().mean() / target.square().mean().clamp(min=tiny)
