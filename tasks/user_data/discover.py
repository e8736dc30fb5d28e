"""Discovery on a file of one's own: columns in, an algebra, its verdict and a report out."""

from dataclasses import asdict, dataclass, fields
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from discover import LieGAN, Refinement, Spectral, SymmetryReport, find_symmetries, refine
from discover.algebra.draw import draw_action, draw_evidence, planes
from equivariant import Rep, V
from tasks.common.columns import DataFile
from tasks.common.files import RunFolder, write_json
from tasks.common.plots import draw_curves
from tasks.common.report import (
    Headline,
    Picture,
    Section,
    algebra_section,
    symmetry_headline,
    write_report,
)
from tasks.common.results import environment

__all__ = ["Discovery"]

ACTION = "Data before and after g = exp(w L), the group element of the found symmetry; {columns}."
OF_A_METHOD = ("n_generators", "search_space", "distribution", "distribution_scale", "steps")


@dataclass(kw_only=True)
class Discovery:
    """Looks for linear symmetries of data in a file, and writes algebra, verdict and report.

    Args:
        x: array of inputs, or comma-separated columns; the only array, or all columns but those of y.
        y: array or columns of targets; without them only the distribution of x is tested.
        x_rep: representation of x, such as "5*V" (five vectors) or "2*V + Scalar"; by its shape when left out.
        y_rep: representation of y; "Scalar" for invariant targets.
        next_step: x holds trajectories (n, steps, k): the map goes from each step to the next.
        labels: y holds class labels, as whole numbers.
        method: "auto" (``find_symmetries``: proposed on one half of the data, tested on the other); "liegan"
            (adversarial; distribution and map) or "spectral" (null space of the equations of a fitted network; the
            map alone; finds the number of generators), which alone take the settings below but the seed.
        n_generators: how many generators to look for; 1 for liegan, by the gap of the spectrum for spectral.
        search_space: "free", "blocks:2", or groups of coordinates that mix such as "0,1,4,5|2,3,6,7".
        distribution: of the coefficients: "normal", "uniform", or "integer" for a discrete group.
        distribution_scale: standard deviation, half width, or largest integer of the distribution.
        steps: most training steps; the method's own number when left out.
        seed: of all random numbers.
        out: folder of this run, runs/discover-FILE by default; an unfinished one with the same settings is resumed.
        overwrite: replace another run in this folder instead of refusing.
        progress: show a progress bar.
    """

    x: str | None = None
    y: str | None = None
    x_rep: str | None = None
    y_rep: str | None = None
    next_step: bool = False
    labels: bool = False
    method: Literal["auto", "liegan", "spectral"] = "auto"
    n_generators: int | None = None
    search_space: str = "free"
    distribution: Literal["normal", "uniform", "integer"] = "normal"
    distribution_scale: float = 1.0
    steps: int | None = None
    seed: int = 0
    out: Path | None = None
    overwrite: bool = False
    progress: bool = True

    def run(self, path: Path) -> tuple[LieGAN | Spectral, Refinement]:
        """Discover, refine and write everything to the run's folder.

        Args:
            path: of the data.

        Returns:
            The fitted estimator and its refined algebra.

        Raises:
            FileNotFoundError: where there are no data.
            ValueError: for data, columns or settings that do not fit, or a folder of another run.
        """
        estimator = self._estimator(self.folder(path))
        with self._claimed(path) as folder:
            x, y, options = self._inputs(path)
            estimator.fit(x, y, **options)
            vectors = x.double() if x.shape[-1] == estimator.algebra_.dim else estimator.span_.basis
            refinement = refine(estimator.algebra_, data=vectors)
            self._write(folder, path, estimator, refinement, vectors)
        return estimator, refinement

    def find(self, path: Path) -> SymmetryReport:
        """Run ``find_symmetries`` and write algebra, results and report to the run's folder.

        Args:
            path: of the data.

        Returns:
            The report.

        Raises:
            FileNotFoundError: where there are no data.
            ValueError: for data, columns or settings that do not fit, or a folder of another run.
        """
        usual = {f.name: f.default for f in fields(self)}
        given = [name for name in OF_A_METHOD if getattr(self, name) != usual[name]]
        if given:
            raise ValueError(
                f"{given[0]} is a setting of liegan and spectral, got it for method auto; name one of them"
            )
        with self._claimed(path) as folder:
            x, y, options = self._inputs(path)
            report = find_symmetries(x, y, **options, seed=self.seed, progress=self.progress)
            report.save(folder / "algebra.safetensors")
            content = {
                "task": "discover", "data": path.name, "config": self.config(), "environment": environment(),
                "verdict": {"answer": report.verdict, "text": str(report)}, "name": report.name,
                "digests": {"refined": report.algebra.digest},
            }  # fmt: skip
            write_json(folder / "results.json", content)
            picture = Picture(figure=report.plot(), caption="The generators.")
            write_report(
                folder / "report.html",
                f"Symmetries of {path.name}",
                f"{len(x)} samples, one half to propose symmetries, the other to test them.",
                headline=Headline(found=report.sentence, picture=picture, passed=bool(report)),
                sections=[Section(heading="In words", lines=list(report.sentences))],
                details={"settings": self.config(), "environment": environment()},
            )
        return report

    def folder(self, path: Path) -> Path:
        """Where the run's files go."""
        return self.out or Path("runs") / f"discover-{path.stem}"

    def config(self) -> dict[str, Any]:
        """Every setting that decides the result."""
        free = ("out", "overwrite", "progress")
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in free}

    def _claimed(self, path: Path) -> RunFolder:
        digest = sha256(path.read_bytes()).hexdigest()
        settings = {"task": "discover", "data": path.name, "data_digest": digest, **self.config()}
        return RunFolder(self.folder(path), settings, overwrite=self.overwrite, products=["*.safetensors"])

    def _inputs(self, path: Path) -> tuple[Tensor, Tensor | None, dict[str, Any]]:
        """x, y and how they are read."""
        x_rep, y_rep = (None if text is None else Rep.parse(text) for text in (self.x_rep, self.y_rep))
        y_rep = y_rep or (x_rep or V if self.next_step else None)
        x, y, names, groups = self._data(DataFile.read(path))
        return x, y, {
            "x_rep": x_rep, "y_rep": y_rep, "y_kind": "class" if self.labels else None,
            "coordinates": names or None, "groups": groups,
        }  # fmt: skip

    def _estimator(self, folder: Path) -> LieGAN | Spectral:
        kind = LieGAN if self.method == "liegan" else Spectral
        common: dict[str, Any] = {
            "search_space": self.search_space,
            "distribution_scale": self.distribution_scale,
            "steps": kind.steps if self.steps is None else self.steps,
            "seed": self.seed,
            "progress": self.progress,
        }
        if kind is Spectral:
            if self.distribution != "normal":
                raise ValueError(
                    f"method spectral needs distribution normal, got {self.distribution!r}; use liegan"
                )
            return Spectral(n_generators=self.n_generators, **common)
        common["cooldown"] = min(LieGAN.cooldown, common["steps"] // 2)
        if self.distribution == "integer":
            common |= {"generator_size": None, "identity_penalty": 1.0}
        return LieGAN(
            n_generators=1 if self.n_generators is None else self.n_generators,
            distribution=self.distribution,
            checkpoint=folder / "checkpoints" / "discovery.pt",
            **common,
        )

    def _data(self, file: DataFile) -> tuple[Tensor, Tensor | None, tuple[str, ...], Tensor | None]:
        """x, y, names of the coordinates of one vector, and which samples belong together."""
        y, y_names = (None, ()) if self.y is None else file.select(self.y)
        x, names = file.select(self.x, "x") if self.x or len(file.columns) == 0 else _rest(file, y_names)
        if self.next_step:
            return _pairs(x, names, self.y)
        if y is not None and self.labels:
            y = _labels(y)
        elif y is not None:
            y = y.double().squeeze(-1) if y.ndim == 2 and y.shape[1] == 1 else y.double()
        return x.double(), y, names if self.x_rep in (None, "V") else (), None

    def _write(
        self, folder: Path, path: Path, estimator: LieGAN | Spectral, refinement: Refinement, vectors: Tensor
    ) -> None:
        raw, refined, verdict = estimator.algebra_, refinement.algebra, estimator.verdict_
        raw.save(folder / "raw.safetensors")
        refined.save(folder / "algebra.safetensors")
        content = {
            "task": "discover",
            "data": path.name,
            "config": self.config(),
            "environment": environment(),
            "verdict": verdict.to_dict() if verdict else None,
            "changes": [asdict(change) for change in refinement.changes],
            "digests": {"raw": raw.digest, "refined": refined.digest},
        }
        write_json(folder / "results.json", content)
        small = self.steps is not None and self.steps < type(estimator).steps
        pairs = planes(refined)[:2]
        columns = " and ".join(" against ".join(refined.coordinates[i] for i in pair) for pair in pairs)
        action = draw_action(refined, vectors, names=pairs)
        write_report(
            folder / "report.html",
            f"Symmetries of {path.name}",
            f"{len(vectors)} samples, method {self.method}.",
            headline=symmetry_headline(
                refined,
                verdict,
                Picture(figure=action, caption=ACTION.format(columns=columns)),
                vectors,
                warning=f"A short run of at most {self.steps} steps." if small else "",
            ),
            sections=[
                algebra_section(raw, refined, refinement.changes, verdict, vectors),
                Section(heading="How it was found", pictures=[_evidence(estimator)]),
            ],
            details={"settings": self.config(), "environment": environment()},
        )


def _evidence(estimator: LieGAN | Spectral) -> Picture:
    if isinstance(estimator, Spectral):
        figure = draw_evidence(estimator.spectrum_, estimator.algebra_.n_generators, estimator.noise)
        caption = (
            "How much each combination of matrices violates the symmetry equations; the gap shows the number."
        )
        return Picture(figure=figure, caption=caption)
    curves = draw_curves({"critic": estimator.history_}, "critic_loss", "nats")
    caption = "Loss of the critic; a critic that tells nothing apart has 0.693 without class labels."
    return Picture(figure=curves, caption=caption)


def _rest(file: DataFile, taken: tuple[str, ...]) -> tuple[Tensor, tuple[str, ...]]:
    """All columns but those of the target, where there is one array to pick them from."""
    if len(file.arrays) > 1:
        return file.select(None, "x")
    return file.select(",".join(name for name in file.columns if name not in taken))


def _pairs(
    x: Tensor, names: tuple[str, ...], y: str | None
) -> tuple[Tensor, Tensor, tuple[str, ...], Tensor]:
    if x.ndim != 3 or x.shape[1] < 2 or y is not None:
        raise ValueError(
            f"next_step wants trajectories (n, steps, k) and no y, got x of shape {tuple(x.shape)}"
            + ("" if y is None else f" and y {y}")
        )
    x = x.double()
    groups = torch.arange(len(x)).repeat_interleave(x.shape[1] - 1)
    return x[:, :-1].flatten(0, 1), x[:, 1:].flatten(0, 1), names, groups


def _labels(y: Tensor) -> Tensor:
    flat = y.squeeze(-1) if y.ndim == 2 else y
    if flat.ndim != 1 or (flat != flat.round()).any():
        raise ValueError(f"labels must be whole numbers of shape (n,), got shape {tuple(y.shape)}")
    return flat.long()
