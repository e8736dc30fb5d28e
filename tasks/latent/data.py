"""Trajectories of snapshots of one system, with what is known of their motion; kept in safetensors files."""

import json
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from equivariant.files import read_tensors, write_tensors

__all__ = ["Trajectories"]

FORMAT = "trajectories/1"


@dataclass(frozen=True, kw_only=True, eq=False)
class Trajectories:
    """m trajectories of T snapshots of any shape.

    Args:
        name: of the system.
        states: snapshots (m, T, *shape), in the units of ``coordinates``.
        time_step: between two snapshots [time]; 1 where they differ by a group element and not by time.
        coordinates: names with units of what a snapshot holds, such as ``("q [rad]", "p [rad/time]")``.
        rates: d states / dt of the same shape, where they are known.
        coefficients: (m, T-1, c), where the group element between two snapshots is known:
            x[t+1] = exp(coefficients[t] . L) x[t].

    Raises:
        ValueError: for a wrong shape, a time step that is not positive, or a number that is not finite.

    Example:
        >>> import torch
        >>> from tasks.latent import Trajectories
        >>> data = Trajectories(name="line", states=torch.zeros(3, 10, 2), time_step=0.1, coordinates=("q", "p"))
        >>> len(data), data.shape, data.every(2).states.shape[1]
        (3, (2,), 5)
    """

    name: str
    states: Tensor
    time_step: float
    coordinates: tuple[str, ...]
    rates: Tensor | None = None
    coefficients: Tensor | None = None

    def __post_init__(self) -> None:
        if self.states.ndim < 3 or not self.states.numel():
            raise ValueError(f"states must have shape (m, T, *shape), none empty, got {_shape(self.states)}")
        if not self.time_step > 0:
            raise ValueError(f"time_step must be positive, got {self.time_step}")
        if self.rates is not None and self.rates.shape != self.states.shape:
            raise ValueError(
                f"rates must have the states' shape {_shape(self.states)}, got {_shape(self.rates)}"
            )
        between = (self.states.shape[0], self.states.shape[1] - 1)
        if self.coefficients is not None and (
            self.coefficients.ndim != 3 or self.coefficients.shape[:2] != between
        ):
            raise ValueError(
                f"coefficients must have shape (m, T-1, c) = {(*between, 'c')}, got {_shape(self.coefficients)}"
            )
        for key, tensor in self._tensors().items():
            if not torch.isfinite(tensor).all():
                raise ValueError(
                    f"{key} of {self.name} must be finite; the simulation diverged or the file is damaged"
                )

    def __len__(self) -> int:
        return len(self.states)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one snapshot."""
        return tuple(self.states.shape[2:])

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the whole content."""
        hashed = sha256(json.dumps([self.name, self.time_step, self.coordinates]).encode())
        for key, tensor in self._tensors().items():
            hashed.update(f"{key}{_shape(tensor)}".encode() + tensor.cpu().contiguous().numpy().tobytes())
        return hashed.hexdigest()

    def choose(self, index: Tensor | slice) -> "Trajectories":
        """Some of the trajectories."""
        return replace(self, **{key: tensor[index] for key, tensor in self._tensors().items()})

    def between(self, start: int, stop: int | None = None) -> "Trajectories":
        """The snapshots of every trajectory from index ``start`` up to ``stop``."""
        last = self.states.shape[1] if stop is None else stop
        cut = {key: t[:, start : last - (key == "coefficients")] for key, t in self._tensors().items()}
        return replace(self, **cut)

    def every(self, stride: int) -> "Trajectories":
        """Each ``stride``-th snapshot; known group elements are left out, since they would have to be multiplied.

        Args:
            stride: at least 1, which changes nothing.

        Returns:
            The snapshots, with a time step ``stride`` times as long.

        Raises:
            ValueError: for a smaller stride.
        """
        if stride < 1:
            raise ValueError(f"stride must be at least 1, got {stride}")
        if stride == 1:
            return self
        thinned = {k: t[:, ::stride] for k, t in self._tensors().items() if k != "coefficients"}
        return replace(self, **thinned, time_step=stride * self.time_step, coefficients=None)

    def save(self, path: str | Path) -> None:
        """Write the safetensors file that ``load`` reads.

        Args:
            path: of the file.
        """
        about = {"name": self.name, "time_step": self.time_step, "coordinates": self.coordinates}
        write_tensors(path, FORMAT, self._tensors(), about=json.dumps(about))

    @classmethod
    def load(cls, path: str | Path) -> "Trajectories":
        """Read a file written by ``save``.

        Args:
            path: of the file.

        Returns:
            The trajectories.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: for another file.
        """
        header, tensors = read_tensors(path, FORMAT, "trajectories", "Trajectories.save(path)")
        about: dict[str, Any] = json.loads(header["about"])
        return cls(**{**about, **tensors, "coordinates": tuple(about["coordinates"])})

    def _tensors(self) -> dict[str, Tensor]:
        tensors = {"states": self.states, "rates": self.rates, "coefficients": self.coefficients}
        return {key: tensor for key, tensor in tensors.items() if tensor is not None}


def _shape(tensor: Tensor) -> tuple[int, ...]:
    return tuple(tensor.shape)
