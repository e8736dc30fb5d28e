"""What a study of a latent symmetry has come to: one folder a seed, and the figures of all of them in one file."""

import csv
import io
import json
import math
import os
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tasks.common.results import environment
from tasks.latent.systems.presets import Target

__all__ = ["LatentOutcome", "SeedResult"]

RESULT = "result.json"


@dataclass(frozen=True, kw_only=True, eq=False)
class SeedResult:
    """One seed, finished.

    Args:
        seed: of the discovery. run: digest of the settings and the data that it belongs to.
        measures: by name; None where one has no value. equations: text by method, or why there is none.
        seconds: of simulation, discovery, equation, baseline, forecast. words: what the diagnosis and verdict say.
        history: of the losses. curves: tensors to draw, such as ``"symmetry, rk"`` (T,), errors of a forecast.
    """

    seed: int
    run: str
    measures: dict[str, float | None]
    equations: dict[str, str] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    words: list[str] = field(default_factory=list)
    eigenvalues: list[list[float]] = field(default_factory=list)
    history: list[dict[str, float]] = field(default_factory=list)
    curves: dict[str, Tensor] = field(default_factory=dict)

    def save(self, folder: Path) -> None:
        """Write curves, then the result, whose presence says that the seed is finished."""
        folder.mkdir(parents=True, exist_ok=True)
        if self.curves:
            save_file(
                {name: t.contiguous() for name, t in self.curves.items()}, folder / "curves.safetensors"
            )
        plain = {name: value for name, value in vars(self).items() if name != "curves"}
        _replace(folder / RESULT, json.dumps(_finite(plain), indent=1) + "\n")

    @classmethod
    def load(cls, folder: Path) -> "SeedResult | None":
        """The result in a folder; None where the seed is not finished. ``ValueError`` for a foreign file."""
        path, curves = folder / RESULT, folder / "curves.safetensors"
        if not path.is_file():
            return None
        try:
            plain = json.loads(path.read_text(encoding="utf-8"))
            return cls(**plain, curves=load_file(curves) if curves.is_file() else {})
        except (json.JSONDecodeError, TypeError) as error:
            raise ValueError(
                f"{path} is no result of a seed ({error}); remove it to run the seed anew"
            ) from None

    def to_row(self) -> dict[str, Any]:
        """Flat, as a line of ``results.csv``."""
        seconds = {f"seconds_{name}": round(value, 2) for name, value in self.seconds.items()}
        text = {f"equation_{name}": text.replace("\n", "; ") for name, text in self.equations.items()}
        return {"seed": self.seed, **_finite(self.measures), **text, **seconds}

    def __str__(self) -> str:
        shown = (
            "cosine_inner",
            "reconstruction_error",
            "equivariance_error",
            "energy_drift",
            "forecast_end",
            "terms",
        )
        parts = [
            f"{name.replace('_', ' ')} {self.measures[name]:.4g}"
            for name in shown
            if _is(self.measures, name)
        ]
        equation = self.equations.get("symmetry", "")
        return f"seed {self.seed}: {', '.join(parts)}" + (f"\n{equation}" if equation else "")


@dataclass(kw_only=True, eq=False)
class LatentOutcome:
    """All finished seeds of one system."""

    system: str
    title: str
    targets: Sequence[Target]
    results: list[SeedResult] = field(default_factory=list)

    @property
    def summary(self) -> list[dict[str, Any]]:
        """Median, lowest and highest of every measure, with its target where there is one."""
        names = list(dict.fromkeys(name for result in self.results for name in result.measures))
        return [self._summary(name) for name in names]

    def write(self, folder: Path, config: dict[str, Any], data: dict[str, Any], command: str) -> None:
        """``results.json``, ``results.csv``, ``equations.json`` and ``equations.txt`` in the run's folder."""
        rows = [result.to_row() for result in self.results]
        equations = [{"seed": r.seed, **r.equations} for r in self.results if r.equations]
        content = {
            "task": f"latent {self.system}",
            "command": command,
            "config": config,
            "data": data,
            "environment": environment(),
            "targets": [asdict(target) for target in self.targets],
            "summary": self.summary,
            "seeds": [_finite({k: v for k, v in vars(r).items() if k != "curves"}) for r in self.results],
        }
        _replace(folder / "results.json", json.dumps(_finite(content), indent=1, default=str) + "\n")
        _replace(folder / "results.csv", _csv(rows))
        if equations:
            _replace(folder / "equations.json", json.dumps(equations, indent=1) + "\n")
            _replace(folder / "equations.txt", _equation_text(equations))

    def verdicts(self) -> list[str]:
        """A sentence for each target: met or not, by how many seeds."""
        return [self._verdict(row) for row in self.summary if row["target"] is not None]

    def text(self) -> str:
        """Medians over seeds for the terminal, with targets."""
        lines = [f"{'measure':<26}{'median':>11}{'lowest':>11}{'highest':>11}  target"]
        for row in self.summary:
            values = "".join(f"{_number(row[name]):>11}" for name in ("median", "lowest", "highest"))
            target = (
                ""
                if row["target"] is None
                else f"  {row['target']}: {row['met']} of {len(self.results)} seeds"
            )
            lines.append(f"{row['measure']:<26}{values}{target}")
        return "\n".join([*lines, "", *self.verdicts()])

    def _verdict(self, row: dict[str, Any]) -> str:
        n, met = len(self.results), row["met"]
        word = "Met" if met == n else ("Not met" if met == 0 else "Met in part")
        return (
            f"{word}: {row['measure'].replace('_', ' ')} {row['target']}, by {met} of {n} seeds; median "
            f"{_number(row['median'])}, from {_number(row['lowest'])} to {_number(row['highest'])}."
        )

    def _summary(self, name: str) -> dict[str, Any]:
        given = [result.measures.get(name) for result in self.results]
        values = [value for value in given if value is not None and not math.isnan(value)]
        target = next((target for target in self.targets if target.measure == name), None)
        return {
            "measure": name,
            "median": statistics.median(values) if values else None,
            "lowest": min(values, default=None),
            "highest": max(values, default=None),
            "seeds": len(values),
            "target": None if target is None else str(target),
            "met": None if target is None else sum(target.met(value) for value in given),
        }


def _equation_text(equations: Sequence[dict[str, Any]]) -> str:
    parts = [
        f"seed {row['seed']}, {name}:\n{text}"
        for row in equations
        for name, text in row.items()
        if name != "seed"
    ]
    return "\n\n".join(parts) + "\n"


def _csv(rows: Sequence[dict[str, Any]]) -> str:
    buffer = io.StringIO()
    names = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(buffer, [*names, "device", "torch"], lineterminator="\n")
    writer.writeheader()
    writer.writerows([row | {"device": "cpu", "torch": torch.__version__} for row in rows])
    return buffer.getvalue()


def _finite(value: Any) -> Any:
    """What JSON has no word for becomes None."""
    if isinstance(value, dict):
        return {name: _finite(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _is(measures: dict[str, float | None], name: str) -> bool:
    return measures.get(name) is not None


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _replace(path: Path, text: str) -> None:
    fresh = path.with_suffix(f"{path.suffix}.{os.getpid()}.part")  # several processes may write at once
    fresh.write_text(text, encoding="utf-8")
    os.replace(fresh, path)
