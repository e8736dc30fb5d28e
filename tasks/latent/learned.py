"""What LaLiGAN learned of one seed, kept in files, so that a second run with the same settings reads it."""

import json
import os
import time
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import torch

from discover.equations.equation import Equation
from discover.latent.data import prepare
from discover.latent.laligan import LaLiGAN
from discover.latent.symmetry import LatentSymmetry
from tasks.latent.data import Trajectories

__all__ = ["Learned", "learn"]

FREE = ("checkpoint", "checkpoint_every", "progress", "device")  # settings that decide no figure


@dataclass(kw_only=True, eq=False)
class Learned:
    """An autoencoder with its algebra, and what the learning said of itself.

    ``words``: of the diagnosis; ``seconds``: of the simulation and of the learning; ``equation``: learned beside.
    """

    symmetry: LatentSymmetry
    reconstruction_error: float
    words: str
    seconds: dict[str, float]
    history: list[dict[str, float]] = field(default_factory=list)
    equation: Equation | None = None


def learn(
    laligan: LaLiGAN, data: Trajectories, folder: Path, label: str, seconds: dict[str, float], stage: str
) -> Learned:
    """Read ``label``.safetensors and ``label``.json of the folder, or fit ``laligan`` to the data and write them.

    ``seconds`` are those of the stages before, and ``stage`` names this one. Rates of change are given where an
    equation is to be learned too. Raises ``ValueError`` for files that other settings or other data made.
    """
    settings = _settings(laligan)
    found = _read(folder, label, settings, data)
    if found is not None:
        return found
    start = time.perf_counter()
    rates = data.rates.float() if data.rates is not None and _wants_rates(laligan) else None
    laligan.fit(data.states.float(), coefficients=data.coefficients, rates=rates)
    learned = Learned(
        symmetry=laligan.symmetry_,
        reconstruction_error=laligan.reconstruction_error_,
        words=str(laligan.diagnosis_),
        seconds=seconds | {stage: time.perf_counter() - start},
        history=laligan.history_,
        equation=laligan.equation_,
    )
    _write(learned, folder, label, settings, data)
    return learned


def _wants_rates(laligan: LaLiGAN) -> bool:
    return laligan.equation is not None or bool(getattr(laligan, "motion_weight", 0.0))


def _settings(laligan: LaLiGAN) -> dict[str, Any]:
    """As ``json`` gives them back."""
    config = {name: value for name, value in laligan.config().items() if name not in FREE}
    return json.loads(json.dumps(config, default=str))


def _write(learned: Learned, folder: Path, label: str, settings: dict[str, Any], data: Trajectories) -> None:
    learned.symmetry.save(folder / f"{label}.safetensors")
    if learned.equation is not None:
        learned.equation.save(folder / f"{label}-equation.safetensors")
    record = {"settings": settings, "data": data.digest, "reconstruction_error": learned.reconstruction_error}
    record |= {"words": learned.words, "seconds": learned.seconds, "history": learned.history}
    fresh = folder / f"{label}.json.{os.getpid()}.part"
    fresh.write_text(json.dumps(record) + "\n", encoding="utf-8")
    os.replace(fresh, folder / f"{label}.json")


def _read(folder: Path, label: str, settings: dict[str, Any], data: Trajectories) -> Learned | None:
    path = folder / f"{label}.safetensors"
    record = _record(folder, label, path, data)
    if record is None:
        return None
    if record["data"] != data.digest or not _same(record["settings"], settings):
        raise ValueError(
            f"{path} belongs to a run with other settings or other data; give another --out, or remove it"
        )
    equation = folder / f"{label}-equation.safetensors"
    return Learned(
        symmetry=LatentSymmetry.load(path),
        equation=Equation.load(equation) if equation.is_file() else None,
        **{name: record[name] for name in ("reconstruction_error", "words", "seconds", "history")},
    )


def _record(folder: Path, label: str, path: Path, data: Trajectories) -> dict[str, Any] | None:
    if not path.is_file():
        return None
    if (folder / f"{label}.json").is_file():
        return json.loads((folder / f"{label}.json").read_text(encoding="utf-8"))
    return _record_of_a_finished_seed(folder, path, data) if label == "symmetry" else None


def _record_of_a_finished_seed(folder: Path, path: Path, data: Trajectories) -> dict[str, Any] | None:
    """Of a symmetry that was saved before its record was: from its provenance, and from the seed's result."""
    if not (folder / "result.json").is_file():
        return None
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    about = LatentSymmetry.load(path).algebra.provenance
    same = bool(about) and about["data"] == _kept_digest(about["config"], data)
    return {
        "settings": about.get("config", {}),
        "data": data.digest if same else "of other data",
        "reconstruction_error": result["measures"]["reconstruction_error"],
        "words": " ".join(result["words"]),
        "seconds": {s: t for s, t in result["seconds"].items() if s in ("simulation", "discovery")},
        "history": result["history"],
    }


def _kept_digest(config: dict[str, Any], data: Trajectories) -> str:
    """Digest of the held-out windows that settings choose from data."""
    windows, _ = prepare(
        data.states.float(), labels=None, coefficients=data.coefficients, rates=None, dt=None,
        window=config["window"], stride=config["stride"],
        tolerance=config["reduction"] if config["encoder"] == "mlp" else None,
    )  # fmt: skip
    dtype = getattr(torch, config["dtype"])
    return windows.to("cpu", dtype).split(config["held_out"], config["seed"])[1].digest


def _same(recorded: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Whether settings agree; one that was not yet known must stand at its default."""
    defaults = json.loads(json.dumps({f.name: f.default for f in fields(LaLiGAN)}, default=str))
    return all(recorded.get(name, defaults.get(name)) == value for name, value in wanted.items())
