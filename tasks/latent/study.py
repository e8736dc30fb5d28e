"""The study of a latent symmetry: simulation, discovery, equation of motion, forecast and measures for each seed."""

import json
import logging
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from discover.latent.laligan import LaLiGAN
from tasks.common.files import RunFolder, fingerprint
from tasks.latent.data import Trajectories
from tasks.latent.results import LatentResults, SeedResult
from tasks.latent.runner import SeedRun
from tasks.latent.systems.presets import SYSTEMS

__all__ = ["LatentStudy"]

REVISION = 7  # of the stages after the discovery; another number repeats them
PRODUCTS = ("seed-*", "equations.*", "orbit.gif", "forecast.png")  # beside those of every run
log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class LatentStudy:
    """Discovery of a symmetry that is linear in a learned latent space, and its gain for an equation of motion.

    Args:
        out: folder of the run, runs/latent-SYSTEM by default; finished seeds found there are kept, an interrupted one
            is resumed, and where only stages after the discovery differ, they alone are repeated.
        overwrite: replace another run in this folder instead of refusing.
        seed: the first seed; of the training, and of the data where they are drawn.
        seeds: how many.
        quick: small data and a short training, to see that everything runs; its figures mean nothing.
        steps: most training steps; LaLiGAN's own number when left out.
        starts: initial weights that are tried; LaLiGAN's own number when left out.
        laligan: other settings of LaLiGAN, such as "gan_weight=0.1, width=128".
        discard: snapshots of the transient to leave out.
        baseline: also train an autoencoder with an equation and without a symmetry, where the system has one.
        progress: show bars.
    """

    out: Path | None = None
    overwrite: bool = False
    seed: int = 0
    seeds: int = 1
    quick: bool = False
    steps: int | None = None
    starts: int | None = None
    laligan: str = ""
    discard: int = 0
    baseline: bool = True
    progress: bool = True

    def run(self, name: str) -> LatentResults:
        """Run every seed of a system in order; files go to the folder, a line after each seed to the log.

        Args:
            name: of the system.

        Returns:
            The results of all finished seeds in the folder.

        Raises:
            ValueError: for an unknown system, settings out of range, or a folder of another run.
            BlockingIOError: when another process works in the folder.
        """
        self._check(name)
        folder, run = self.folder(name), self.fingerprint(name)
        results = LatentResults(system=name, targets=SYSTEMS[name].targets)
        discovery = {"quick": self.quick, "discard": self.discard, "laligan": self.settings(name)}
        identity = {"task": "latent", "system": name, "seed": self.seed, **discovery}
        with RunFolder(folder, identity, overwrite=self.overwrite, products=PRODUCTS):
            for seed in range(self.seed, self.seed + self.seeds):
                found = SeedResult.load(folder / f"seed-{seed}")
                if found is None or found.run != run:
                    self._seed_run(name, SeedResult(seed=seed, run=run)).run()
                results.seeds = list(self._finished(folder, run))
                results.write(folder, command=self.command(name), config=self.config(name))
                log.info("Seed %d is finished.", seed)
        return results

    @property
    def warning(self) -> str:
        """That figures mean little, in a quick run; else empty."""
        return "A quick run: its figures show that everything works, not how well." if self.quick else ""

    def folder(self, name: str) -> Path:
        """Of a system's files."""
        return Path(f"runs/latent-{name}") if self.out is None else self.out

    def config(self, name: str) -> dict[str, Any]:
        """Every setting of a system that decides a figure, as ``json`` can write it."""
        free = ("out", "overwrite", "seeds", "progress")
        chosen = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in free}
        system = SYSTEMS[name]
        equations = {"degree": system.degree, "constrained": dict(system.constrained), "revision": REVISION}
        equations |= {"refined": list(system.refined), "refined_freely": list(system.refined_freely)}
        return {"system": name} | chosen | {"laligan": self.settings(name), "equations": equations}

    def settings(self, name: str) -> dict[str, Any]:
        """Settings of ``LaLiGAN`` for a system."""
        system = SYSTEMS[name]
        given = {"steps": self.steps, "starts": self.starts}
        settings = {**system.settings, **(system.quick if self.quick else {})}
        settings |= {key: value for key, value in given.items() if value is not None}
        settings |= _parsed(self.laligan)
        if self.steps is not None:
            settings["cooldown"] = min(settings.get("cooldown", LaLiGAN.cooldown), self.steps // 2)
        return settings

    def fingerprint(self, name: str) -> str:
        """Digest of all settings of a system; the same for every seed."""
        return fingerprint({key: value for key, value in self.config(name).items() if key != "seed"})

    def command(self, name: str) -> str:
        """The command line that repeats the run."""
        words = ["liesmith", "latent", name]
        for f in fields(self):
            value, option = getattr(self, f.name), f.name.replace("_", "-")
            if f.name in ("overwrite", "progress") or value == f.default:
                continue
            words += (
                [f"--{'' if value else 'no-'}{option}"]
                if isinstance(value, bool)
                else [f"--{option}", str(value)]
            )
        return shlex.join(words)

    def simulate(self, name: str, seed: int) -> Trajectories:
        """Data to learn from."""
        return SYSTEMS[name].simulate(seed, self.discard, self.quick)

    def _seed_run(self, name: str, result: SeedResult) -> SeedRun:
        return SeedRun(
            system=SYSTEMS[name],
            result=result,
            folder=self.folder(name) / f"seed-{result.seed}",
            settings=self.settings(name),
            discard=self.discard,
            quick=self.quick,
            baseline=self.baseline,
            progress=self.progress,
        )

    def _finished(self, folder: Path, run: str) -> Iterator[SeedResult]:
        """All finished seeds of these settings."""
        for path in sorted(folder.glob("seed-*"), key=lambda p: int(p.name.removeprefix("seed-"))):
            found = SeedResult.load(path)
            if found is not None and found.run == run:
                yield found

    def _check(self, name: str) -> None:
        if name not in SYSTEMS:
            raise ValueError(f"unknown system {name!r}; choose from {', '.join(SYSTEMS)}")
        for key in ("seeds", "steps", "starts"):
            value = getattr(self, key)
            if value is not None and value < 1:
                raise ValueError(f"{key} must be at least 1, got {value}")
        if min(self.discard, self.seed) < 0:
            raise ValueError(f"discard and seed must not be negative, got {self.discard} and {self.seed}")


def _parsed(text: str) -> dict[str, Any]:
    """Settings of LaLiGAN written as ``name=value, name=value``; ``ValueError`` for one that it does not have."""
    settings: dict[str, Any] = {}
    known = {f.name for f in fields(LaLiGAN)} - {"seed", "checkpoint", "progress"}
    for word in filter(None, map(str.strip, text.split(","))):
        name, given, value = word.partition("=")
        if not given or name not in known:
            raise ValueError(
                f"laligan must be name=value with names of its settings, {sorted(known)}, got {word!r}"
            )
        try:
            settings[name] = json.loads(value)
        except json.JSONDecodeError:
            settings[name] = value
    return settings
