"""What every estimator of a linear symmetry tells after ``fit``: where the data live, how the answer came about."""

import platform
from collections.abc import Sequence
from dataclasses import fields
from hashlib import sha256
from typing import Any, ClassVar

import torch
from torch import Tensor

from discover.data.samples import Samples
from discover.data.search_space import SearchSpace
from equivariant.algebra import LieAlgebra
from equivariant.compare import DataSpan

__all__ = ["Estimator", "Settings", "digest"]


class Settings:
    """Shared by all estimators, which are keyword-only dataclasses whose fields are their settings."""

    __dataclass_fields__: ClassVar[dict[str, Any]]
    seed: int
    device: str

    def config(self) -> dict[str, Any]:
        """Every setting, as ``json`` can write it."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return {name: _plain(value) for name, value in values.items()}

    def _check_settings(self, *positive: str) -> None:
        """Refuse settings that are not positive where they must be, and a device that is not there."""
        for name in positive:
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        if torch.device(self.device).type == "cuda" and not torch.cuda.is_available():
            raise ValueError(f"device {self.device!r} is not there: this PyTorch sees no GPU; use 'cpu'")

    def _name(self, coordinates: Sequence[str] | None, k: int) -> tuple[str, ...]:
        """The names of the k coordinates, checked before any work is done."""
        names = tuple(f"x{i}" for i in range(k)) if coordinates is None else tuple(map(str, coordinates))
        if len(names) != k or len(set(names)) != k:
            raise ValueError(
                f"coordinates must be {k} different names, one an entry of a vector, got {list(names)}"
            )
        return names


class Estimator(Settings):
    """Shared by estimators of a linear symmetry; ``fit`` sets ``space_`` and ``algebra_``."""

    space_: SearchSpace
    algebra_: LieAlgebra

    @property
    def span_(self) -> DataSpan:
        """Where the data live."""
        return self.space_.whitening.span

    @property
    def undetermined_(self) -> Tensor:
        """Directions (k - r, k) the data never point in: what a generator does to them is not known."""
        return self.space_.whitening.undetermined()

    @property
    def relations_(self) -> tuple[str, ...]:
        """The linear equations the data obey, in the names of the coordinates; empty when they fill their space."""
        return self.space_.whitening.relations(self.algebra_.coordinates)

    def _provenance(self, samples: Samples, **more: Any) -> dict[str, Any]:
        versions = {"torch": torch.__version__, "python": platform.python_version()}
        about = {"method": type(self).__name__, "config": self.config(), "seed": self.seed}
        return about | {"data": digest(samples), "versions": versions} | more


def digest(samples: Samples) -> str:
    """SHA-256 of the joint samples."""
    hashed = sha256(samples.flat().cpu().numpy().tobytes())
    if samples.labels is not None:
        hashed.update(samples.labels.cpu().numpy().tobytes())
    return hashed.hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.int().tolist()
    return value if isinstance(value, str | int | float | bool | None) else str(value)
