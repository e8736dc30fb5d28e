"""What all estimators share: settings, reading of data, and what is known after ``fit``."""

import platform
from collections.abc import Sequence
from dataclasses import fields
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from discover.data.samples import Samples, YKind, column_names
from discover.data.search_space import SearchSpace
from equivariant.algebra import LieAlgebra
from equivariant.arrays import ArrayLike
from equivariant.compare import DataSpan
from equivariant.rep import Rep

__all__ = ["Estimator", "Settings"]


class Settings:
    """Shared by all estimators, which are keyword-only dataclasses whose fields are their settings.

    The settings are read and changed as scikit-learn does it, so ``sklearn.base.clone`` copies an unfitted estimator.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]
    seed: int
    device: str

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Every setting as it was given.

        Args:
            deep: is ignored; settings hold no estimators.

        Returns:
            Values by name.
        """
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def set_params(self, **params: Any) -> Self:
        """Change settings.

        Args:
            **params: new values by name.

        Returns:
            The estimator itself.

        Raises:
            ValueError: for a name that is no setting; nothing is changed then.
        """
        known = self.get_params()
        if unknown := sorted(params.keys() - known):
            raise ValueError(
                f"unknown setting {unknown[0]!r} of {type(self).__name__}; choose from {sorted(known)}"
            )
        for name, value in params.items():
            setattr(self, name, value)
        return self

    def config(self) -> dict[str, Any]:
        """Every setting, as ``json`` can write it."""
        return {name: _plain(value) for name, value in self.get_params().items()}

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

    def _provenance(self, data: str, **more: Any) -> dict[str, Any]:
        """How an algebra was found, from data of this digest."""
        versions = {"torch": torch.__version__, "python": platform.python_version()}
        about = {"method": type(self).__name__, "config": self.config(), "seed": self.seed}
        return about | {"data": data, "versions": versions} | more


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

    def _read(
        self,
        x: ArrayLike,
        y: ArrayLike | None,
        x_rep: Rep | None,
        y_rep: Rep | None,
        y_kind: YKind | None,
        coordinates: Sequence[str] | None,
    ) -> tuple[Samples, tuple[str, ...]]:
        """The samples, and the names of the coordinates: those given, else those of a data frame's columns."""
        samples = Samples.read(x, y, x_rep, y_rep, y_kind)
        names = column_names(x, x_rep) if coordinates is None else coordinates
        return samples, self._name(names, samples.dim)


def _plain(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.int().tolist()
    return value if isinstance(value, str | int | float | bool | None) else str(value)
