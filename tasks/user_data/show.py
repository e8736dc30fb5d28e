"""An algebra made visible: its matrices as text, and a page with heat map, spectrum and data before and after g."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from discover import identify
from discover.algebra.draw import draw_action, draw_basis, draw_spectrum
from equivariant import LieAlgebra, data_span
from tasks.common.columns import DataFile
from tasks.common.report import Headline, Picture, Section, algebra_in_words, write_report
from tasks.common.results import environment

__all__ = ["Show", "describe"]


@dataclass(kw_only=True)
class Show:
    """Prints and draws an algebra.

    Args:
        data: file of data to transform; random points when left out.
        x: its array or columns, as for discover.
        out: folder of the page, runs/show-FILE by default.
    """

    data: Path | None = None
    x: str | None = None
    out: Path | None = None

    def run(self, path: Path) -> str:
        """Write the page.

        Args:
            path: of the algebra.

        Returns:
            The algebra as text.

        Raises:
            FileNotFoundError: where there is no file.
            ValueError: for a file that is not an algebra, or data that do not fit it.
        """
        algebra = LieAlgebra.load(path)
        points = self._points(algebra)
        seen = None if self.data is None else points
        folder = self.out or Path("runs") / f"show-{path.stem}"
        actions = [
            Picture(
                figure=draw_action(algebra, points, generator=i), caption=f"Before and after exp(w L{i + 1})."
            )
            for i in range(algebra.n_generators)
        ]
        spectrum = Picture(figure=draw_spectrum(algebra), caption="Eigenvalues and singular values.")
        write_report(
            folder / "report.html",
            f"The algebra of {path.name}",
            repr(algebra),
            headline=Headline(
                found=algebra_in_words(algebra, seen),
                sure=_name(algebra, seen),
                picture=Picture(figure=draw_basis(algebra), caption="Entries of the generators."),
                passed=algebra.n_generators > 0,
            ),
            sections=[
                Section(heading="Data before and after g", pictures=actions),
                Section(heading="Spectrum", pictures=[spectrum]),
            ],
            details={"provenance": algebra.provenance, "environment": environment()},
        )
        return f"{describe(algebra, seen)}\n\nPictures are in {folder}/report.html."

    def _points(self, algebra: LieAlgebra) -> Tensor:
        if self.data is None:
            noise = torch.randn(
                40, algebra.dim, generator=torch.Generator().manual_seed(0), dtype=torch.float64
            )
            return noise + algebra.origin.double().cpu()
        points, names = DataFile.read(self.data).select(self.x, "x")
        if points.ndim not in (2, 3) or points.shape[-1] != algebra.dim:
            raise ValueError(
                f"the data must have shape (n, {algebra.dim}) like the algebra, got {tuple(points.shape)}"
            )
        short = tuple(name.split(" ")[0] for name in algebra.coordinates)
        if names and tuple(name.split(" ")[0] for name in names) != short:
            raise ValueError(f"the columns must be {' '.join(short)} in this order, got {' '.join(names)}")
        return points.double()


def describe(algebra: LieAlgebra, data: Tensor | None = None) -> str:
    """Name, distribution, matrices with coordinates, and eigenvalues, as text; on the span of data where given."""
    lines = [repr(algebra), _name(algebra, data)]
    if data is not None:
        lines.append(f"The data span {data_span(data).rank} of {algebra.dim} dimensions.")
    for i, matrix in enumerate(algebra.basis.double().cpu()):
        lines += ["", f"L{i + 1}: eigenvalues {_eigenvalues(matrix)}", *_matrix(matrix, algebra.coordinates)]
    return "\n".join(lines)


def _name(algebra: LieAlgebra, data: Tensor | None) -> str:
    match = identify(algebra, data)
    where = "" if data is None else " on the span of the data"
    if not match.known:
        hint = "; give --data to compare it on their span" if data is None else ""
        return f"Not named{where}: {match.name}{hint}."
    return f"Named{where}: {match.name}, {match.angle:.1e} rad away."


def _matrix(matrix: Tensor, names: tuple[str, ...]) -> list[str]:
    short = [name.split(" ")[0] for name in names]
    width = max(8, *(len(name) + 1 for name in short))
    head = " " * width + "".join(f"{name:>{width}}" for name in short)
    return [head] + [
        f"{name:>{width}}" + "".join(f"{value:{width}.3f}" if value else f"{'.':>{width}}" for value in row)
        for name, row in zip(short, matrix.tolist(), strict=True)
    ]


def _eigenvalues(matrix: Tensor) -> str:
    values = sorted(torch.linalg.eigvals(matrix).tolist(), key=lambda v: (round(v.imag, 6), round(v.real, 6)))
    counts: dict[str, int] = {}
    for value in values:
        text = f"{value.real + 0.0:.3g}{value.imag:+.3g}i"
        counts[text] = counts.get(text, 0) + 1
    return ", ".join(f"{text} ({n} times)" if n > 1 else text for text, n in counts.items())
