"""Trajectories (m, T, *shape) of one system with its time step, and what else is known of them; safetensors files."""

import json
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

__all__ = ["Trajectories"]

FORMAT = "trajectories/1"


@dataclass(frozen=True, kw_only=True, eq=False)
class Trajectories:
    """m trajectories of T snapshots of any shape, ``time_step`` [time] apart.

    Args:
        name: of the system.
        states: (m, T, *shape), in the units that ``coordinates`` name.
        time_step: between snapshots [time]; 1 where a step is a group element and not time.
        coordinates: names with units of what a snapshot holds, such as ``("q [rad]", "p [rad/time]")``.
        rates: d states / dt of the same shape, in units per time, where they are known.
        coefficients: (m, T-1, c), where the group element from each snapshot to the next is known:
            x[t+1] = exp(coefficients[t] . L) x[t].

    Raises ``ValueError`` for a wrong shape, a time step that is not positive, or a number that is not finite.
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
                    f"{key} of {self.name} must be finite; the simulation blew up or the file is broken"
                )

    def __len__(self) -> int:
        return len(self.states)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one snapshot."""
        return tuple(self.states.shape[2:])

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all that the value holds."""
        hashed = sha256(json.dumps([self.name, self.time_step, self.coordinates]).encode())
        for key, tensor in self._tensors().items():
            hashed.update(f"{key}{_shape(tensor)}".encode() + tensor.cpu().contiguous().numpy().tobytes())
        return hashed.hexdigest()

    def choose(self, index: Tensor | slice) -> "Trajectories":
        """Some of the trajectories."""
        return replace(self, **{key: tensor[index] for key, tensor in self._tensors().items()})

    def between(self, start: int, stop: int | None = None) -> "Trajectories":
        """The snapshots from ``start`` up to ``stop`` of every trajectory."""
        last = self.states.shape[1] if stop is None else stop
        cut = {key: t[:, start : last - (key == "coefficients")] for key, t in self._tensors().items()}
        return replace(self, **cut)

    def every(self, stride: int) -> "Trajectories":
        """Each ``stride``-th snapshot; known group elements are left out, since they would have to be multiplied."""
        if stride < 1:
            raise ValueError(f"stride must be at least 1, got {stride}")
        if stride == 1:
            return self
        thinned = {k: t[:, ::stride] for k, t in self._tensors().items() if k != "coefficients"}
        return replace(self, **thinned, time_step=stride * self.time_step, coefficients=None)

    def save(self, path: str | Path) -> None:
        """Write the safetensors file that ``load`` reads."""
        about = {"name": self.name, "time_step": self.time_step, "coordinates": self.coordinates}
        tensors = {key: tensor.cpu().contiguous() for key, tensor in self._tensors().items()}
        save_file(tensors, path, metadata={"format": FORMAT, "about": json.dumps(about)})

    @classmethod
    def load(cls, path: str | Path) -> "Trajectories":
        """Read a file that ``save`` wrote; ``ValueError`` for another."""
        if not Path(path).is_file():
            raise FileNotFoundError(f"no trajectories at {path}")
        try:
            with safe_open(path, framework="pt") as file:
                header = file.metadata() or {}
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        except SafetensorError as error:
            raise ValueError(f"{path} is not a safetensors file ({error})") from None
        if header.get("format") != FORMAT:
            raise ValueError(f"{path} must have the format {FORMAT}, got {header.get('format')}")
        about = json.loads(header["about"])
        about["coordinates"] = tuple(about["coordinates"])
        return cls(**about, **tensors)

    def _tensors(self) -> dict[str, Tensor]:
        tensors = {"states": self.states, "rates": self.rates, "coefficients": self.coefficients}
        return {key: tensor for key, tensor in tensors.items() if tensor is not None}


def _shape(tensor: Tensor) -> tuple[int, ...]:
    return tuple(tensor.shape)
