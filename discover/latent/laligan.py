"""LaLiGAN: a latent space z = phi(x) in which (z_t, z_t+1) and (g z_t, g z_t+1), g = exp(sum_i w_i L_i), look alike."""

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from discover.checkpoint import Checkpoint
from discover.equations.joint import JointEquation
from discover.estimator import Settings
from discover.latent.autoencoder import SINGLE_CHANNEL, Architecture, Autoencoder
from discover.latent.data import prepare
from discover.latent.diagnosis import diagnose
from discover.latent.group import GivenGroup, LatentGenerator, Structure, latent_group
from discover.latent.metrics import encoded, equivariance_error, reconstruction_error, samples_of
from discover.latent.motion import LatentMotion
from discover.latent.reduction import Reduction
from discover.latent.schedule import LatentSchedule
from discover.latent.symmetry import LatentSymmetry
from discover.latent.trainer import BLIND, LatentGame, LatentRules, Players
from discover.latent.windows import Windows
from discover.networks.critic import Critic
from discover.networks.fitting import seeded
from discover.validation.certify import weigh
from equivariant.algebra import LieAlgebra

__all__ = ["LaLiGAN", "beside", "promise"]


def promise(game: LatentGame, trial: int, noise: float) -> float:
    """What is not given back, plus how far the critic is from blind, over the second half of a trial; small is good."""
    total = 0.0
    for step in range(trial):
        losses = game.step(1.0, noise)
        if step >= trial // 2:
            critic = losses.get("critic", torch.tensor(BLIND))
            total += float(losses["reconstruction"]) + max(0.0, BLIND - float(critic))
    return total / max(1, trial - trial // 2)


def beside(checkpoint: str | Path | None, restart: int) -> Path | None:
    """The checkpoint of a restart, beside that of the first game, which is read again when a run goes on."""
    if checkpoint is None:
        return None
    path = Path(checkpoint)
    return path.with_name(f"{path.stem}-{restart}{path.suffix}") if restart else path


LOG_EVERY = 50
SEED_STEP = 1_000_003  # between the games that are tried


@dataclass(kw_only=True)
class LaLiGAN(LatentRules, Settings):
    """Discovers symmetries that are linear in a learned latent space (Yang et al. 2023, arXiv 2310.00105).

    As published, with these changes: snapshots are reduced to the modes that hold them (nothing is lost beyond the
    stated error), players get the gradients of their own losses only, the latent is held at unit covariance about
    zero by a penalty instead of by batch statistics, so the centre is the origin of z and is stored by
    construction, the size of the generators is fixed there, they start skew, and everything kept is averaged.

    Args:
        latent_dim: k. structure: ``"free"``, ``"2*free(2)"``, or a given group: ``"so(3)"``, ``"3*so(3)"``,
            ``"so(2)+so(2)"`` (a product), an algebra; see ``discover.latent.group``. n_generators: c, where free.
        distribution: ``"normal"`` or ``"uniform"``, of the coefficients w. distribution_scale: its scale; in
            radians, where L is skew.
        encoder: ``"mlp"``, ``"conv1d"`` or ``"conv2d"`` with ``padding`` ``"zeros"`` or ``"circular"``; width, depth.
        reduction: relative error of the modes an ``mlp`` sees; ``None``, and ``conv``, see the entries.
        window: snapshots that share an encoder and one g. stride: how many steps lie between them; ``None`` takes
            the shortest after which snapshots are half decorrelated.
        equation: a ``JointEquation`` trained beside, for the equation of motion of z.
        critic_width: hidden width. steps: most steps; cooldown: those in which the rates fall to zero at the end.
        tolerance: the game has settled once the generators turn by less [rad], and the loss falls by less than 2 %,
            in 250 steps, three times in a row. 0 plays all steps.
        starts: how many initial games are tried for ``trial`` steps; the one whose windows are best given back and
            least told from moved ones is played on. No ground truth is asked.
        restarts: most games more, played while one is not ``sound`` (``Diagnosis``); the least doubtful is kept.
        held_out: fraction kept for the errors and the verdict; judge_steps: of the fresh critic's, 0 for none;
            resolution: least deviation, over the latent's size, that counts for it. All others: as for ``LieGAN``.

    After ``fit``: ``symmetry_`` (encoder, decoder and algebra), ``algebra_``, ``equation_`` (an ``Equation`` or
    ``None``), ``diagnosis_`` (false, with advice, where something is wrong), ``verdict_`` (what held-out windows
    say), ``reconstruction_error_`` and ``equivariance_error_`` (relative, held out; the latter for known elements),
    ``reduction_`` (how lossless), ``stride_``, ``history_``, ``steps_``, ``restarts_`` (how many were played).
    """

    latent_dim: int = 2
    structure: Structure = "free"
    n_generators: int = 1
    distribution: str = "normal"
    distribution_scale: float = 1.0
    encoder: str = "mlp"
    width: int = 64
    depth: int = 3
    padding: str = "zeros"
    reduction: float | None = 1e-3
    window: int = 2
    stride: int | None = None
    equation: JointEquation | None = None
    critic_width: int = 64
    steps: int = 5000
    cooldown: int = 4000
    tolerance: float = 0.02
    starts: int = 3
    trial: int = 300
    restarts: int = 1
    held_out: float = 0.2
    judge_steps: int = 600
    resolution: float = 0.05
    seed: int = 0
    device: str = "cpu"
    dtype: str = "float32"
    checkpoint: str | Path | None = None
    checkpoint_every: int = 1000
    progress: bool = True

    def fit(
        self,
        trajectories: Tensor,
        *,
        labels: Tensor | None = None,
        coefficients: Tensor | None = None,
        rates: Tensor | None = None,
        dt: float | None = None,
        coordinates: Sequence[str] | None = None,
    ) -> "LaLiGAN":
        """Play the game on trajectories and look at its outcome on held-out windows.

        Args:
            trajectories: (m, T, *shape), evenly sampled in time; T = 1 for single samples that have labels.
            labels: (m,), (m, T) or (m, T, s), invariants shown to the critic; whole numbers are classes.
            coefficients: (m, T - 1, c), where the group is given and the element that leads from each snapshot to
                the next is known: these are then fitted, without a critic.
            rates: dx/dt, shape of ``trajectories``; dt: the time between snapshots, for rates by differences where
                none are given. Either is needed for an equation and for ``motion_weight``.
            coordinates: k names of the latent coordinates; default z1, z2, ...

        Raises ``ValueError`` for wrong shapes, NaN, settings that contradict each other, or data no symmetry can
        be found in: single samples without labels can be mapped to a Gaussian, whose distribution has every rotation.
        """
        self._check(coefficients)
        names = self._name(coordinates or [f"z{i + 1}" for i in range(self.latent_dim)], self.latent_dim)
        windows, reduction = prepare(
            trajectories, labels=labels, coefficients=coefficients, rates=rates, dt=dt, window=self.window,
            stride=self.stride, tolerance=self.reduction if self.encoder == "mlp" else None,
        )  # fmt: skip
        if (self.equation is not None or self.motion_weight) and windows.rates is None:
            raise ValueError("an equation or motion_weight needs rates of change: give rates, or dt")
        self._shape = tuple(trajectories.shape[2:])
        windows = windows.to(self.device, getattr(torch, self.dtype))
        self._check_group(windows)
        played, kept = windows.split(self.held_out, self.seed)
        self._play_until_sound(played, kept, reduction, names)
        return self

    def _check(self, coefficients: Tensor | None) -> None:
        self._check_settings("latent_dim", "n_generators", "distribution_scale", "width", "depth", "window",
                             "critic_width", "steps", "batch_size", "rate", "generator_rate", "critic_rate", "starts",
                             "checkpoint_every")  # fmt: skip
        if self.dtype not in ("float32", "float64"):
            raise ValueError(f"dtype must be 'float32' or 'float64', got {self.dtype!r}")
        if self.distribution not in ("normal", "uniform"):
            raise ValueError(f"unknown distribution {self.distribution!r}; choose from ['normal', 'uniform']")
        if not 0 < self.held_out < 1:
            raise ValueError(f"held_out must lie between 0 and 1, got {self.held_out}")
        for name in ("motion_weight", "restarts"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        if self.encoder not in SINGLE_CHANNEL:
            raise ValueError(f"unknown encoder {self.encoder!r}; choose from {sorted(SINGLE_CHANNEL)}")
        if coefficients is not None and (self.stride not in (None, 1) or self.window < 2):
            raise ValueError(
                f"known elements lead from one snapshot to the next: set window >= 2 and stride=1, got "
                f"{self.window} and {self.stride}"
            )

    def _group(self) -> LatentGenerator | GivenGroup:
        return latent_group(
            self.structure, self.latent_dim, self.n_generators, self.distribution, self.distribution_scale
        )

    def _check_group(self, windows: Windows) -> None:
        """Refuse an unknown structure, and known elements that do not fit it, before any work is done."""
        group = self._group()
        if windows.elements is None:
            return
        if not isinstance(group, GivenGroup):
            raise ValueError(
                f"coefficients belong to a given group, got structure {self.structure!r}; name the group"
            )
        if windows.elements.shape[-1] != len(group.basis):
            raise ValueError(
                f"coefficients must have {len(group.basis)} entries, one a generator, got {windows.elements.shape[-1]}"
            )

    def _set_up(self, windows: Windows, reduction: Reduction, start: int) -> LatentGame:
        """Players, critic and randomness of one of the games that are tried."""
        dtype = getattr(torch, self.dtype)
        random = torch.Generator(self.device).manual_seed(self.seed + SEED_STEP * start)
        architecture = Architecture(
            encoder=self.encoder, shape=self._shape, latent_dim=self.latent_dim, modes=len(reduction.modes),
            width=self.width, depth=self.depth, padding=self.padding,
        )  # fmt: skip
        autoencoder = seeded(random, lambda: Autoencoder(architecture))
        autoencoder.reduction.load_state_dict(reduction.state_dict())
        group = seeded(random, self._group)
        equation = None
        if self.equation is not None:
            equation = self.equation.start(self.latent_dim, dtype, self.device, self.seed)
        motion = None
        if self.motion_weight and self.gan_weight:
            motion = seeded(random, lambda: LatentMotion(self.latent_dim, self.width))
        players = Players(autoencoder, group, equation, motion).to(device=self.device, dtype=dtype)
        numbers = 0 if windows.labels is None else windows.labels.shape[-1]
        seen = self.latent_dim + self.show_decoded * windows.points.shape[-1]
        shown = torch.zeros(1, windows.window * seen + numbers, device=self.device, dtype=dtype)
        critic = seeded(
            random, lambda: Critic(shown, width=self.critic_width, classes=windows.n_classes, whiten=False)
        )
        return LatentGame(players, critic, windows, self, self.steps, random)

    def _play(
        self, windows: Windows, reduction: Reduction, restart: int
    ) -> tuple[LatentGame, LatentSchedule]:
        """The loop. Ctrl-C leaves a checkpoint from which the same call goes on."""
        path = beside(self.checkpoint, restart)
        checkpoint = Checkpoint(path, f"{self._fingerprint()} {windows.digest}")
        starts = range(restart * self.starts, (restart + 1) * self.starts)
        game, schedule = self._set_up(windows, reduction, starts[0]), self._schedule()
        self.history_ = checkpoint.restore(game, schedule)
        if not schedule.step and self.starts > 1 and self.trial:
            game = self._best_start(windows, reduction, starts)
        bar = tqdm(
            total=self.steps, initial=schedule.step, disable=not self.progress, desc="LaLiGAN", leave=False
        )
        try:
            while not schedule.done:
                losses = game.step(schedule.rate, self.noise * schedule.noise)
                schedule.follow(game.players.group, losses["loss"])
                bar.update()
                if schedule.step % LOG_EVERY == 0 or schedule.done:
                    self.history_.append(schedule.row(losses))
                    bar.set_postfix_str(schedule.line(self.history_[-1]))
                if schedule.step % self.checkpoint_every == 0:
                    checkpoint.write(game, schedule, self.history_)
        finally:
            checkpoint.write(game, schedule, self.history_)
            bar.close()
        return game, schedule

    def _schedule(self) -> LatentSchedule:
        return LatentSchedule.of(self.steps, self.cooldown, self.tolerance)

    def _best_start(self, windows: Windows, reduction: Reduction, starts: range) -> LatentGame:
        """The most promising of several games after a short trial, by what the game itself can see."""
        games = {start: self._set_up(windows, reduction, start) for start in starts}
        promises = {start: promise(game, self.trial, self.noise) for start, game in games.items()}
        self.trials_ = list(promises.values())
        return self._set_up(windows, reduction, min(promises, key=promises.__getitem__))

    def _play_until_sound(
        self, played: Windows, kept: Windows, reduction: Reduction, names: Sequence[str]
    ) -> None:
        """Games until one is sound; the least doubtful is kept."""
        outcomes = []
        for restart in range(1 + self.restarts):
            self._conclude(*self._play(played, reduction, restart), kept, names)
            outcomes.append({name: value for name, value in vars(self).items() if name.endswith("_")})
            if self.diagnosis_.sound:
                break
        vars(self).update(min(outcomes, key=lambda found: found["diagnosis_"].doubt))
        self.restarts_ = len(outcomes) - 1

    def _conclude(
        self, game: LatentGame, schedule: LatentSchedule, kept: Windows, names: Sequence[str]
    ) -> None:
        best = game.best.eval()
        with torch.no_grad():
            basis, distribution = (
                best.group.whitened_basis.double().cpu(),
                best.group.distribution.to(device="cpu", dtype=torch.float64),
            )
        self.steps_, self.stride_ = schedule.step, kept.stride
        self.reduction_ = best.autoencoder.reduction.describe()
        about = {"method": "LaLiGAN", "config": self.config(), "seed": self.seed, "steps": self.steps_,
                 "data": kept.digest, "stride": self.stride_, "reduction": self.reduction_,
                 "versions": {"torch": torch.__version__, "python": platform.python_version()}}  # fmt: skip
        self.symmetry_ = LatentSymmetry(
            best.autoencoder, LieAlgebra(basis, distribution, coordinates=names, provenance=about)
        )
        self.algebra_ = self.symmetry_.algebra
        self.equation_ = None if best.equation is None else best.equation.equation(tuple(names))
        self._judge(game, best, kept)

    def _judge(self, game: LatentGame, best: Players, kept: Windows) -> None:
        """Held-out errors, a fresh critic, and the diagnosis."""
        windows, random = {"fitted": game.windows, "kept": kept}, torch.Generator().manual_seed(self.seed)
        with torch.no_grad():
            z = {name: encoded(best.autoencoder, w) for name, w in windows.items()}
            self.reconstruction_error_ = reconstruction_error(best.autoencoder, kept)
            self.equivariance_error_ = equivariance_error(best, kept, z["kept"])
        self.verdict_ = None
        if game.plays and self.judge_steps:
            samples = [samples_of(z[name], windows[name], self.resolution, random) for name in windows]
            algebra = LieAlgebra(self.algebra_.basis, self.algebra_.distribution)
            self.verdict_ = weigh(
                algebra, *samples, steps=self.judge_steps, seed=self.seed, device=self.device
            )
        flat = torch.cat([part.flatten(0, 1) for part in z.values()]).cpu()
        self.diagnosis_ = diagnose(
            flat, self.algebra_.basis, self.algebra_.sample(len(flat), random),
            learned=game.plays and isinstance(best.group, LatentGenerator), centred=game.plays,
            reconstruction=self.reconstruction_error_, equivariance=self.equivariance_error_, verdict=self.verdict_,
        )  # fmt: skip

    def _fingerprint(self) -> str:
        free = ("checkpoint", "checkpoint_every", "progress", "judge_steps", "resolution")
        return str({name: value for name, value in self.config().items() if name not in free})
