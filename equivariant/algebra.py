"""A Lie algebra as a value: g = exp(sum_i w_i L_i) acts as x -> g x, with w drawn from a distribution."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from equivariant.compare import closure_error
from equivariant.expm import ClosedForm, closed_form, elements
from equivariant.files import read_tensors

__all__ = ["FORMAT", "CoefficientDistribution", "LieAlgebra", "check_finite", "draw"]

KINDS = ("normal", "uniform", "integer")


@dataclass(frozen=True, eq=False, init=False)
class CoefficientDistribution:
    """The distribution of the coefficients w (c,) in g = exp(w.L).

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
            raise ValueError(f"unknown coefficient distribution {kind!r}; choose from {list(KINDS)}")
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
                f"an integer distribution needs whole bounds m >= 0 of shape ({c},), got {scale.tolist()}"
            )
        object.__setattr__(self, "kind", kind)
        object.__setattr__(self, "mean", mean.detach().clone())
        object.__setattr__(self, "scale", scale.detach().to(mean).clone())

    @classmethod
    def normal(cls, c: int, scale: float = 1.0) -> "CoefficientDistribution":
        """Independent normal coefficients of mean zero and standard deviation ``scale``."""
        return cls._isotropic("normal", c, scale)

    @classmethod
    def uniform(cls, c: int, scale: float = 1.0) -> "CoefficientDistribution":
        """Independent coefficients, uniform on [-scale, scale]."""
        return cls._isotropic("uniform", c, scale)

    @classmethod
    def integer(cls, c: int, bound: int = 1) -> "CoefficientDistribution":
        """Independent coefficients, uniform over the integers -bound..bound, both ends included."""
        return cls._isotropic("integer", c, bound)

    @classmethod
    def _isotropic(cls, kind: str, c: int, scale: float) -> "CoefficientDistribution":
        return cls(
            kind, torch.zeros(c, dtype=torch.float64), torch.full((c,), float(scale), dtype=torch.float64)
        )

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """n coefficient vectors (n, c), drawn on the generator's device and moved to the distribution's."""
        return draw(self.kind, self.mean, self.scale, n, generator)

    def to(self, *args: Any, **kwargs: Any) -> "CoefficientDistribution":
        """A copy on another device or in another dtype; arguments as for ``Tensor.to``."""
        return CoefficientDistribution(
            self.kind, self.mean.to(*args, **kwargs), self.scale.to(*args, **kwargs)
        )


def draw(kind: str, mean: Tensor, scale: Tensor, n: int, generator: torch.Generator | None = None) -> Tensor:
    """n coefficient vectors (n, c) of a distribution; drawn on the generator's device, moved to mean's."""
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


FORMAT = "lie-algebra/1"


@dataclass(frozen=True, eq=False, init=False)
class LieAlgebra:
    """A basis of generators with everything needed to use it: what crosses from discovery to models.

    Args:
        basis: generators L, shape (c, k, k); c may be 0 (no symmetry). A copy is kept, detached.
        distribution: distribution of the coefficients; default standard normal.
        origin: the fixed point (k,) the group turns about; default 0.
        coordinates: k names, with units where they have one, e.g. ``"E [GeV]"``; default ``x0, x1, ...``
        space: ``"data"`` or ``"latent:<encoder digest>"``.
        provenance: how the basis was made; anything ``json`` can write.

    Equality is by ``digest`` (content) or by ``equivariant.compare`` (span).
    Raises ``ValueError`` when a shape, a dtype or a number is wrong.
    """

    basis: Tensor
    distribution: CoefficientDistribution
    origin: Tensor
    coordinates: tuple[str, ...]
    space: str
    provenance: dict[str, Any]

    def __init__(
        self,
        basis: Tensor,
        distribution: CoefficientDistribution | None = None,
        origin: Tensor | None = None,
        coordinates: Sequence[str] | None = None,
        space: str = "data",
        provenance: dict[str, Any] | None = None,
    ):
        _check_basis(basis)
        c, k = basis.shape[:2]
        distribution = CoefficientDistribution.normal(c) if distribution is None else distribution
        if len(distribution.mean) != c:
            raise ValueError(
                f"the distribution must have one mean per generator ({c}), got {len(distribution.mean)}"
            )
        origin = basis.new_zeros(k) if origin is None else origin
        if tuple(origin.shape) != (k,):
            raise ValueError(
                f"origin must have shape ({k},) like the basis acts on, got {tuple(origin.shape)}"
            )
        check_finite("origin", origin)
        names = tuple(f"x{i}" for i in range(k)) if coordinates is None else tuple(coordinates)
        _check_names(names, k)
        values = {
            "basis": basis.detach().clone(),
            "distribution": distribution.to(basis),
            "origin": origin.detach().to(basis).clone(),
            "coordinates": names,
            "space": space,
            "provenance": _json_copy(provenance or {}),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def dim(self) -> int:
        """k, the size of the vectors the group acts on."""
        return self.basis.shape[-1]

    @property
    def n_generators(self) -> int:
        """c, the number of generators."""
        return self.basis.shape[0]

    @cached_property
    def form(self) -> ClosedForm | None:
        """The closed form of its elements, where they have one; see ``equivariant.expm``."""
        return closed_form(self.basis)

    @property
    def digest(self) -> str:
        """SHA-256 of the content (basis, distribution, origin, coordinates, space), whatever the device or dtype."""
        words = [self.distribution.kind, self.space, *self.coordinates]
        digest = hashlib.sha256(json.dumps([FORMAT, list(self.basis.shape), words]).encode())
        for tensor in (self.basis, self.distribution.mean, self.distribution.scale, self.origin):
            digest.update(tensor.cpu().double().contiguous().numpy().astype("<f8").tobytes())
        return digest.hexdigest()

    def element(self, coefficients: Tensor) -> Tensor:
        """g = exp(sum_i w_i L_i): coefficients (..., c) to elements (..., k, k), differentiable."""
        if coefficients.shape[-1:] != (self.n_generators,):
            raise ValueError(
                f"coefficients must have shape (..., {self.n_generators}), got {tuple(coefficients.shape)}"
            )
        return elements(coefficients.to(self.basis), self.basis, self.form)

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """n group elements (n, k, k) drawn from the distribution, on the basis's device and in its dtype."""
        return self.element(self.distribution.sample(n, generator))

    def act(self, g: Tensor, x: Tensor) -> Tensor:
        """g (..., k, k) applied to points x (..., k) about the origin."""
        if x.shape[-1:] != (self.dim,):
            raise ValueError(f"x must have shape (..., {self.dim}), got {tuple(x.shape)}")
        origin = self.origin.to(x)
        return torch.einsum("...ij,...j->...i", g, x - origin) + origin

    def closure(self) -> float:
        """Relative part of the brackets [L_i, L_j] that leaves the span; 0 for a closed algebra."""
        return closure_error(self.basis)

    def to(self, *args: Any, **kwargs: Any) -> "LieAlgebra":
        """A copy on another device or in another dtype; arguments as for ``Tensor.to``."""
        basis = self.basis.to(*args, **kwargs)
        return LieAlgebra(
            basis, self.distribution, self.origin, self.coordinates, self.space, self.provenance
        )

    def save(self, path: str | Path) -> None:
        """Write a safetensors file of format ``lie-algebra/1``; dtype is kept."""
        tensors = {
            "basis": self.basis,
            "mean": self.distribution.mean,
            "scale": self.distribution.scale,
            "origin": self.origin,
        }
        metadata = {
            "format": FORMAT,
            "distribution": self.distribution.kind,
            "coordinates": json.dumps(self.coordinates),
            "space": self.space,
            "provenance": json.dumps(self.provenance),
        }
        save_file({name: t.cpu().contiguous() for name, t in tensors.items()}, Path(path), metadata)

    @classmethod
    def load(cls, path: str | Path) -> "LieAlgebra":
        """Read a file that ``save`` wrote.

        Raises ``FileNotFoundError`` for a missing file and ``ValueError`` for one that is not safetensors,
        of another format, or whose content is not an algebra (wrong shape, NaN, a missing entry).
        """
        metadata, tensors = read_tensors(Path(path), FORMAT, "algebra", "LieAlgebra.save(path)")
        try:
            distribution = CoefficientDistribution(_kind(metadata), tensors["mean"], tensors["scale"])
            coordinates, provenance = json.loads(metadata["coordinates"]), json.loads(metadata["provenance"])
            return cls(
                tensors["basis"], distribution, tensors["origin"], coordinates, metadata["space"], provenance
            )
        except KeyError as error:
            raise ValueError(
                f"{path} is no whole {FORMAT} file: the entry {error} is missing; save it anew"
            ) from None
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path} does not hold a valid algebra: {error}") from None

    def __repr__(self) -> str:
        name = self.provenance.get("name", self.provenance.get("method", "algebra"))
        return (
            f"LieAlgebra({name}, n_generators={self.n_generators}, dim={self.dim}, {self.distribution.kind})"
        )


def _kind(metadata: dict[str, str]) -> str:
    """The kind of distribution; files of version 0.1 name the entry otherwise."""
    return metadata["law"] if "law" in metadata else metadata["distribution"]


def _check_basis(basis: Tensor) -> None:
    if basis.ndim != 3 or basis.shape[1] != basis.shape[2] or basis.shape[1] == 0:
        raise ValueError(f"basis must have shape (c, k, k), got {tuple(basis.shape)}")
    if not basis.is_floating_point():
        raise ValueError(f"basis must have a real floating dtype, got {basis.dtype}; use basis.double()")
    check_finite("basis", basis)


def _check_names(names: tuple[str, ...], k: int) -> None:
    if len(names) != k or len(set(names)) != k or not all(isinstance(name, str) for name in names):
        raise ValueError(f"coordinates must be {k} different names, got {list(names)}")


def _json_copy(value: dict[str, Any]) -> dict[str, Any]:
    try:
        return json.loads(json.dumps(value))
    except (TypeError, ValueError) as error:
        raise ValueError(f"provenance must be what json can write, got {error}") from None
