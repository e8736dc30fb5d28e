"""What may be wrong with a latent symmetry, measured on held-out windows, with advice."""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from discover.validation.certify import Verdict

__all__ = ["Diagnosis", "diagnose"]

ADVICE = {
    "collapsed latent": "the latent space has (nearly) lost a direction; raise anchor_weight, or lower latent_dim",
    "off centre": "the mean of the latent vectors is not the fixed point of the group; raise anchor_weight",
    "spiky latent": "a few snapshots lie far from all others; lower learning_rate, or look for outliers in the data",
    "no motion": "the group elements hardly move the latent vectors; raise distribution_scale",
    "hyperbolic": "a generator has real eigenvalues, under which no distribution of finite variance is invariant; try "
    "another seed",
    "nilpotent": "a generator is a shear, under which no distribution of finite variance is invariant; try another "
    "seed or more starts",
    "critic wins": "the critic tells transformed windows from real ones; raise gan_weight or steps, or there is no "
    "such symmetry",
    "poor reconstruction": "the decoder does not reproduce the data; more steps, a wider net or a larger latent_dim",
    "not equivariant": "the encoder does not follow the known elements; more steps, or a structure that fits them",
}
LEAST_SPREAD = 0.1  # smallest over largest standard deviation of the latent's directions
FARTHEST_MEAN = 0.2  # of the mean from the origin, over the latent's size
SPIKE = 12.0  # largest over root mean square distance from the centre
LEAST_MOVE = 0.05  # relative, root mean square
LARGEST_REAL = 0.1  # real over imaginary part of an eigenvalue
SHEAR = 0.05  # largest eigenvalue over the norm
LARGEST_ERROR = 0.1  # relative, of a reconstruction
LARGEST_EQUIVARIANCE_ERROR = 0.1
LARGEST_AUC = 0.6  # of a fresh critic; a few held-out stretches of one trajectory are never quite uniform


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """What is wrong and the numbers behind it. ``bool(diagnosis)`` is ``diagnosis.ok``.

    Args:
        flags: what is wrong, keys of ``ADVICE``.
        numbers: the measurements, by name.
        verdict: of a fresh critic, if there was one.
    """

    flags: tuple[str, ...]
    numbers: dict[str, float]
    verdict: Verdict | None = None

    def __bool__(self) -> bool:
        return self.ok

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong and the verdict, where there is one, establishes a symmetry."""
        return not self.flags and (self.verdict is None or self.verdict.passed)

    @property
    def severity(self) -> tuple[int, float]:
        """Orders runs, the better first: the number of flags, then the AUC of the fresh critic."""
        return len(self.flags), self.numbers.get("auc", 0.0)

    def to_dict(self) -> dict[str, Any]:
        """As ``json`` can write it."""
        verdict = None if self.verdict is None else self.verdict.to_dict()
        return asdict(self) | {"flags": list(self.flags), "verdict": verdict, "text": str(self)}

    def __str__(self) -> str:
        numbers = ", ".join(f"{name} {value:.3g}" for name, value in self.numbers.items())
        advice = " ".join(f"{flag}: {ADVICE[flag]}." for flag in self.flags)
        head = f"Not to be trusted as it stands: {advice}" if advice else "Nothing wrong was seen."
        return " ".join([head, f"({numbers})", *([] if self.verdict is None else [str(self.verdict)])])


def diagnose(
    z: Tensor,
    basis: Tensor,
    elements: Tensor,
    *,
    learned: bool,
    reconstruction: float,
    equivariance: float | None = None,
    verdict: Verdict | None = None,
    centred: bool = True,
) -> Diagnosis:
    """Look for known failures of a latent symmetry.

    Args:
        z: latent vectors (n, k).
        basis: generators (c, k, k).
        elements: group elements (n, k, k) drawn from their distribution.
        learned: whether the generators were learned; given ones may be any.
        reconstruction: relative error.
        equivariance: relative error for known elements, if there are any.
        verdict: on held-out windows, if there is one.
        centred: whether the latent vectors should have mean zero.
    """
    numbers = _of_latent(z.double(), elements.double()) | {"reconstruction": reconstruction}
    if learned:
        numbers |= _of_generators(basis.double())
    if equivariance is not None:
        numbers["equivariance"] = equivariance
    if verdict is not None:
        numbers["auc"] = verdict.auc.value
    shear = learned and not numbers["root"] >= SHEAR
    # written so that NaN is wrong
    wrong = {
        "collapsed latent": not (numbers["spread"] >= LEAST_SPREAD and numbers["size"] > 1e-6),
        "off centre": centred and not numbers["off_centre"] <= FARTHEST_MEAN,
        "spiky latent": not numbers["spike"] <= SPIKE,
        "no motion": not numbers["move"] >= LEAST_MOVE,
        "nilpotent": shear,
        "hyperbolic": learned and not shear and not numbers["real_part"] <= LARGEST_REAL,
        "poor reconstruction": not reconstruction <= LARGEST_ERROR,
        "not equivariant": equivariance is not None and not equivariance <= LARGEST_EQUIVARIANCE_ERROR,
        "critic wins": verdict is not None and not verdict.auc.low <= LARGEST_AUC,
    }
    flags = tuple(flag for flag, seen in wrong.items() if seen)
    return Diagnosis(flags=flags, numbers=numbers, verdict=verdict)


def _of_latent(z: Tensor, elements: Tensor) -> dict[str, float]:
    mean = z.mean(0)
    spread = torch.linalg.svdvals(z - mean) / len(z) ** 0.5
    size = spread.square().sum().sqrt().clamp_min(1e-300)
    move = (torch.einsum("nij,nj->ni", elements, z) - z).norm() / z.norm().clamp_min(1e-300)
    return {
        "spread": float(spread[-1] / spread[0].clamp_min(1e-300)),
        "size": float(size),
        "off_centre": float(mean.norm() / size),
        "spike": float((z - mean).norm(dim=1).max() / size),
        "move": float(move),
    }


def _of_generators(basis: Tensor) -> dict[str, float]:
    """The worst generator's real part over its imaginary part, and its largest eigenvalue over its norm."""
    values = torch.linalg.eigvals(basis)
    imaginary = values.imag.abs().amax(1)
    real = values.real.abs().amax(1) / imaginary.clamp_min(1e-12)
    root = values.abs().amax(1) / torch.linalg.matrix_norm(basis).clamp_min(1e-300)
    return {"real_part": float(real.max()), "root": float(root.min())}
