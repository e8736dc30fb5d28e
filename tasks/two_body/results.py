"""What a study of orbits has come to: findings, trained models, and the figures they are written down as."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor

from discover import LieGAN, Refinement, Verdict
from equivariant import LieAlgebra, catalogue, cosine
from tasks.common.results import Row, environment, write_results
from tasks.two_body.data import COLUMNS, TwoBodyData, windows
from tasks.two_body.simulator import energy
from tasks.two_body.time_frame import TimeFrame

__all__ = ["LARGEST_DRIFT", "Finding", "Outcome", "energy_drift", "true_symmetry"]

LARGEST_DRIFT = 1e-5  # of the energy along a trajectory that solves the equations of motion


@dataclass(frozen=True, kw_only=True, eq=False)
class Finding:
    """One run of discovery: the estimator that made it, and its refined algebra."""

    seed: int
    liegan: LieGAN
    refinement: Refinement
    data: Tensor

    @property
    def raw(self) -> LieAlgebra:
        """As it was learned."""
        return self.liegan.algebra_

    @property
    def refined(self) -> LieAlgebra:
        """As it was cleaned."""
        return self.refinement.algebra

    @property
    def verdict(self) -> Verdict:
        """What held-out data say."""
        return self.liegan.verdict_

    def algebra(self, symmetry: str) -> LieAlgebra | None:
        """The algebra by the name it has in the table; ``None`` for ``"none"``."""
        known = {"discovered": self.raw, "refined": self.refined, "true": true_symmetry()}
        return known.get(symmetry)

    def cosine(self, symmetry: str) -> float:
        """|cosine| with the true rotation, by what both do to the data."""
        algebra = self.algebra(symmetry)
        return 0.0 if algebra is None else cosine(algebra, true_symmetry(), self.data)

    def to_dict(self) -> dict[str, Any]:
        """As ``json`` can write it."""
        changes = [{"step": c.step, "size": c.size, "note": c.note} for c in self.refinement.changes]
        cosines = {f"{name}_one_minus_cosine": 1 - self.cosine(name) for name in ("discovered", "refined")}
        digests = {"raw": self.raw.digest, "refined": self.refined.digest}
        return {
            "seed": self.seed,
            **cosines,
            "verdict": self.verdict.to_dict(),
            "changes": changes,
            "digests": digests,
        }

    @property
    def against_truth(self) -> str:
        """How far from the true rotation, as a sentence."""
        raw, refined = (max(0.0, 1 - self.cosine(name)) for name in ("discovered", "refined"))
        return f"against the true rotation, on the data, 1 - |cos| is {raw:.1e} as found and {refined:.1e} refined."

    def __str__(self) -> str:
        return f"{self.verdict} {self.against_truth.capitalize()}"


@dataclass(kw_only=True, eq=False)
class Outcome:
    """What a study has come to so far."""

    orbits: TwoBodyData
    past: int
    future: int
    smoothing: float
    findings: list[Finding] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    histories: dict[tuple[str, str, int], list[dict[str, float]]] = field(default_factory=dict)

    @cached_property
    def train_windows(self) -> tuple[Tensor, Tensor]:
        """x (m, past * 8) and y (m, future * 8) to learn from, float32."""
        return self._windows(self.orbits.train)

    @cached_property
    def test_windows(self) -> tuple[Tensor, Tensor]:
        """The same of the test orbits."""
        return self._windows(self.orbits.test)

    @cached_property
    def unbroken_windows(self) -> Tensor:
        """Which test windows (m,) are of trajectories whose energy stays put."""
        each = len(self.test_windows[0]) // len(self.orbits.test)
        return energy_drift(self.orbits.test).le(LARGEST_DRIFT).repeat_interleave(each)

    @cached_property
    def frame(self) -> TimeFrame:
        """The linear forecast over the time axis, from the training windows."""
        x, y = windows(self.orbits.train, self.past, self.future)
        return TimeFrame.of(x, y, len(COLUMNS), smoothing=self.smoothing)

    def write(self, folder: Path, config: dict[str, Any]) -> None:
        """``results.json`` and ``results.csv`` in the run's folder."""
        about = {
            "task": "two-body",
            "config": config,
            "data": {"source": self.orbits.source, "digest": self.orbits.digest, "broken": self.broken()},
            "environment": environment(),
            "discovery": [found.to_dict() for found in self.findings],
        }
        write_results(folder, self.rows, **about)

    def broken(self) -> dict[str, int]:
        """How many trajectories of each set are no solutions of the equations of motion."""
        sets = {"train": self.orbits.train, "test": self.orbits.test}
        return {name: int((energy_drift(orbits) > LARGEST_DRIFT).sum()) for name, orbits in sets.items()}

    def _windows(self, orbits: Tensor) -> tuple[Tensor, Tensor]:
        x, y = windows(orbits, self.past, self.future)
        return x.float(), y.float()


def true_symmetry() -> LieAlgebra:
    """One turn of both bodies' positions and momenta."""
    turn = catalogue.by_name("4*so(2)")
    return LieAlgebra(turn.basis, turn.distribution, coordinates=COLUMNS, provenance=turn.provenance)


def energy_drift(orbits: Tensor) -> Tensor:
    """Largest change of the energy along each trajectory (n, steps, 8), shape (n,)."""
    values = energy(orbits)
    return (values - values[:, :1]).abs().amax(dim=1)
