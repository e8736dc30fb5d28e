"""What may have gone wrong in a latent game, measured on held-out windows, with advice."""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from discover.validation.certify import Verdict

__all__ = ["Diagnosis", "diagnose"]

ADVICE = {
    "collapsed latent": "the latent has (nearly) lost a direction; raise anchor_weight, or lower latent_dim",
    "off centre": "the mean of the latent is not the point the group turns about; raise anchor_weight",
    "spiky latent": "a few snapshots lie far from all others; lower the rate, or look for outliers in the data",
    "no motion": "the group elements hardly move the latent; raise distribution_scale",
    "hyperbolic": "a generator has real eigenvalues, which no law of finite variance keeps; try another seed",
    "nilpotent": "a generator shears, which no law of finite variance keeps; another seed or more starts",
    "critic wins": "moved windows are told from real ones; raise gan_weight or steps, or there is no such symmetry",
    "poor reconstruction": "the decoder does not give the data back; more steps, a wider net or a larger latent_dim",
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
LOST = 0.6  # AUC of a fresh critic; a few held-out turns of one trajectory are never quite uniform


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """What is wrong, in words of ``ADVICE``, and the numbers behind it; true when nothing is.

    Args:
        flags: keys of ``ADVICE``. numbers: the measurements, by name. verdict: of a fresh critic, if there was one.
    """

    flags: tuple[str, ...]
    numbers: dict[str, float]
    verdict: Verdict | None = None

    def __bool__(self) -> bool:
        return not self.flags

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong and the verdict, where there is one, establishes a symmetry."""
        return not self.flags and (self.verdict is None or self.verdict.passed)

    @property
    def doubt(self) -> tuple[int, float]:
        """What is smaller for the better of two games: how much is wrong, then the AUC of the fresh critic."""
        return len(self.flags), self.numbers.get("auc", 0.0)

    def to_dict(self) -> dict[str, Any]:
        """As ``json`` can write it."""
        verdict = None if self.verdict is None else self.verdict.to_dict()
        return asdict(self) | {"flags": list(self.flags), "verdict": verdict, "text": str(self)}

    def __str__(self) -> str:
        numbers = ", ".join(f"{name} {value:.3g}" for name, value in self.numbers.items())
        words = [f"{flag}: {ADVICE[flag]}." for flag in self.flags]
        head = (
            "Nothing wrong was seen." if not words else "Not to be trusted as it stands: " + " ".join(words)
        )
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
    """Look at latent vectors (n, k), generators (c, k, k) and elements (n, k, k) drawn from their law.

    Args:
        learned: whether the generators were; given ones may be what they like.
        reconstruction, equivariance: relative errors. centred: whether the latent should have mean zero.
    """
    z, basis, elements = z.double(), basis.double(), elements.double()
    numbers = _of_latent(z) | {"move": _move(z, elements), "reconstruction": reconstruction}
    flags = _latent_flags(numbers, centred)
    if learned:
        numbers |= _of_generators(basis)
        flags += _generator_flags(numbers)
    if reconstruction > LARGEST_ERROR or reconstruction != reconstruction:
        flags.append("poor reconstruction")
    if equivariance is not None:
        numbers["equivariance"] = equivariance
        flags += ["not equivariant"] if not equivariance <= LARGEST_EQUIVARIANCE_ERROR else []
    if verdict is not None:
        numbers["auc"] = verdict.auc.value
        flags += ["critic wins"] if not verdict.auc.low <= LOST else []
    return Diagnosis(flags=tuple(flags), numbers=numbers, verdict=verdict)


def _of_latent(z: Tensor) -> dict[str, float]:
    mean = z.mean(0)
    spread = torch.linalg.svdvals(z - mean) / len(z) ** 0.5
    size = spread.square().sum().sqrt().clamp_min(1e-300)
    return {
        "spread": float(spread[-1] / spread[0].clamp_min(1e-300)),
        "size": float(size),
        "off_centre": float(mean.norm() / size),
        "spike": float((z - mean).norm(dim=1).max() / size),
    }


def _move(z: Tensor, elements: Tensor) -> float:
    return float((torch.einsum("nij,nj->ni", elements, z) - z).norm() / z.norm().clamp_min(1e-300))


def _of_generators(basis: Tensor) -> dict[str, float]:
    """The worst generator's real part over its imaginary part, and its largest eigenvalue over its norm."""
    values = torch.linalg.eigvals(basis)
    imaginary = values.imag.abs().amax(1)
    real = values.real.abs().amax(1) / imaginary.clamp_min(1e-12)
    root = values.abs().amax(1) / torch.linalg.matrix_norm(basis).clamp_min(1e-300)
    return {"real_part": float(real.max()), "root": float(root.min())}


def _latent_flags(numbers: dict[str, float], centred: bool) -> list[str]:
    checks = {
        "collapsed latent": not (numbers["spread"] >= LEAST_SPREAD and numbers["size"] > 1e-6),
        "off centre": centred and not numbers["off_centre"] <= FARTHEST_MEAN,
        "spiky latent": not numbers["spike"] <= SPIKE,
        "no motion": not numbers["move"] >= LEAST_MOVE,
    }
    return [flag for flag, seen in checks.items() if seen]


def _generator_flags(numbers: dict[str, float]) -> list[str]:
    if not numbers["root"] >= SHEAR:
        return ["nilpotent"]
    return ["hyperbolic"] if not numbers["real_part"] <= LARGEST_REAL else []
