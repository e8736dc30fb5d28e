"""Long forecasts: encode the first snapshot, integrate the latent equation, decode, compare with the measured data."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from discover.equations.equation import Equation
from equivariant.arrays import ArrayLike, as_tensor

__all__ = ["EncoderDecoder", "Forecast", "forecast"]

CHUNK = 256  # snapshots decoded at once


class EncoderDecoder(Protocol):
    """A map from snapshots (n, *shape) to latent vectors (n, k), and one back."""

    def encode(self, x: Tensor) -> Tensor: ...
    def decode(self, z: Tensor) -> Tensor: ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Forecast:
    """A forecast from one snapshot, compared with the data; made by ``forecast``.

    Args:
        times: (T,), of the snapshots.
        latent: (T, k), the latent trajectory; not finite after a divergence.
        encoded: (T, k), the encoded data.
        error: (T,), |x_hat - x| / |x| of each snapshot; infinite where the forecast diverged.
        reconstruction_error: (T,), the same for the reconstruction psi(phi(x)), without any forecast.
        left: time at which the latent trajectory left the region of the data; ``None`` if it stayed.

    Example:
        >>> import torch
        >>> from discover import Forecast
        >>> z = torch.zeros(2, 1)
        >>> none = torch.zeros(2)
        >>> Forecast(times=none, latent=z, encoded=z, error=none, reconstruction_error=none, left=None).left is None
        True
    """

    times: Tensor
    latent: Tensor
    encoded: Tensor
    error: Tensor
    reconstruction_error: Tensor
    left: float | None


@torch.no_grad()
def forecast(
    autoencoder: EncoderDecoder,
    equation: Equation,
    x: ArrayLike,
    times: Tensor | Sequence[float],
    *,
    start: Tensor | None = None,
    method: str = "rk",
    far: float = 10.0,
) -> Forecast:
    """Forecast snapshots from the first one alone, or from a given latent vector.

    Args:
        autoencoder: has ``encode`` and ``decode``, such as a ``LatentSymmetry``.
        equation: of motion of the latent vectors.
        x: measured snapshots (T, *shape), with which the forecast is compared.
        times: (T,), of the snapshots, in the equation's unit.
        start: initial latent vector (k,), such as one fitted to part of the trajectory; phi(x[0]) by default.
        method: ``"rk"``, or ``"euler"`` with one step between snapshots, as in LaLiGAN (arXiv 2310.00105).
        far: a latent vector has left the region of the data when its distance from their centre is more than this
            multiple of the largest distance of an encoded snapshot.

    Returns:
        The forecast; a divergence is reported in ``left``, not raised.

    Raises:
        ValueError: for a first snapshot that is not finite, shapes that do not fit, or an unknown method.

    Example:
        >>> import torch
        >>> from discover import Equation, PolynomialLibrary, forecast
        >>> class Doubled:
        ...     def encode(self, x):
        ...         return x / 2
        ...     def decode(self, z):
        ...         return 2 * z
        >>> decay = Equation(PolynomialLibrary(dim=1, degree=1, constant=False), torch.tensor([[-1.0]]))
        >>> times = torch.linspace(0, 3, 20)
        >>> result = forecast(Doubled(), decay, torch.exp(-times)[:, None], times)
        >>> bool(result.error.max() < 1e-5)
        True
    """
    x, times = as_tensor(x, "x"), torch.as_tensor(times, dtype=torch.float64).cpu()
    if x.ndim < 2 or len(x) != len(times) or not len(x):
        raise ValueError(
            f"expected snapshots (T, *shape) and T times, got {tuple(x.shape)} and {tuple(times.shape)}"
        )
    if not x[0].isfinite().all():
        raise ValueError("the first snapshot must be finite: the forecast starts from it")
    encoded = torch.cat([autoencoder.encode(part) for part in x.split(CHUNK)])
    if encoded.shape != (len(x), equation.dim):
        raise ValueError(
            f"the equation is of {equation.dim} variables, but encode gave {tuple(encoded.shape)} for {len(x)}"
        )
    latent = equation.integrate(encoded[0] if start is None else start.to(encoded), times, method)
    return Forecast(
        times=times,
        latent=latent,
        encoded=encoded,
        error=_errors(autoencoder, latent, x),
        reconstruction_error=_errors(autoencoder, encoded, x),
        left=_left(latent, encoded, times, far),
    )


def _errors(autoencoder: EncoderDecoder, z: Tensor, x: Tensor) -> Tensor:
    """|psi(z) - x| / |x| of each snapshot; infinite where z or its decoded snapshot is not finite."""
    errors = []
    for latent, truth in zip(z.split(CHUNK), x.split(CHUNK), strict=True):
        error = (autoencoder.decode(latent.nan_to_num()) - truth).flatten(1).double().norm(dim=1)
        size = truth.flatten(1).double().norm(dim=1).clamp(min=torch.finfo(torch.float64).tiny)
        diverged = ~latent.isfinite().all(dim=1) | ~error.isfinite()
        errors.append(torch.where(diverged, torch.inf, error / size).cpu())
    return torch.cat(errors)


def _left(latent: Tensor, encoded: Tensor, times: Tensor, far: float) -> float | None:
    """The first time at which the latent trajectory is outside the region of the encoded data."""
    finite = encoded[encoded.isfinite().all(dim=1)].double()
    centre = finite.mean(0)
    limit = far * (finite - centre).norm(dim=1).max()
    outside = ~((latent.double() - centre).norm(dim=1) <= limit).cpu()  # NaN is outside too
    return float(times[outside.nonzero()[0, 0]]) if outside.any() and limit > 0 else None
