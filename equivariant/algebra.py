"""A Lie algebra as a value: generators L_1, ..., L_c and how the coefficients of g = exp(sum_i w_i L_i) are drawn."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from equivariant import compare
from equivariant.arrays import ArrayLike, as_floating, as_tensor
from equivariant.display import algebra_html
from equivariant.expm import ClosedForm, closed_form, elements
from equivariant.files import read_tensors, write_tensors

__all__ = ["FORMAT", "CoefficientDistribution", "LieAlgebra", "check_finite", "draw"]

FORMAT = "lie-algebra/1"
KINDS = ("normal", "uniform", "integer")
DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
# brackets, or eigenvalues of the Killing form, that count as zero: of an exact algebra, and of a measured one
ROUNDING, NOISE = 1e-8, 5e-2


@dataclass(frozen=True, eq=False, init=False)
class CoefficientDistribution:
    """The distribution of the coefficients w (c,) in g = exp(w.L).

    ``normal``: w = mean + scale z with z standard normal; ``uniform``: w = mean + scale u with u in [-1, 1];
    ``integer``: w = mean + j with j uniform over the integers -scale..scale, both ends included.

    Args:
        kind: ``"normal"``, ``"uniform"`` or ``"integer"``.
        mean: shape (c,).
        scale: standard deviation, half width or largest integer, shape (c,); or a matrix (c, c) that mixes the
            coefficients (not for ``integer``).

    Raises:
        ValueError: for an unknown kind, a wrong shape, a number that is not finite, or a bound that is not whole.

    Example:
        >>> CoefficientDistribution("integer", [0.0], [1.0]).sample(100).unique().tolist()
        [-1.0, 0.0, 1.0]
    """

    kind: str
    mean: Tensor
    scale: Tensor

    def __init__(self, kind: str, mean: ArrayLike, scale: ArrayLike):
        if kind not in KINDS:
            raise ValueError(f"unknown coefficient distribution {kind!r}; choose from {list(KINDS)}")
        mean, scale = _real("mean", mean), _real("scale", scale)
        if mean.ndim != 1:
            raise ValueError(f"mean must have shape (c,), got {tuple(mean.shape)}")
        c = len(mean)
        if tuple(scale.shape) not in ((c,), (c, c)):
            raise ValueError(
                f"scale must have shape ({c},) or ({c}, {c}) like its mean, got {tuple(scale.shape)}"
            )
        if kind == "integer" and (scale.ndim != 1 or (scale != scale.round()).any() or (scale < 0).any()):
            raise ValueError(
                f"integer coefficients need whole bounds m >= 0 of shape ({c},), got {scale.tolist()}"
            )
        object.__setattr__(self, "kind", kind)
        object.__setattr__(self, "mean", mean.detach().clone())
        object.__setattr__(self, "scale", scale.detach().to(mean).clone())

    @classmethod
    def normal(cls, c: int, scale: float = 1.0) -> "CoefficientDistribution":
        """Independent normal coefficients of mean zero.

        Args:
            c: number of coefficients.
            scale: standard deviation of each.
        """
        return cls._isotropic("normal", c, scale)

    @classmethod
    def uniform(cls, c: int, scale: float = 1.0) -> "CoefficientDistribution":
        """Independent coefficients, uniform on [-scale, scale].

        Args:
            c: number of coefficients.
            scale: half width of the interval.
        """
        return cls._isotropic("uniform", c, scale)

    @classmethod
    def integer(cls, c: int, bound: int = 1) -> "CoefficientDistribution":
        """Independent coefficients, uniform over the integers -bound..bound, both ends included.

        Args:
            c: number of coefficients.
            bound: the largest integer.
        """
        return cls._isotropic("integer", c, bound)

    @classmethod
    def _isotropic(cls, kind: str, c: int, scale: float) -> "CoefficientDistribution":
        return cls(
            kind, torch.zeros(c, dtype=torch.float64), torch.full((c,), float(scale), dtype=torch.float64)
        )

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Random coefficient vectors.

        Args:
            n: how many.
            generator: source of randomness; they are drawn on its device and moved to that of the mean.

        Returns:
            Coefficients (n, c).
        """
        return draw(self.kind, self.mean, self.scale, n, generator)

    def to(self, *args: Any, **kwargs: Any) -> "CoefficientDistribution":
        """A copy on another device or in another dtype; arguments as for ``Tensor.to``."""
        return CoefficientDistribution(
            self.kind, self.mean.to(*args, **kwargs), self.scale.to(*args, **kwargs)
        )


def draw(kind: str, mean: Tensor, scale: Tensor, n: int, generator: torch.Generator | None = None) -> Tensor:
    """Coefficient vectors (n, c) of a ``CoefficientDistribution`` given by its parts.

    Args:
        kind: ``"normal"``, ``"uniform"`` or ``"integer"``.
        mean: shape (c,).
        scale: shape (c,) or (c, c).
        n: how many vectors.
        generator: source of randomness; they are drawn on its device and moved to that of the mean.
    """
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
    """Raise ``ValueError`` when a number is NaN or infinite.

    Args:
        name: what the tensor is called in the message.
        tensor: any tensor of real numbers.
    """
    bad = int((~torch.isfinite(tensor)).sum())
    if bad:
        raise ValueError(f"{name} must be finite, got {bad} NaN or infinite of {tensor.numel()} numbers")


@dataclass(frozen=True, eq=False, init=False)
class LieAlgebra:
    """A basis of generators with everything needed to use it: the one value that goes from discovery to models.

    Two algebras are compared by ``digest`` (content) or by ``equivariant.compare`` (span).

    Args:
        basis: generators L, shape (c, k, k); c may be 0 (no symmetry). A copy is kept, detached.
        distribution: distribution of the coefficients; default standard normal.
        origin: the fixed point (k,) of the action; default 0.
        coordinates: k names, with units where they have one, e.g. ``"E [GeV]"``; default ``x0, x1, ...``
        space: ``"data"`` or ``"latent:<encoder digest>"``.
        provenance: how the basis was made; anything ``json`` can write.
        name: e.g. ``"so(3)"``; it is kept as ``provenance["name"]``.

    Raises:
        ValueError: where a shape, a dtype or a number is wrong.

    Example:
        >>> rotation = LieAlgebra([[[0, -1], [1, 0]]], coordinates=("x", "y"), name="so(2)")
        >>> rotation
        LieAlgebra(so(2), shape (1, 2, 2), coordinates (x, y), normal coefficients, digest 0d669f6b)
        >>> rotation.act(rotation.element([torch.pi / 2]), [1, 0]).round(decimals=3)
        tensor([0., 1.], dtype=torch.float64)
    """

    basis: Tensor
    distribution: CoefficientDistribution
    origin: Tensor
    coordinates: tuple[str, ...]
    space: str
    provenance: dict[str, Any]

    def __init__(
        self,
        basis: ArrayLike,
        distribution: CoefficientDistribution | None = None,
        origin: ArrayLike | None = None,
        coordinates: Sequence[str] | None = None,
        space: str = "data",
        provenance: dict[str, Any] | None = None,
        name: str | None = None,
    ):
        basis = _real("basis", basis)
        if basis.ndim != 3 or basis.shape[1] != basis.shape[2] or basis.shape[1] == 0:
            raise ValueError(f"basis must have shape (c, k, k), got {tuple(basis.shape)}")
        c, k = basis.shape[:2]
        distribution = CoefficientDistribution.normal(c) if distribution is None else distribution
        if len(distribution.mean) != c:
            raise ValueError(
                f"the distribution must have one mean per generator ({c}), got {len(distribution.mean)}"
            )
        fixed = basis.new_zeros(k) if origin is None else _real("origin", origin)
        if tuple(fixed.shape) != (k,):
            raise ValueError(
                f"origin must have shape ({k},) like the vectors acted on, got {tuple(fixed.shape)}"
            )
        names = tuple(f"x{i}" for i in range(k)) if coordinates is None else tuple(coordinates)
        _check_names(names, k)
        values = {
            "basis": basis.detach().clone(),
            "distribution": distribution.to(basis),
            "origin": fixed.detach().to(basis).clone(),
            "coordinates": names,
            "space": space,
            "provenance": _json_copy((provenance or {}) | ({} if name is None else {"name": name})),
        }
        for field, value in values.items():
            object.__setattr__(self, field, value)

    @property
    def name(self) -> str | None:
        """What the algebra was identified as, e.g. ``"so(1,3)"``, or None."""
        name = self.provenance.get("name")
        return None if name is None else str(name)

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

    def element(self, coefficients: ArrayLike) -> Tensor:
        """The group element g = exp(sum_i w_i L_i), differentiable.

        Args:
            coefficients: w, shape (..., c).

        Returns:
            Matrices (..., k, k).
        """
        coefficients = as_tensor(coefficients, "coefficients")
        if coefficients.shape[-1:] != (self.n_generators,):
            raise ValueError(
                f"coefficients must have shape (..., {self.n_generators}), got {tuple(coefficients.shape)}"
            )
        return elements(coefficients.to(self.basis), self.basis, self.form)

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Random group elements, their coefficients drawn from ``distribution``.

        Args:
            n: how many.
            generator: source of randomness.

        Returns:
            Matrices (n, k, k) on the device and in the dtype of the basis.
        """
        return self.element(self.distribution.sample(n, generator))

    def act(self, g: ArrayLike, x: ArrayLike) -> Tensor:
        """Group elements applied to points, about the origin: x -> g (x - o) + o.

        Args:
            g: elements (..., k, k).
            x: points (..., k).

        Returns:
            Points (..., k), in the dtype of x where that is a floating one.
        """
        x = as_floating(x)
        g = as_tensor(g, "g").to(x)
        if x.shape[-1:] != (self.dim,):
            raise ValueError(f"x must have shape (..., {self.dim}), got {tuple(x.shape)}")
        if g.shape[-2:] != (self.dim, self.dim):
            raise ValueError(f"g must have shape (..., {self.dim}, {self.dim}), got {tuple(g.shape)}")
        origin = self.origin.to(x)
        return torch.einsum("...ij,...j->...i", g, x - origin) + origin

    def closure_error(self) -> float:
        """The part of the brackets [L_i, L_j] outside of the span, relative to all of them; 0 for a closed algebra."""
        return compare.closure_error(self.basis)

    def structure_constants(self) -> Tensor:
        """f (c, c, c) with [L_i, L_j] = sum_l f_ijl L_l, by least squares."""
        return compare.structure_constants(self.basis)

    def killing_form(self) -> Tensor:
        """K_ij = tr(ad L_i ad L_j) = sum_ab f_iab f_jba, shape (c, c)."""
        return compare.killing_form(self.basis)

    @property
    def is_abelian(self) -> bool:
        """Whether all generators commute.

        Brackets of orthonormal generators count as zero below 1e-8 in the mean, or below 5 % for a basis that is itself
        not closed.
        """
        basis = compare.span(self.basis).reshape(-1, self.dim, self.dim)
        return float(compare.brackets(basis).norm()) <= self._tolerance() * max(len(basis), 1)

    @property
    def is_semisimple(self) -> bool:
        """Cartan's criterion: the Killing form is not degenerate.

        Its eigenvalues, in an orthonormal basis of the span, count as zero below 1e-8 of the largest, or below 5 %
        for a basis that is itself not closed. False without generators.
        """
        basis = compare.span(self.basis).reshape(-1, self.dim, self.dim)
        if len(basis) == 0 or self.is_abelian:
            return False
        sizes = torch.linalg.eigvalsh(compare.killing_form(basis)).abs()
        return bool(sizes.min() > self._tolerance() * sizes.max())

    def _tolerance(self) -> float:
        return ROUNDING if self.closure_error() < ROUNDING else NOISE

    def to(self, *args: Any, **kwargs: Any) -> "LieAlgebra":
        """A copy on another device or in another dtype; arguments as for ``Tensor.to``."""
        basis = self.basis.to(*args, **kwargs)
        return LieAlgebra(
            basis, self.distribution, self.origin, self.coordinates, self.space, self.provenance
        )

    def save(self, path: str | Path) -> None:
        """Write a safetensors file of format ``lie-algebra/1`` with a checksum; the dtype is kept.

        The same algebra gives the same bytes.

        Args:
            path: of the file.
        """
        tensors = {
            "basis": self.basis,
            "mean": self.distribution.mean,
            "scale": self.distribution.scale,
            "origin": self.origin,
        }
        write_tensors(
            path,
            FORMAT,
            tensors,
            distribution=self.distribution.kind,
            coordinates=json.dumps(self.coordinates),
            space=self.space,
            provenance=json.dumps(self.provenance),
        )

    @classmethod
    def load(cls, path: str | Path) -> "LieAlgebra":
        """Read a file that ``save`` wrote.

        Args:
            path: of the file.

        Raises:
            FileNotFoundError: where there is no file.
            ValueError: for a file that is not safetensors, of another format, damaged, or whose content is not an
                algebra (wrong shape or dtype, NaN, a missing entry).
        """
        metadata, tensors = read_tensors(path, FORMAT, "algebra", "LieAlgebra.save(path)")
        try:
            # version 0.1 called the distribution a law and wrote no checksum
            kind = metadata["law"] if "law" in metadata else metadata["distribution"]
            if "law" not in metadata and "sha256" not in metadata:
                raise ValueError("its checksum is missing, so it may be damaged; save it again")
            for entry in ("basis", "mean", "scale", "origin"):
                if tensors[entry].dtype not in DTYPES:
                    raise ValueError(f"{entry} must be floating point numbers, got {tensors[entry].dtype}")
            distribution = CoefficientDistribution(kind, tensors["mean"], tensors["scale"])
            coordinates, provenance = json.loads(metadata["coordinates"]), json.loads(metadata["provenance"])
            return cls(
                tensors["basis"], distribution, tensors["origin"], coordinates, metadata["space"], provenance
            )
        except KeyError as error:
            raise ValueError(
                f"{path} is not a complete {FORMAT} file: the entry {error} is missing; save it again"
            ) from None
        except (ValueError, TypeError, RecursionError) as error:
            raise ValueError(f"{path} does not hold a valid algebra: {error}") from None

    def __repr__(self) -> str:
        names = list(self.coordinates)
        names = names if len(names) <= 8 else [*names[:3], "...", names[-1]]
        return (
            f"LieAlgebra({self.name or 'unnamed'}, shape {tuple(self.basis.shape)}, "
            f"coordinates ({', '.join(names)}), {self.distribution.kind} coefficients, digest {self.digest[:8]})"
        )

    def _repr_html_(self) -> str:
        """What a notebook shows: the name, the evidence and a heat map of each generator."""
        return algebra_html(self)


def _real(name: str, values: ArrayLike) -> Tensor:
    """Finite floating point numbers; whole numbers become float64."""
    tensor = as_floating(values, name)
    if tensor.dtype not in DTYPES:
        raise ValueError(f"{name} must have one of the dtypes {list(DTYPES)}, got {tensor.dtype}")
    check_finite(name, tensor)
    return tensor


def _check_names(names: tuple[str, ...], k: int) -> None:
    if len(names) != k or len(set(names)) != k or not all(isinstance(name, str) for name in names):
        raise ValueError(f"coordinates must be {k} different names, got {list(names)}")


def _json_copy(value: dict[str, Any]) -> dict[str, Any]:
    try:
        return json.loads(json.dumps(value))
    except (TypeError, ValueError) as error:
        raise ValueError(f"provenance must be what json can write, got {error}") from None
