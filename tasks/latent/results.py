"""Results of a study of a latent symmetry: one folder for each seed, and one table of all of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from equivariant.files import read_safetensors, write_file, write_tensors
from tasks.common.files import read_json, write_json
from tasks.common.results import ResultTable, Target

__all__ = ["LatentResults", "SeedResult"]

RESULT, CURVES = "result.json", "curves.safetensors"


@dataclass(kw_only=True, eq=False)
class SeedResult:
    """The result of one seed.

    Args:
        seed: of the discovery.
        run: fingerprint of all settings.
        data: name, shape, time step and digest of the data.
        measures: numbers by name; None where one has no value.
        equations: text by method, or the reason why there is none.
        seconds: by stage.
        words: sentences of the diagnosis and of refinements.
        eigenvalues: real and imaginary parts, of the first generator.
        history: of the losses.
        curves: errors of forecasts (T,) by ``"equation, method"``, and their ``"times"``.
    """

    seed: int
    run: str
    data: dict[str, Any] = field(default_factory=dict)
    measures: dict[str, float | None] = field(default_factory=dict)
    equations: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    words: list[str] = field(default_factory=list)
    eigenvalues: list[list[float]] = field(default_factory=list)
    history: list[dict[str, float]] = field(default_factory=list)
    curves: dict[str, Tensor] = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        """Write the curves, then the result, whose presence marks the seed as finished."""
        if self.curves:
            write_tensors(folder / CURVES, "latent-curves/1", self.curves)
        write_json(folder / RESULT, {k: value for k, value in vars(self).items() if k != "curves"})

    @classmethod
    def load(cls, folder: Path) -> "SeedResult | None":
        """Read what ``save`` wrote.

        Args:
            folder: of the seed.

        Returns:
            The result; None where the seed is not finished.

        Raises:
            ValueError: for another file.
        """
        path, curves = folder / RESULT, folder / CURVES
        if not path.is_file():
            return None
        try:
            plain = read_json(path, "result of a seed")
            return cls(**plain, curves=read_safetensors(curves)[1] if curves.is_file() else {})
        except TypeError as error:
            raise ValueError(f"{path} is not a result of a seed ({error}); remove it to repeat it") from None

    def row(self) -> dict[str, Any]:
        """Of the table: measures, seconds and equations under names of their own."""
        seconds = {f"seconds_{name}": round(value, 2) for name, value in self.seconds.items()}
        text = {f"equation_{name}": text.replace("\n", "; ") for name, text in self.equations.items()}
        more = {"words": self.words, "eigenvalues": self.eigenvalues}
        return {"seed": self.seed, **self.measures, **text, **seconds, **more}


@dataclass(kw_only=True, eq=False)
class LatentResults:
    """The finished seeds of one system.

    Args:
        system: its name.
        targets: what measures should reach.
        seeds: results in order.
    """

    system: str
    targets: Sequence[Target] = ()
    seeds: list[SeedResult] = field(default_factory=list)

    @property
    def table(self) -> ResultTable:
        """One row for each seed."""
        return ResultTable(targets=self.targets, rows=[result.row() for result in self.seeds])

    def write(self, folder: Path, **about: Any) -> None:
        """Write ``results.json``, ``results.csv`` and, where there are equations, ``equations.txt``.

        Args:
            folder: of the run.
            **about: further entries of ``results.json``.
        """
        self.table.write(folder, task=f"latent {self.system}", data=self.seeds[0].data, **about)
        equations = [
            f"seed {result.seed}, {name}:\n{text}\n"
            for result in self.seeds
            for name, text in result.equations.items()
        ]
        if equations:
            write_file(folder / "equations.txt", "\n".join(equations))
