"""The study of a latent symmetry: simulate, discover, find the equation of motion, foretell, measure."""

import json
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from hashlib import sha256
from pathlib import Path
from typing import Any

from discover.latent.laligan import LaLiGAN
from tasks.latent.data import Trajectories
from tasks.latent.results import LatentOutcome, SeedResult
from tasks.latent.runner import SeedRun
from tasks.latent.systems.presets import SYSTEMS

__all__ = ["LatentStudy"]

REVISION = 6  # of the stages after the discovery; another number makes them anew


def _silent(line: str) -> None:
    """Tells nobody."""


def _flag(name: str, value: object) -> list[str]:
    option = name.replace("_", "-")
    return [f"--{'' if value else 'no-'}{option}"] if isinstance(value, bool) else [f"--{option}", str(value)]


def _read(words: str) -> dict[str, Any]:
    """Settings of LaLiGAN written as ``name=value, name=value``; ``ValueError`` for one that it does not have."""
    settings: dict[str, Any] = {}
    known = {f.name for f in fields(LaLiGAN)} - {"seed", "checkpoint", "progress"}
    for word in filter(None, map(str.strip, words.split(","))):
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


@dataclass(kw_only=True)
class LatentStudy:
    """Discovery of a symmetry that is linear in a learned latent space, and what it is worth to an equation of motion.

    Args:
        out: folder of the run, runs/latent-SYSTEM by default; finished seeds found there are kept, a seed that was
            stopped goes on from its checkpoint, and where only the stages after the discovery differ, from its
            symmetry.
        seed: the first seed; of the learning, and of the data where they are drawn.
        seeds: how many.
        quick: small data and a short game, to see that everything runs; its figures mean nothing.
        steps: most steps of the game; LaLiGAN's own number when left out.
        starts: games that are tried before one is played on; LaLiGAN's own number when left out.
        laligan: other settings of LaLiGAN, such as "gan_weight=0.1, width=128".
        discard: snapshots of the transient to leave out.
        baseline: train the autoencoder with an equation and without a symmetry beside, where the system has one.
        progress: show bars.
    """

    out: Path | None = None
    seed: int = 0
    seeds: int = 1
    quick: bool = False
    steps: int | None = None
    starts: int | None = None
    laligan: str = ""
    discard: int = 0
    baseline: bool = True
    progress: bool = True

    def run(self, name: str, tell: Callable[[str], None] = _silent) -> LatentOutcome:
        """Every seed of the system ``name``, in order; ``tell`` is given a sentence after each. Files go to ``out``.

        Raises ``ValueError`` for an unknown system, settings without meaning, or a folder of other settings.
        """
        self._check(name)
        folder = self.folder(name)
        folder.mkdir(parents=True, exist_ok=True)
        outcome = LatentOutcome(system=name, title=SYSTEMS[name].title, targets=SYSTEMS[name].targets)
        for seed in range(self.seed, self.seed + self.seeds):
            found = SeedResult.load(folder / f"seed-{seed}")
            if found is None or found.run != self.fingerprint(name):
                found = self._seed_run(name, seed).run()
            tell(str(found))
        outcome.results = list(self._finished(folder, name))
        return outcome

    def folder(self, name: str) -> Path:
        """Where a system's files go."""
        return Path(f"runs/latent-{name}") if self.out is None else self.out

    def config(self, name: str) -> dict[str, Any]:
        """Every setting that decides a figure, as ``json`` can write it."""
        chosen = {
            f.name: getattr(self, f.name) for f in fields(self) if f.name not in ("out", "seeds", "progress")
        }
        system = SYSTEMS[name]
        equations = {"degree": system.degree, "constrained": dict(system.constrained)}
        equations |= {"refined": list(system.refined), "refined_freely": list(system.refined_freely)}
        equations |= {"revision": REVISION}
        return {"system": name} | chosen | {"laligan": self.settings(name), "equations": equations}

    def settings(self, name: str) -> dict[str, Any]:
        """Of ``LaLiGAN``, for a system."""
        system = SYSTEMS[name]
        given = {"steps": self.steps, "starts": self.starts}
        settings = {**system.settings, **(system.quick if self.quick else {})}
        settings |= {key: value for key, value in given.items() if value is not None} | _read(self.laligan)
        if self.steps is not None:
            settings["cooldown"] = min(settings.get("cooldown", LaLiGAN.cooldown), self.steps // 2)
        return settings

    def fingerprint(self, name: str) -> str:
        """Digest of the settings; the same for every seed."""
        config = {key: value for key, value in self.config(name).items() if key != "seed"}
        return sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()

    def command(self, name: str) -> str:
        """What to type to do the same again."""
        changed = [f for f in fields(self) if f.name != "progress" and getattr(self, f.name) != f.default]
        return shlex.join(
            [
                "liesmith",
                "latent",
                name,
                *(word for f in changed for word in _flag(f.name, getattr(self, f.name))),
            ]
        )

    def simulate(self, name: str, seed: int) -> Trajectories:
        """Data to learn from."""
        return SYSTEMS[name].simulate(seed, self.discard, self.quick)

    def _seed_run(self, name: str, seed: int) -> SeedRun:
        return SeedRun(
            system=SYSTEMS[name],
            seed=seed,
            run_digest=self.fingerprint(name),
            folder=self.folder(name) / f"seed-{seed}",
            settings=self.settings(name),
            discard=self.discard,
            quick=self.quick,
            baseline=self.baseline,
            progress=self.progress,
        )

    def _finished(self, folder: Path, name: str) -> Iterator[SeedResult]:
        """All finished seeds of these settings, other processes' too."""
        for path in sorted(folder.glob("seed-*"), key=lambda p: int(p.name.removeprefix("seed-"))):
            found = SeedResult.load(path)
            if found is not None and found.run == self.fingerprint(name):
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
