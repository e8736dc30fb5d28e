"""The result table of all tasks: measured quantities of every run, their medians over seeds, and their files."""

import math
import os
import platform
import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from tasks.common.files import read_json, write_csv, write_json

__all__ = ["Column", "ResultTable", "Spread", "Summary", "Table", "Target", "environment"]

PACKAGES = ("liesmith", "torch", "torch-geometric", "numpy", "scipy")
RENAMED = {"unbroken_mse": "mse_without_outliers"}  # columns of files that 0.1 wrote


@dataclass(frozen=True, kw_only=True)
class Target:
    """What a measured quantity should reach.

    Args:
        measure: its name.
        at_least: lower bound, if any.
        at_most: upper bound, if any.

    Example:
        >>> target = Target(measure="error", at_most=0.01)
        >>> str(target), target.met(0.02), target.met(None)
        ('at most 0.01', False, False)
    """

    measure: str
    at_least: float | None = None
    at_most: float | None = None

    def met(self, value: float | None) -> bool:
        """Whether a value reaches it; None and NaN do not."""
        if value is None:
            return False
        low = self.at_least is None or value >= self.at_least
        return low and (self.at_most is None or value <= self.at_most)

    def __str__(self) -> str:
        parts = {"at least": self.at_least, "at most": self.at_most}
        if self.at_least is not None and self.at_least == self.at_most:
            parts = {"exactly": self.at_least}
        return " and ".join(f"{word} {value:g}" for word, value in parts.items() if value is not None)


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Median and range of a quantity over seeds; all None where no seed has a value.

    Args:
        median: over the seeds.
        lowest: of the seeds.
        highest: of the seeds.
        seeds: how many have a finite value.

    Example:
        >>> print(Spread.of([1.0, 4.0, None, 2.0]))
        2 (1 to 4)
        >>> print(Spread.of([2.0]))
        2
    """

    median: float | None
    lowest: float | None
    highest: float | None
    seeds: int

    @classmethod
    def of(cls, values: Iterable[float | None]) -> "Spread":
        """Of one value a seed; None and what is not finite are left out."""
        finite = [value for value in values if value is not None and math.isfinite(value)]
        return cls(
            median=statistics.median(finite) if finite else None,
            lowest=min(finite, default=None),
            highest=max(finite, default=None),
            seeds=len(finite),
        )

    def __format__(self, form: str) -> str:
        if self.median is None:
            return "-"
        middle, low, high = (_number(value, form) for value in (self.median, self.lowest, self.highest))
        return middle if self.seeds == 1 else f"{middle} ({low} to {high})"

    def __str__(self) -> str:
        return f"{self:.4g}"


@dataclass(frozen=True, kw_only=True)
class Summary:
    """One group of rows, such as a model with a symmetry, over seeds.

    Args:
        group: what its rows have in common, by column.
        seeds: how many rows.
        spreads: of every measured quantity.
    """

    group: dict[str, Any]
    seeds: int
    spreads: dict[str, Spread]

    def __getitem__(self, measure: str) -> Spread:
        return self.spreads.get(measure, Spread.of([]))

    def cell(self, column: "Column") -> str:
        """The text of one column."""
        if column.key in self.group:
            return str(self.group[column.key])
        return str(self.seeds) if column.key == "seeds" else format(self[column.key], column.form)


@dataclass(frozen=True, kw_only=True)
class Column:
    """A column of a table as text.

    Args:
        name: its heading.
        key: of the quantity, where cells come from a ``ResultTable``.
        form: format of its numbers, such as ``".2e"``.
        number: whether cells stand to the right.
    """

    name: str
    key: str = ""
    form: str = ".4g"
    number: bool = False


@dataclass(frozen=True, kw_only=True)
class Table:
    """Cells as text, for the terminal and for pages.

    Args:
        columns: headings.
        rows: of cells.
        best: row to set in bold, if any.

    Example:
        >>> print(Table(columns=[Column(name="model"), Column(name="error", number=True)], rows=[["MLP", "0.1"]]))
        model  error
        MLP      0.1
    """

    columns: Sequence[Column]
    rows: Sequence[Sequence[str]]
    best: int | None = None

    def __str__(self) -> str:
        lines = [[column.name for column in self.columns], *self.rows]
        widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
        pads = [str.rjust if column.number else str.ljust for column in self.columns]
        return "\n".join(
            "  ".join(pad(cell, width) for pad, cell, width in zip(pads, line, widths, strict=True)).rstrip()
            for line in lines
        )


@dataclass(kw_only=True)
class ResultTable:
    """Rows of measured quantities, one for each run, and what they come to over seeds.

    Args:
        by: columns that name what is compared, such as ``("model", "symmetry")``; empty where all rows are of one.
        targets: what quantities should reach.
        rows: one for each run; ``seed`` beside the columns of ``by``, and whatever was measured.

    Example:
        >>> table = ResultTable(by=("model",))
        >>> table.rows += [{"model": "MLP", "seed": s, "error": e} for s, e in ((0, 1.0), (1, 3.0))]
        >>> print(table.summary()[0]["error"])
        2 (1 to 3)
    """

    by: tuple[str, ...] = ()
    targets: Sequence[Target] = ()
    rows: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def read(
        cls, path: str | Path, by: tuple[str, ...] = (), targets: Sequence[Target] = ()
    ) -> "ResultTable":
        """The rows of a ``results.json``, of this version or of 0.1.

        Args:
            path: of the file.
            by: columns that name what is compared.
            targets: what quantities should reach.

        Returns:
            The table; columns that had other names in 0.1 have today's.

        Raises:
            FileNotFoundError: where there is no file.
            ValueError: when it has no rows.
        """
        content = read_json(path)
        rows: list[dict[str, Any]] = content.get("rows") or [
            {"seed": seed["seed"], **seed.get("measures", {})} for seed in content.get("seeds", [])
        ]
        if not rows:
            raise ValueError(
                f"{path} must have an entry 'rows' (or 'seeds', as 0.1 wrote), got {list(content)}"
            )
        renamed: list[dict[str, Any]] = [
            {RENAMED.get(name, name): value for name, value in row.items()} for row in rows
        ]
        return cls(by=by, targets=targets, rows=renamed)

    def summary(self) -> list[Summary]:
        """One for each group, in the order of first appearance."""
        return [
            Summary(group=group, seeds=len(rows), spreads=self._spreads(rows))
            for group, rows in self._groups()
        ]

    def table(self, columns: Sequence[Column], best: str | None = None) -> Table:
        """The summary as text.

        Args:
            columns: which quantities, and how their numbers are written.
            best: quantity whose lowest median is set in bold.

        Returns:
            One row a group.
        """
        summaries = self.summary()
        medians = [s[best].median for s in summaries] if best else []
        known = [i for i, median in enumerate(medians) if median is not None]
        return Table(
            columns=columns,
            rows=[[summary.cell(column) for column in columns] for summary in summaries],
            best=min(known, key=lambda i: medians[i] or 0.0) if known else None,
        )

    def write(self, folder: str | Path, **about: Any) -> None:
        """Write ``results.json`` and ``results.csv``.

        Args:
            folder: of the run.
            **about: further entries of ``results.json``, such as ``config`` and ``data``.

        Raises:
            OSError: with a sentence, when they cannot be written.
        """
        content = {"environment": environment(), **about}
        content |= (
            {"targets": [asdict(target) | {"text": str(target)} for target in self.targets]}
            if self.targets
            else {}
        )
        summary = [{**s.group, "seeds": s.seeds, **s.spreads} for s in self.summary()]
        write_json(Path(folder) / "results.json", content | {"summary": summary, "rows": self.rows})
        common = {"device": content["environment"]["device"], "torch": torch.__version__}
        rows = [
            {**_flat(row), **{n: value for n, value in common.items() if n not in row}} for row in self.rows
        ]
        write_csv(Path(folder) / "results.csv", rows)

    def _groups(self) -> Iterator[tuple[dict[str, Any], list[dict[str, Any]]]]:
        keys = dict.fromkeys(tuple(row.get(name) for name in self.by) for row in self.rows)
        for key in keys:
            group = dict(zip(self.by, key, strict=True))
            yield group, [row for row in self.rows if all(row.get(name) == group[name] for name in self.by)]

    def _spreads(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Spread]:
        names = dict.fromkeys(
            name
            for row in rows
            for name, value in row.items()
            if name not in (*self.by, "seed")
            and isinstance(value, int | float)
            and not isinstance(value, bool)
        )
        return {name: Spread.of(row.get(name) for row in rows) for name in names}


def environment(device: str = "cpu") -> dict[str, Any]:
    """Versions and machine, beside which a figure can be judged.

    Args:
        device: that models were trained on.

    Returns:
        Texts and numbers by name.
    """
    return {
        "device": device,
        "processor": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
    }


def _renamed(row: Mapping[str, Any]) -> dict[str, Any]:
    return {RENAMED.get(name, name): value for name, value in row.items()}


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row without what does not fit into one cell."""
    return {name: value for name, value in row.items() if not isinstance(value, list | dict)}


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value + 0.0, form or ".4g")  # + 0.0: no -0


def _version(package: str) -> str:
    if package == "torch":
        return torch.__version__  # with the build, such as +cu130, which the package's metadata may lack
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
