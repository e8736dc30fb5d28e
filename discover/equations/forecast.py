"""A long forecast: encode the first snapshot, integrate the latent equation, decode, and compare with what came."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from discover.equations.equation import Equation

__all__ = ["Coder", "Forecast", "forecast"]

CHUNK = 256  # snapshots decoded at once


class Coder(Protocol):
    """Whatever maps snapshots (n, *shape) to latent vectors (n, k) and back."""

    def encode(self, x: Tensor) -> Tensor: ...
    def decode(self, z: Tensor) -> Tensor: ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Forecast:
    """What was foretold from one snapshot.

    ``times`` (T,); ``latent`` (T, k), not finite once a trajectory has run off; ``encoded`` (T, k), the truth in the
    latent space; ``error`` (T,) = |x_hat - x| / |x| of each snapshot, infinite where nothing was foretold;
    ``floor`` (T,), the same for the mere reconstruction psi(phi(x)); ``left``: time at which the latent trajectory
    left the region of the data, ``None`` where it stayed.
    """

    times: Tensor
    latent: Tensor
    encoded: Tensor
    error: Tensor
    floor: Tensor
    left: float | None


@torch.no_grad()
def forecast(
    coder: Coder,
    equation: Equation,
    x: Tensor,
    times: Tensor | Sequence[float],
    *,
    start: Tensor | None = None,
    method: str = "rk",
    far: float = 10.0,
) -> Forecast:
    """Foretell snapshots x (T, *shape) at ``times`` (T,) from x[0] alone, or from a latent vector ``start`` (k,).

    Args:
        coder: has ``encode`` and ``decode``. equation: of the latent vectors.
        x: what was measured. times: of the snapshots, in the equation's unit.
        start: where the latent trajectory begins, such as a point fitted to part of it; phi(x[0]) when left out.
        method: ``"rk"`` or ``"euler"`` with one step from snapshot to snapshot, as in LaLiGAN (arXiv 2310.00105).
        far: a latent vector has left the data when its distance from their centre is more than this many times the
            largest distance of an encoded snapshot.

    A forecast that diverges is reported in ``left``, not raised. Raises ``ValueError`` for a first snapshot that is
    not finite, shapes that do not fit, or an unknown method.
    """
    times = torch.as_tensor(times, dtype=torch.float64).cpu()
    if x.ndim < 2 or len(x) != len(times) or not len(x):
        raise ValueError(
            f"wanted snapshots (T, *shape) and T times, got {tuple(x.shape)} and {tuple(times.shape)}"
        )
    if not x[0].isfinite().all():
        raise ValueError("the first snapshot must be finite: the forecast starts from it")
    encoded = torch.cat([coder.encode(part) for part in x.split(CHUNK)])
    if encoded.shape != (len(x), equation.dim):
        raise ValueError(
            f"the equation is of {equation.dim} variables, but encode gave {tuple(encoded.shape)} for {len(x)}"
        )
    latent = equation.integrate(encoded[0] if start is None else start.to(encoded), times, method)
    return Forecast(
        times=times,
        latent=latent,
        encoded=encoded,
        error=_errors(coder, latent, x),
        floor=_errors(coder, encoded, x),
        left=_left(latent, encoded, times, far),
    )


def _errors(coder: Coder, z: Tensor, x: Tensor) -> Tensor:
    """|psi(z) - x| / |x| of each snapshot; infinite where z is not finite, or its image is not."""
    errors = []
    for latent, truth in zip(z.split(CHUNK), x.split(CHUNK), strict=True):
        missed = (coder.decode(latent.nan_to_num()) - truth).flatten(1).double().norm(dim=1)
        size = truth.flatten(1).double().norm(dim=1).clamp(min=torch.finfo(torch.float64).tiny)
        lost = ~latent.isfinite().all(dim=1) | ~missed.isfinite()
        errors.append(torch.where(lost, torch.inf, missed / size).cpu())
    return torch.cat(errors)


def _left(latent: Tensor, encoded: Tensor, times: Tensor, far: float) -> float | None:
    seen = encoded[encoded.isfinite().all(dim=1)].double()
    centre = seen.mean(0)
    limit = far * (seen - centre).norm(dim=1).max()
    gone = ~((latent.double() - centre).norm(dim=1) <= limit).cpu()  # NaN is gone too
    return float(times[gone.nonzero()[0, 0]]) if gone.any() and limit > 0 else None
