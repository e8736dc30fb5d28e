"""A symmetry of data that is linear in a latent space: x -> psi(g phi(x)), as one value."""

import hashlib
import json
from copy import deepcopy
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from discover.latent.autoencoder import Architecture, Autoencoder
from discover.latent.frames import InnerProduct, adapted_frame, inner_product
from equivariant.algebra import CoefficientDistribution, LieAlgebra
from equivariant.files import read_tensors, write_tensors

__all__ = ["FORMAT", "LatentSymmetry"]

FORMAT = "latent-symmetry/1"
LARGEST_VIOLATION = 0.1  # of an inner product under generators of rotations


class LatentSymmetry:
    """A symmetry x -> psi(g phi(x)) that is linear in a latent space z = phi(x); what ``LaLiGAN`` finds.

    Also a transform: ``symmetry(x)`` moves every snapshot by a random element of its own. Of Yang et al. 2023 (arXiv
    2310.00105, eq. 3).

    Args:
        autoencoder: encoder phi and decoder psi; kept in ``eval`` mode, without gradients of its own weights.
        algebra: acts on z (k,); its ``space`` is set to ``"latent:<digest of the autoencoder>"``.

    Raises:
        ValueError: if the two do not fit each other.

    Example:
        >>> import torch
        >>> from discover.latent.autoencoder import Architecture, Autoencoder
        >>> from equivariant import catalogue
        >>> shape = Architecture(encoder="mlp", shape=(8,), latent_dim=2, modes=0, width=4, depth=1)
        >>> symmetry = LatentSymmetry(Autoencoder(shape), catalogue.rotation(2))
        >>> symmetry.flow(torch.randn(5, 8), torch.linspace(0, 1, 3)).shape
        torch.Size([3, 5, 8])
    """

    def __init__(self, autoencoder: Autoencoder, algebra: LieAlgebra):
        k = autoencoder.architecture.latent_dim
        if algebra.dim != k:
            raise ValueError(f"the algebra must act on the latent space of {k} dimensions, got {algebra.dim}")
        self.autoencoder = autoencoder.eval().requires_grad_(False)
        self.encoder_digest = _content_digest(autoencoder)
        self.algebra = replace(algebra, space=f"latent:{self.encoder_digest}")

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
        """psi(g phi(x)).

        Args:
            g: elements (..., k, k), one for each snapshot or one for all.
            x: snapshots (..., *shape).
        """
        return self.decode(self.algebra.act(g.to(x), self.encode(x)))

    def flow(self, x: Tensor, times: Tensor, generator: int = 0) -> Tensor:
        """The orbits psi(exp(t L) phi(x)) of snapshots under one generator.

        Args:
            x: snapshots (..., *shape).
            times: t, (T,).
            generator: index of L.

        Returns:
            Snapshots (T, ..., *shape).
        """
        w = torch.zeros(len(times), self.algebra.n_generators, dtype=x.dtype, device=x.device)
        w[:, generator] = times.to(w)
        z = self.encode(x)
        g = self.algebra.element(w).to(x)
        g = g.reshape(len(times), *[1] * (z.ndim - 1), self.latent_dim, self.latent_dim)
        return self.decode(self.algebra.act(g, z.expand(len(times), *z.shape)))

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """n group elements (n, k, k) from the distribution of the training."""
        return self.algebra.sample(n, generator)

    def __call__(self, x: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Samples x (n, ..., *shape), each moved by a random element; the snapshots of one sample share it."""
        z = self.encode(x)
        g = self.sample(len(x), generator).to(x)
        return self.decode(self.algebra.act(g.reshape(len(x), *[1] * (z.ndim - 2), *g.shape[1:]), z))

    def inner_product(self) -> InnerProduct:
        """The inner product of the latent space that is invariant, or as nearly as can be."""
        return inner_product(self.algebra.basis)

    def adapted(self, exact: bool = False) -> "LatentSymmetry":
        """The same symmetry, which moves data in the same way, in adapted coordinates of z.

        There the dot product is invariant, as nearly as can be, and one generator rotates coordinate planes, the
        fastest first, so that equations of motion have few terms: see ``adapted_frame``. The frame F, z -> F z,
        stands in the provenance. A sparse L need not stay sparse.

        Args:
            exact: whether the generators are replaced by the nearest ones under which the dot product is exactly
                invariant.

        Raises:
            ValueError: with ``exact``, if the generators leave no inner product invariant, such as a scaling.
        """
        algebra = self.algebra
        if exact and (violation := self.inner_product().violation) > LARGEST_VIOLATION:
            raise ValueError(
                f"expected generators of rotations, got some that leave no inner product invariant (violation "
                f"{violation:.0%}); use adapted() and equations without a symmetry"
            )
        frame = adapted_frame(algebra.basis)
        into = frame.to(algebra.basis)
        basis = into @ algebra.basis @ torch.linalg.inv(into)
        adapted = replace(
            algebra,
            basis=(basis - basis.mT) / 2 if exact else basis,
            origin=into @ algebra.origin,
            provenance=algebra.provenance | {"frame": frame.tolist()},
        )
        return LatentSymmetry(self.autoencoder.in_frame(frame), adapted)

    def to(self, *args: Any, **kwargs: Any) -> "LatentSymmetry":
        """A copy on another device or in another dtype; arguments as for ``Tensor.to``."""
        return LatentSymmetry(
            deepcopy(self.autoencoder).to(*args, **kwargs), self.algebra.to(*args, **kwargs)
        )

    def save(self, path: str | Path) -> None:
        """Write one safetensors file of format ``latent-symmetry/1`` with a checksum; dtypes are kept.

        Args:
            path: of the file.

        Raises:
            OSError: if the file cannot be written; an old one stays.
        """
        tensors = {f"autoencoder.{name}": t for name, t in self.autoencoder.state_dict().items()}
        distribution = self.algebra.distribution
        tensors |= {"algebra.basis": self.algebra.basis, "algebra.origin": self.algebra.origin}
        tensors |= {"algebra.mean": distribution.mean, "algebra.scale": distribution.scale}
        algebra = {
            "distribution": distribution.kind,
            "coordinates": self.algebra.coordinates,
            "provenance": self.algebra.provenance,
        }
        architecture = json.dumps(asdict(self.autoencoder.architecture))
        words = {"architecture": architecture, "algebra": json.dumps(algebra), "digest": self.digest}
        write_tensors(path, FORMAT, tensors, **words)

    @classmethod
    def load(cls, path: str | Path) -> "LatentSymmetry":
        """Read a file that ``save`` wrote.

        Args:
            path: of the file.

        Raises:
            FileNotFoundError: if there is none.
            ValueError: for a file of another format, or whose content is not whole or not what its digest says.
        """
        metadata, tensors = read_tensors(path, FORMAT, "latent symmetry", "LatentSymmetry.save(path)")
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


def _content_digest(autoencoder: Autoencoder) -> str:
    words = json.dumps(asdict(autoencoder.architecture), sort_keys=True)
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
