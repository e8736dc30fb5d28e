"""Discovery on a file of one's own: columns in, an algebra, its verdict and a report out."""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from discover import LieGAN, Refinement, Spectral, refine
from discover.algebra.draw import draw_evidence
from equivariant import Rep
from tasks.common.columns import DataFile
from tasks.common.report import Picture, Section, algebra_section, draw_curves, write_report
from tasks.common.results import environment

__all__ = ["Discovery"]


@dataclass(kw_only=True)
class Discovery:
    """Looks for linear symmetries of data in a file, and writes algebra, verdict and report.

    Args:
        x: array of inputs, or comma-separated columns; the only array, or all columns but those of y.
        y: array or columns of targets; without them only the law of x is asked about.
        x_rep: how x is built, such as "5*V" or "2*V + Scalar"; guessed from its shape when left out.
        y_rep: how y is built; "Scalar" for one that does not move.
        next_step: x holds trajectories (n, steps, k): one step goes in, the next one comes out.
        labels: y holds class labels, as whole numbers.
        method: "liegan" (adversarial, one look at the law and the map) or "spectral" (the map alone, by linear
            algebra on a fitted network; finds the number of generators by itself).
        n_generators: how many generators to look for; by default 1 for liegan, and where the spectrum has its gap.
        search_space: "free", "blocks:2", or groups of coordinates that mix such as "0,1,4,5|2,3,6,7".
        distribution: of the coefficients: "normal", "uniform", or "integer" for a discrete group.
        distribution_scale: standard deviation, half width, or largest integer of the distribution.
        steps: at most so many steps of training; the method's own number when left out.
        seed: of everything random.
        out: folder of this run; an unfinished run found there goes on. By default runs/ and the file's name.
        progress: show a bar.
    """

    x: str | None = None
    y: str | None = None
    x_rep: str | None = None
    y_rep: str | None = None
    next_step: bool = False
    labels: bool = False
    method: Literal["liegan", "spectral"] = "liegan"
    n_generators: int | None = None
    search_space: str = "free"
    distribution: Literal["normal", "uniform", "integer"] = "normal"
    distribution_scale: float = 1.0
    steps: int | None = None
    seed: int = 0
    out: Path | None = None
    progress: bool = True

    def run(self, path: Path) -> tuple[LieGAN | Spectral, Refinement]:
        """Discover, refine and write everything to the run's folder."""
        x, y, names, groups = self._data(DataFile.read(path))
        folder = self.folder(path)
        estimator = self._liegan(folder) if self.method == "liegan" else self._spectral()
        x_rep, y_rep = (None if text is None else Rep.parse(text) for text in (self.x_rep, self.y_rep))
        estimator.fit(x, y, x_rep=x_rep, y_rep=y_rep, coordinates=names or None, groups=groups)
        vectors = x.double() if x.shape[-1] == estimator.algebra_.dim else estimator.span_.basis
        refinement = refine(estimator.algebra_, data=vectors)
        self._write(folder, path, estimator, refinement, vectors)
        return estimator, refinement

    def folder(self, path: Path) -> Path:
        """Where the run's files go."""
        return self.out or Path("runs") / f"discover-{path.stem}"

    def config(self) -> dict[str, Any]:
        """Every setting that decides the result, as ``json`` can write it."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("out", "progress")}

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

    def _liegan(self, folder: Path) -> LieGAN:
        discrete: dict[str, Any] = (
            {"generator_size": None, "identity_penalty": 1.0} if self.distribution == "integer" else {}
        )
        steps = LieGAN.steps if self.steps is None else self.steps
        return LieGAN(
            n_generators=1 if self.n_generators is None else self.n_generators,
            search_space=self.search_space,
            distribution=self.distribution,
            distribution_scale=self.distribution_scale,
            steps=steps,
            cooldown=min(LieGAN.cooldown, steps // 2),
            seed=self.seed,
            checkpoint=folder / "checkpoints" / "discovery.pt",
            progress=self.progress,
            **discrete,
        )

    def _spectral(self) -> Spectral:
        if self.distribution != "normal":
            raise ValueError(
                f"the spectral method finds continuous groups with normal coefficients; got {self.distribution!r}"
            )
        return Spectral(
            n_generators=self.n_generators,
            search_space=self.search_space,
            distribution_scale=self.distribution_scale,
            steps=Spectral.steps if self.steps is None else self.steps,
            seed=self.seed,
            progress=self.progress,
        )

    def _write(
        self, folder: Path, path: Path, estimator: LieGAN | Spectral, refinement: Refinement, vectors: Tensor
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        raw, verdict = estimator.algebra_, estimator.verdict_
        raw.save(folder / "raw.safetensors")
        refinement.algebra.save(folder / "algebra.safetensors")
        content = {
            "task": "discover",
            "data": path.name,
            "config": self.config(),
            "environment": environment(),
            "verdict": verdict.to_dict() if verdict else None,
            "changes": [asdict(change) for change in refinement.changes],
            "digests": {"raw": raw.digest, "refined": refinement.algebra.digest},
        }
        (folder / "results.json").write_text(json.dumps(content, indent=1) + "\n")
        symmetry = algebra_section(raw, refinement.algebra, refinement.changes, verdict, vectors)
        sections = [symmetry, Section(heading="How it was found", pictures=[_evidence(estimator)])]
        details = {"settings": self.config(), "environment": environment()}
        write_report(folder / "report.html", f"Symmetries of {path.name}", "", sections, details)


def _evidence(estimator: LieGAN | Spectral) -> Picture:
    if isinstance(estimator, Spectral):
        figure = draw_evidence(estimator.spectrum_, estimator.algebra_.n_generators, estimator.noise)
        caption = (
            "How much each combination of matrices violates the symmetry equations; a gap tells the number."
        )
        return Picture(figure=figure, caption=caption)
    curves = draw_curves({"critic": estimator.history_}, "critic_loss", "nats")
    caption = "Loss of the critic; a critic that sees no difference has 0.693 without class labels."
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
