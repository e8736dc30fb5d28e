"""The law of the coefficients w in g = exp(sum_i w_i L_i): normal, uniform, or integer with both ends."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

__all__ = ["CoefficientLaw", "check_finite", "draw"]

KINDS = ("normal", "uniform", "integer")


@dataclass(frozen=True, eq=False, init=False)
class CoefficientLaw:
    """The law of the coefficients w (c,) in g = exp(w.L).

    ``normal``: w = mean + scale z with z standard normal; ``uniform``: w = mean + scale u with u in [-1, 1];
    ``integer``: w = mean + j with j uniform over the integers -scale..scale, both ends included.

    Shapes: ``mean (c,)``; ``scale (c,)``, or ``(c, c)`` to mix the coefficients (not for ``integer``).
    Raises ``ValueError`` for an unknown kind, a wrong shape, a non-finite number or a non-integer bound.
    """

    kind: str
    mean: Tensor
    scale: Tensor

    def __init__(self, kind: str, mean: Tensor, scale: Tensor):
        if kind not in KINDS:
            raise ValueError(f"unknown coefficient law {kind!r}; choose from {list(KINDS)}")
        if mean.ndim != 1:
            raise ValueError(f"mean must have shape (c,), got {tuple(mean.shape)}")
        c = len(mean)
        if tuple(scale.shape) not in ((c,), (c, c)):
            raise ValueError(
                f"scale must have shape ({c},) or ({c}, {c}) like its mean, got {tuple(scale.shape)}"
            )
        check_finite("mean", mean)
        check_finite("scale", scale)
        if kind == "integer" and (scale.ndim != 1 or (scale != scale.round()).any() or (scale < 0).any()):
            raise ValueError(
                f"an integer law needs whole bounds m >= 0 of shape ({c},), got {scale.tolist()}"
            )
        object.__setattr__(self, "kind", kind)
        object.__setattr__(self, "mean", mean.detach().clone())
        object.__setattr__(self, "scale", scale.detach().to(mean).clone())

    @classmethod
    def normal(cls, c: int, scale: float = 1.0) -> "CoefficientLaw":
        """Independent normal coefficients of mean zero and standard deviation ``scale``."""
        return cls._isotropic("normal", c, scale)

    @classmethod
    def uniform(cls, c: int, scale: float = 1.0) -> "CoefficientLaw":
        """Independent coefficients, uniform on [-scale, scale]."""
        return cls._isotropic("uniform", c, scale)

    @classmethod
    def integer(cls, c: int, bound: int = 1) -> "CoefficientLaw":
        """Independent coefficients, uniform over the integers -bound..bound, both ends included."""
        return cls._isotropic("integer", c, bound)

    @classmethod
    def _isotropic(cls, kind: str, c: int, scale: float) -> "CoefficientLaw":
        return cls(
            kind, torch.zeros(c, dtype=torch.float64), torch.full((c,), float(scale), dtype=torch.float64)
        )

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """n coefficient vectors (n, c), drawn on the generator's device and moved to the law's."""
        return draw(self.kind, self.mean, self.scale, n, generator)

    def to(self, *args: Any, **kwargs: Any) -> "CoefficientLaw":
        """A copy on another device or in another dtype; arguments as for ``Tensor.to``."""
        return CoefficientLaw(self.kind, self.mean.to(*args, **kwargs), self.scale.to(*args, **kwargs))


def draw(kind: str, mean: Tensor, scale: Tensor, n: int, generator: torch.Generator | None = None) -> Tensor:
    """n coefficient vectors (n, c) of a law; drawn on the generator's device, moved to mean's."""
    device = mean.device if generator is None else generator.device
    source = torch.randn if kind == "normal" else torch.rand
    unit = source((n, len(mean)), generator=generator, device=device, dtype=mean.dtype).to(mean.device)
    if kind == "integer":
        # floor of a uniform draw over 2m+1 cells: both ends are as likely as the middle
        cells = (unit * (2 * scale + 1)).floor().minimum(2 * scale)
        return mean + cells - scale
    unit = unit if kind == "normal" else 2 * unit - 1
    return mean + (unit @ scale.mT if scale.ndim == 2 else unit * scale)


def check_finite(name: str, tensor: Tensor) -> None:
    """Raise ``ValueError`` when a number is NaN or infinite."""
    bad = int((~torch.isfinite(tensor)).sum())
    if bad:
        raise ValueError(f"{name} must be finite, got {bad} NaN or infinite of {tensor.numel()} numbers")
