"""What a study of orbits has found: discovered algebras, measured forecasters, and the files they are written to."""

from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor

from discover import LieGAN, Refinement, Verdict
from equivariant import LieAlgebra, catalogue, cosine
from tasks.common.results import ResultTable
from tasks.two_body.data import COLUMNS, TwoBodyData, windows
from tasks.two_body.simulator import energy
from tasks.two_body.time_frame import TimeFrame

__all__ = ["LARGEST_DRIFT", "TwoBodyDiscovery", "TwoBodyResults", "energy_drift", "true_symmetry"]

LARGEST_DRIFT = 1e-5  # of the energy along a trajectory that solves the equations of motion


@dataclass(frozen=True, kw_only=True, eq=False)
class TwoBodyDiscovery:
    """One run of discovery.

    Args:
        seed: of everything random.
        liegan: the fitted estimator.
        refinement: of its algebra.
        data: states (n, 8) on which algebras are compared.
    """

    seed: int
    liegan: LieGAN
    refinement: Refinement
    data: Tensor

    @property
    def raw(self) -> LieAlgebra:
        """The algebra as it was learned."""
        return self.liegan.algebra_

    @property
    def refined(self) -> LieAlgebra:
        """The algebra as it was refined."""
        return self.refinement.algebra

    @property
    def verdict(self) -> Verdict:
        """Evaluated on held-out data."""
        return self.liegan.verdict_

    def algebra(self, symmetry: str) -> LieAlgebra | None:
        """The algebra by the name it has in the table; ``None`` for ``"none"``."""
        return {"discovered": self.raw, "refined": self.refined, "true": true_symmetry()}.get(symmetry)

    def error(self, symmetry: str) -> float:
        """1 - |cosine| between an algebra and the true rotation, by what both do to the data."""
        algebra = self.algebra(symmetry)
        return 1.0 if algebra is None else 1 - cosine(algebra, true_symmetry(), self.data)

    def to_dict(self) -> dict[str, Any]:
        """As ``json`` can write it."""
        return {
            "seed": self.seed,
            **{f"{name}_one_minus_cosine": self.error(name) for name in ("discovered", "refined")},
            "verdict": self.verdict.to_dict(),
            "changes": [asdict(change) for change in self.refinement.changes],
            "digests": {"raw": self.raw.digest, "refined": self.refined.digest},
        }

    @property
    def against_truth(self) -> str:
        """How far from the true rotation, as a sentence."""
        raw, refined = (max(0.0, self.error(name)) for name in ("discovered", "refined"))
        return f"Against the true rotation, on the data, 1 - |cos| is {raw:.1e} as found and {refined:.1e} refined."


@dataclass(kw_only=True, eq=False)
class TwoBodyResults:
    """What a study has measured so far.

    Args:
        orbits: the data.
        past: steps that go into a forecaster.
        future: steps that come out.
        smoothing: ridge of the linear forecast.
        discoveries: one a seed.
        table: one row for each trained forecaster; ``test_mse`` and ``train_mse`` in the data's squared units,
            ``mse_without_outliers`` the test error without trajectories that solve no equation of motion,
            ``seconds`` of training.
        histories: training logs by (model, symmetry, seed).
    """

    orbits: TwoBodyData
    past: int
    future: int
    smoothing: float
    discoveries: list[TwoBodyDiscovery] = field(default_factory=list)
    table: ResultTable = field(default_factory=lambda: ResultTable(by=("model", "symmetry")))
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
    def without_outliers(self) -> Tensor:
        """Which test windows (m,) are of trajectories that conserve energy."""
        each = len(self.test_windows[0]) // len(self.orbits.test)
        return energy_drift(self.orbits.test).le(LARGEST_DRIFT).repeat_interleave(each)

    @cached_property
    def frame(self) -> TimeFrame:
        """The linear forecast over the time axis, from the training windows."""
        x, y = windows(self.orbits.train, self.past, self.future)
        return TimeFrame.of(x, y, len(COLUMNS), smoothing=self.smoothing)

    def write(self, folder: Path, config: dict[str, Any]) -> None:
        """``results.json`` and ``results.csv`` in the run's folder."""
        self.table.write(
            folder,
            task="two-body",
            config=config,
            data={"source": self.orbits.source, "digest": self.orbits.digest, "outliers": self.outliers()},
            discovery=[found.to_dict() for found in self.discoveries],
        )

    def outliers(self) -> dict[str, int]:
        """How many trajectories of each set solve no equation of motion: their energy changes."""
        sets = {"train": self.orbits.train, "test": self.orbits.test}
        return {name: int((energy_drift(orbits) > LARGEST_DRIFT).sum()) for name, orbits in sets.items()}

    def _windows(self, orbits: Tensor) -> tuple[Tensor, Tensor]:
        x, y = windows(orbits, self.past, self.future)
        return x.float(), y.float()


def true_symmetry() -> LieAlgebra:
    """The rotation of both bodies' positions and momenta in the plane."""
    rotation = catalogue.by_name("4*so(2)")
    return LieAlgebra(
        rotation.basis, rotation.distribution, coordinates=COLUMNS, provenance=rotation.provenance
    )


def energy_drift(orbits: Tensor) -> Tensor:
    """Largest change of the energy along each trajectory.

    Args:
        orbits: (n, steps, 8).

    Returns:
        Shape (n,).
    """
    values = energy(orbits)
    return (values - values[:, :1]).abs().amax(dim=1)
