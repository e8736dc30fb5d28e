"""A symmetry of data that is linear in a latent space: x -> psi(g phi(x)), as one value."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from discover.latent.autoencoder import Architecture, Autoencoder
from discover.latent.frames import InnerProduct, adapted_frame, inner_product
from equivariant.algebra import CoefficientDistribution, LieAlgebra
from equivariant.files import read_tensors

__all__ = ["FORMAT", "LatentSymmetry"]

FORMAT = "latent-symmetry/1"
TURNING = 0.1  # generators whose inner product is violated by more do not turn


class LatentSymmetry:
    """What ``LaLiGAN`` finds: encoder, decoder, and an algebra that acts between them about its origin.

    Args:
        autoencoder: kept in ``eval`` mode, without gradients of its own weights.
        algebra: acts on z (k,); its ``space`` is set to ``"latent:<digest of the autoencoder>"``.

    Shapes: snapshots (..., *shape), latent vectors (..., k), group elements (..., k, k).
    An instance is a transform too: ``symmetry(x)`` moves every snapshot by an element of its own.
    Raises ``ValueError`` when the two do not fit each other.
    """

    def __init__(self, autoencoder: Autoencoder, algebra: LieAlgebra):
        k = autoencoder.architecture.latent_dim
        if algebra.dim != k:
            raise ValueError(f"the algebra must act on the latent space of {k} dimensions, got {algebra.dim}")
        self.autoencoder = autoencoder.eval().requires_grad_(False)
        self.encoder_digest = _content_digest(autoencoder)
        self.algebra = replace_space(algebra, f"latent:{self.encoder_digest}")

    @property
    def digest(self) -> str:
        """SHA-256 of the content: the autoencoder's and the algebra's."""
        return hashlib.sha256(f"{FORMAT} {self.encoder_digest} {self.algebra.digest}".encode()).hexdigest()

    @property
    def latent_dim(self) -> int:
        """k."""
        return self.algebra.dim

    def encode(self, x: Tensor) -> Tensor:
        """z (..., k) of snapshots (..., *shape); differentiable in x."""
        return self.autoencoder.encode(x)

    def decode(self, z: Tensor) -> Tensor:
        """Snapshots (..., *shape) of z (..., k); differentiable in z."""
        return self.autoencoder.decode(z)

    def act(self, g: Tensor, x: Tensor) -> Tensor:
        """psi(g phi(x)): elements (..., k, k) on snapshots, one each or one for all."""
        return self.decode(self.algebra.act(g.to(x), self.encode(x)))

    def flow(self, x: Tensor, times: Tensor, generator: int = 0) -> Tensor:
        """psi(exp(t L) phi(x)) for times (T,): the orbits (T, ..., *shape) of snapshots under one generator."""
        w = torch.zeros(len(times), self.algebra.n_generators, dtype=x.dtype, device=x.device)
        w[:, generator] = times.to(w)
        z = self.encode(x)
        g = (
            self.algebra.element(w)
            .to(x)
            .reshape(len(times), *[1] * (z.ndim - 1), self.latent_dim, self.latent_dim)
        )
        return self.decode(self.algebra.act(g, z.expand(len(times), *z.shape)))

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """n group elements (n, k, k) by the distribution the critic saw."""
        return self.algebra.sample(n, generator)

    def __call__(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Every snapshot of x (n, ..., *shape) moved by an element of its own; what stands between shares it."""
        z = self.encode(x)
        g = self.sample(len(x), generator).to(x)
        return self.decode(self.algebra.act(g.reshape(len(x), *[1] * (z.ndim - 2), *g.shape[1:]), z))

    def inner_product(self) -> InnerProduct:
        """The inner product of the latent space that the group keeps, or keeps best."""
        return inner_product(self.algebra.basis)

    def adapted(self, exact: bool = False) -> "LatentSymmetry":
        """The same symmetry, which moves data the same way, in coordinates of z that are adapted to it.

        There the group keeps the dot product as well as it can, and one generator turns coordinate planes, the
        fastest first, so that equations of motion have few terms: see ``adapted_frame``. The frame F, z -> F z,
        stands in the provenance. A sparse L need not stay sparse.

        Args:
            exact: whether the generators are replaced by the nearest that keep the dot product exactly.

        Raises ``ValueError`` with ``exact`` where the generators keep no inner product, such as a scaling.
        """
        algebra = self.algebra
        if exact and (violation := self.inner_product().violation) > TURNING:
            raise ValueError(
                f"wanted generators that turn, got some that keep no inner product (the best is violated by "
                f"{violation:.0%}); use adapted() and equations without a symmetry"
            )
        frame = adapted_frame(algebra.basis)
        into = frame.to(algebra.basis)
        basis = into @ algebra.basis @ torch.linalg.inv(into)
        seen = LieAlgebra(
            (basis - basis.mT) / 2 if exact else basis,
            algebra.distribution,
            into @ algebra.origin,
            algebra.coordinates,
            provenance=algebra.provenance | {"frame": frame.tolist()},
        )
        return LatentSymmetry(self.autoencoder.seen_in(frame), seen)

    def to(self, *args: Any, **kwargs: Any) -> "LatentSymmetry":
        """A copy on another device or in another dtype; arguments as for ``Tensor.to``."""
        other = Autoencoder(self.autoencoder.architecture)
        other.to(next(self.autoencoder.parameters()).dtype)
        other.load_state_dict(self.autoencoder.state_dict())
        return LatentSymmetry(other.to(*args, **kwargs), self.algebra.to(*args, **kwargs))

    def save(self, path: str | Path) -> None:
        """Write one safetensors file of format ``latent-symmetry/1``; dtypes are kept."""
        tensors = {f"autoencoder.{name}": t for name, t in self.autoencoder.state_dict().items()}
        distribution = self.algebra.distribution
        tensors |= {
            "algebra.basis": self.algebra.basis,
            "algebra.mean": distribution.mean,
            "algebra.scale": distribution.scale,
        }
        tensors |= {"algebra.origin": self.algebra.origin}
        algebra = {
            "distribution": distribution.kind,
            "coordinates": self.algebra.coordinates,
            "provenance": self.algebra.provenance,
        }
        metadata = {
            "format": FORMAT,
            "architecture": json.dumps(self.autoencoder.architecture.to_dict()),
            "algebra": json.dumps(algebra),
            "digest": self.digest,
        }
        save_file({name: t.cpu().contiguous() for name, t in tensors.items()}, Path(path), metadata)

    @classmethod
    def load(cls, path: str | Path) -> "LatentSymmetry":
        """Read a file that ``save`` wrote.

        Raises ``FileNotFoundError`` for a missing file and ``ValueError`` for one of another format, or whose
        content is not whole or not what its digest says.
        """
        metadata, tensors = read_tensors(Path(path), FORMAT, "latent symmetry", "LatentSymmetry.save(path)")
        try:
            loaded = cls(_autoencoder(metadata, tensors), _algebra(metadata, tensors))
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise ValueError(f"{path} does not hold a valid latent symmetry: {error}") from None
        if loaded.digest != metadata.get("digest"):
            raise ValueError(f"{path} does not hold what its digest says; it was changed after it was saved")
        return loaded

    def __repr__(self) -> str:
        a = self.autoencoder.architecture
        return f"LatentSymmetry({a.encoder}, {a.shape} -> {a.latent_dim}, {self.algebra!r})"


def replace_space(algebra: LieAlgebra, space: str) -> LieAlgebra:
    """The same algebra, said to act on another space."""
    return replace(algebra, space=space)


def _content_digest(autoencoder: Autoencoder) -> str:
    words = json.dumps(autoencoder.architecture.to_dict(), sort_keys=True)
    digest = hashlib.sha256(words.encode())
    for name, tensor in sorted(autoencoder.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().double().contiguous().numpy().astype("<f8").tobytes())
    return digest.hexdigest()


def _autoencoder(metadata: dict[str, str], tensors: dict[str, Tensor]) -> Autoencoder:
    autoencoder = Autoencoder(Architecture(**json.loads(metadata["architecture"])))
    state = {n.removeprefix("autoencoder."): t for n, t in tensors.items() if n.startswith("autoencoder.")}
    bad = [name for name, t in state.items() if not torch.isfinite(t).all()]
    if bad:
        raise ValueError(f"weights must be finite, got NaN or infinite ones in {bad}")
    autoencoder.to(state["reduction.mean"].dtype)
    autoencoder.load_state_dict(state)
    return autoencoder


def _algebra(metadata: dict[str, str], tensors: dict[str, Tensor]) -> LieAlgebra:
    words = json.loads(metadata["algebra"])
    distribution = CoefficientDistribution(
        words.get("distribution", words.get("law")), tensors["algebra.mean"], tensors["algebra.scale"]
    )
    return LieAlgebra(
        tensors["algebra.basis"],
        distribution,
        tensors["algebra.origin"],
        words["coordinates"],
        provenance=words["provenance"],
    )
