"""LaLiGAN: a latent space z = phi(x) in which (z_t, z_t+1) and (g z_t, g z_t+1) have the same distribution."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from discover.adversarial.schedule import Schedule
from discover.adversarial.trainer import CHANCE_LOSS
from discover.equations.joint import JointEquation
from discover.latent.autoencoder import SINGLE_CHANNEL, Architecture, Autoencoder
from discover.latent.diagnosis import diagnose
from discover.latent.group import GivenGroup, LatentGenerator, Structure, latent_group
from discover.latent.metrics import encode_windows, equivariance_error, latent_samples, reconstruction_error
from discover.latent.model import LatentModel, LatentMotion
from discover.latent.reduction import Reduction
from discover.latent.symmetry import LatentSymmetry
from discover.latent.trainer import LatentConfig, LatentTrainer
from discover.latent.windows import Windows, prepare_windows
from discover.networks.critic import Critic
from discover.networks.fitting import seeded
from discover.validation.certify import evaluate_symmetry
from equivariant.algebra import LieAlgebra
from equivariant.arrays import ArrayLike, as_floating

__all__ = ["LaLiGAN", "restart_checkpoint", "trial_loss"]

SEED_STEP = 1_000_003  # between the seeds of the starts


@dataclass(kw_only=True)
class LaLiGAN(LatentConfig):
    """Discovers symmetries that are linear in a learned latent space (Yang et al. 2023, arXiv 2310.00105, eq. 4).

    An encoder phi, a decoder psi, generators L and a critic are trained so that the critic cannot tell windows of
    latent vectors z = phi(x) from transformed ones, g z with g = exp(sum_i w_i L_i), and psi(phi(x)) = x. As published,
    with these changes: snapshots are reduced to their leading modes; the critic alone gets the gradients of its loss;
    a penalty holds the latent space at unit covariance about zero, so that the origin of z is the fixed point; the
    generators have a fixed size there, and start skew; the weights are averaged.

    Args:
        latent_dim: k.
        structure: of the group: ``"free"``, ``"2*free(2)"``, or a given group: ``"so(3)"``, ``"3*so(3)"``,
            ``"so(2)+so(2)"`` (a product), an algebra; see ``discover.latent.group``.
        n_generators: c, where they are learned.
        distribution: of the coefficients w: ``"normal"`` or ``"uniform"``.
        distribution_scale: standard deviation or half width; in radians, where L is skew.
        encoder: ``"mlp"``, ``"conv1d"`` or ``"conv2d"``.
        width: hidden units, or channels.
        depth: hidden layers, or convolutions.
        padding: of the convolutions, ``"zeros"`` or ``"circular"``.
        reduction: relative error of the modes an ``mlp`` sees; ``None``, and convolutions, see the entries.
        window: snapshots that are transformed by one g.
        stride: time steps between them; ``None`` takes the shortest after which snapshots are half decorrelated.
        equation: settings of an equation of motion of z that is trained together with the autoencoder.
        critic_width: hidden width of the critic.
        batch_size: windows in one step.
        learning_rate: Adam's, of autoencoder and equation; convolutions need about 5e-3.
        generator_learning_rate: Adam's, of the generators.
        critic_learning_rate: Adam's, of the critic.
        averaging: decay of the running average of the weights, which is the result.
        noise: standard deviation of the noise on the critic's inputs at the start.
        gan_weight: of the loss against the critic. With 0 there is none: a plain autoencoder, with its equation.
        reconstruction_weight: of the reconstruction error.
        equivariance_weight: of the equivariance error under known elements (``coefficients``).
        motion_weight: of |f(g z) - g z'|^2 / |g z'|^2 with a learned vector field f: the equation of motion is
            equivariant (``discover.latent.model.LatentMotion``). It needs rates; where they are good, 1 makes the
            generators several times more accurate.
        anchor_weight: of |mean z|^2 + |cov z - 1|^2; with 0 the latent space is free.
        channel_penalty: weight of the overlaps of the generators.
        threshold: entries of L below this, relative to the largest, are masked for good; 0 keeps all.
        show_decoded: whether the critic also sees what the decoder makes of z and g z, so that transformed data have to
            look like data.
        steps: most steps.
        cooldown: steps at the end in which the learning rates fall to zero; all of them where ``steps`` is smaller.
        tolerance: the run has converged, and cools down, once the generators change by less, in radians, and the loss
            falls by less than 2 %, in 250 steps, three times in a row. No ground truth enters. With 0 all steps are
            taken.
        starts: initial weights that are tried; the one with the smallest ``trial_loss`` is trained.
        trial_steps: steps of each of these trials.
        restarts: most further runs, made while the ``Diagnosis`` is not ``ok``; the least severe is the result.
        held_out: fraction of the data held out for the errors and the verdict.
        evaluation_steps: training steps of the critic behind the verdict; 0 for no verdict.
        resolution: least deviation, over the latent's size, that counts for the verdict.
        seed: of all random numbers.
        device: ``"cpu"`` or ``"cuda"``.
        dtype: ``"float32"`` or ``"float64"``.
        checkpoint: file to resume from and to write to; restarts write to files beside it.
        checkpoint_every: steps between two checkpoints.
        progress: whether to show a progress bar.

    Attributes:
        symmetry_: encoder, decoder and algebra (``LatentSymmetry``).
        algebra_: the generators.
        equation_: the equation of motion, or ``None``.
        diagnosis_: false, with advice, where something is wrong.
        verdict_: the evaluation on held-out windows, or ``None``.
        reconstruction_error_: relative, on held-out windows.
        equivariance_error_: the same under known elements, or ``None``.
        reduction_: the number of modes and their error.
        stride_: time steps between the snapshots of a window.
        history_: one row every 50 steps.
        steps_: steps taken.
        trials_: the ``trial_loss`` of each start.
        restarts_: further runs that were made.

    Example:
        >>> import torch
        >>> angle = torch.arange(8.0)[:, None] + 0.1 * torch.arange(12)
        >>> circles = torch.stack([angle.cos(), angle.sin(), angle.cos() ** 2], dim=-1)
        >>> laligan = LaLiGAN(steps=20, starts=1, restarts=0, width=8, evaluation_steps=20, progress=False)
        >>> laligan.fit(circles).symmetry_
        LatentSymmetry(mlp, (3,) -> 2, ...)
    """

    latent_dim: int = 2
    structure: Structure = "free"
    encoder: str = "mlp"
    width: int = 64
    depth: int = 3
    padding: str = "zeros"
    reduction: float | None = 1e-3
    window: int = 2
    stride: int | None = None
    equation: JointEquation | None = None
    starts: int = 3
    trial_steps: int = 300
    restarts: int = 1
    resolution: float = 0.05

    def fit(
        self,
        trajectories: ArrayLike,
        *,
        labels: ArrayLike | None = None,
        coefficients: ArrayLike | None = None,
        rates: ArrayLike | None = None,
        dt: float | None = None,
        coordinates: Sequence[str] | None = None,
    ) -> "LaLiGAN":
        """Train on trajectories and evaluate the result on held-out windows.

        Args:
            trajectories: (m, T, *shape), at equal steps of time; T = 1 for single samples that have labels.
            labels: invariants shown to the critic, (m,), (m, T) or (m, T, s); whole numbers are classes.
            coefficients: (m, T - 1, c), where the group is given and the element that leads from each snapshot to
                the next is known: these are then fitted, without a critic.
            rates: dx/dt, shape of ``trajectories``. Needed, or ``dt``, for ``equation`` and ``motion_weight``.
            dt: time between snapshots, for rates by differences where none are given.
            coordinates: k names of the latent coordinates; z1, z2, ... where left out.

        Returns:
            The estimator itself.

        Raises:
            ValueError: for wrong shapes, NaN, settings that contradict each other, or data that hold no information:
                single samples without labels can be mapped to a Gaussian, which every rotation leaves invariant.
        """
        self._check(coefficients)
        names = self._name(coordinates or [f"z{i + 1}" for i in range(self.latent_dim)], self.latent_dim)
        trajectories = as_floating(trajectories, "trajectories")
        windows, reduction = prepare_windows(
            trajectories, labels=labels, coefficients=coefficients, rates=rates, dt=dt, window=self.window,
            stride=self.stride, tolerance=self.reduction if self.encoder == "mlp" else None,
        )  # fmt: skip
        if (self.equation is not None or self.motion_weight) and windows.rates is None:
            raise ValueError("an equation or motion_weight needs rates of change: give rates, or dt")
        self._architecture = Architecture(
            encoder=self.encoder, shape=tuple(trajectories.shape[2:]), latent_dim=self.latent_dim,
            modes=len(reduction.modes), width=self.width, depth=self.depth, padding=self.padding,
        )  # fmt: skip
        windows = windows.to(self.device, getattr(torch, self.dtype))
        fitted, held_out = windows.split(self.held_out, self.seed)
        runs = []
        for restart in range(1 + self.restarts):
            trainer, schedule = self._train(fitted, reduction, restart)
            self._conclude(trainer, schedule, held_out, names)
            runs.append({name: value for name, value in vars(self).items() if name.endswith("_")})
            if self.diagnosis_.ok:
                break
        vars(self).update(min(runs, key=lambda run: run["diagnosis_"].severity))
        self.restarts_ = len(runs) - 1
        return self

    def _check(self, coefficients: Tensor | None) -> None:
        self._check_config(
            "latent_dim", "width", "depth", "window", "learning_rate", "generator_learning_rate",
            "critic_learning_rate", "starts", distribution=("normal", "uniform"), encoder=tuple(SINGLE_CHANNEL),
        )  # fmt: skip
        for name in ("motion_weight", "restarts"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        if coefficients is not None and (self.stride not in (None, 1) or self.window < 2):
            raise ValueError(
                f"known elements lead from one snapshot to the next: set window >= 2 and stride=1, got "
                f"{self.window} and {self.stride}"
            )

    def _group(self) -> LatentGenerator | GivenGroup:
        return latent_group(
            self.structure, self.latent_dim, self.n_generators, self.distribution, self.distribution_scale
        )

    def _train(self, windows: Windows, reduction: Reduction, restart: int) -> tuple[LatentTrainer, Schedule]:
        """The best of the starts of this restart, trained to the end."""
        starts = range(restart * self.starts, (restart + 1) * self.starts)
        trainer = self._set_up(windows, reduction, starts[0])
        schedule = Schedule(
            steps=self.steps, cooldown=self.cooldown, tolerance=self.tolerance, loss_tolerance=0.02, every=250
        )
        path = restart_checkpoint(self.checkpoint, restart)
        checkpoint = self._open_checkpoint(path, windows.digest)
        history = checkpoint.restore(trainer, schedule)
        if not schedule.step and self.starts > 1 and self.trial_steps:
            self.trials_ = [
                trial_loss(self._set_up(windows, reduction, start), self.trial_steps, self.noise)
                for start in starts
            ]
            best = min(range(self.starts), key=self.trials_.__getitem__)
            trainer = self._set_up(windows, reduction, starts[best])
        self.history_ = trainer.train(schedule, checkpoint, history)
        return trainer, schedule

    def _set_up(self, windows: Windows, reduction: Reduction, start: int) -> LatentTrainer:
        """Model, critic and random state of one start."""
        dtype = getattr(torch, self.dtype)
        rng = torch.Generator(self.device).manual_seed(self.seed + SEED_STEP * start)
        autoencoder = seeded(rng, lambda: Autoencoder(self._architecture))
        autoencoder.reduction.load_state_dict(reduction.state_dict())
        group, equation, motion = seeded(rng, self._group), None, None
        _check_elements(windows.elements, group)
        if self.equation is not None:
            equation = self.equation.start(self.latent_dim, dtype, self.device, self.seed)
        if self.motion_weight and self.gan_weight:
            motion = seeded(rng, lambda: LatentMotion(self.latent_dim, self.width))
        model = LatentModel(autoencoder, group, equation, motion).to(device=self.device, dtype=dtype)
        numbers = 0 if windows.labels is None else windows.labels.shape[-1]
        size = self.latent_dim + self.show_decoded * windows.points.shape[-1]
        features = torch.zeros(1, windows.window * size + numbers, device=self.device, dtype=dtype)
        critic = seeded(
            rng, lambda: Critic(features, width=self.critic_width, classes=windows.n_classes, whiten=False)
        )
        return LatentTrainer(model, critic, windows, self, rng)

    def _conclude(
        self, trainer: LatentTrainer, schedule: Schedule, held_out: Windows, names: Sequence[str]
    ) -> None:
        """The symmetry with its provenance, held-out errors, a verdict, and the diagnosis."""
        model, rng = trainer.averaged.eval(), torch.Generator().manual_seed(self.seed)
        self.steps_, self.stride_ = schedule.step, held_out.stride
        self.reduction_ = model.autoencoder.reduction.describe()
        provenance = self._provenance(
            held_out.digest, steps=self.steps_, stride=self.stride_, reduction=self.reduction_
        )
        basis = model.group.basis.detach().double().cpu()
        distribution = model.group.distribution.to("cpu", torch.float64)
        algebra = LieAlgebra(basis, distribution, coordinates=names, provenance=provenance)
        self.symmetry_ = LatentSymmetry(model.autoencoder, algebra)
        self.algebra_ = self.symmetry_.algebra
        self.equation_ = None if model.equation is None else model.equation.equation(tuple(names))
        parts = (trainer.windows, held_out)
        with torch.no_grad():
            latent = [encode_windows(model.autoencoder, windows) for windows in parts]
            self.reconstruction_error_ = reconstruction_error(model.autoencoder, held_out)
            self.equivariance_error_ = equivariance_error(model, held_out, latent[1])
        self.verdict_ = None
        if trainer.adversarial and self.evaluation_steps:
            samples = [
                latent_samples(z, windows, self.resolution, rng)
                for z, windows in zip(latent, parts, strict=True)
            ]
            self.verdict_ = evaluate_symmetry(
                LieAlgebra(self.algebra_.basis, self.algebra_.distribution), *samples,
                steps=self.evaluation_steps, seed=self.seed, device=self.device,
            )  # fmt: skip
        flat = torch.cat([z.flatten(0, 1) for z in latent]).cpu()
        self.diagnosis_ = diagnose(
            flat, self.algebra_.basis, self.algebra_.sample(len(flat), rng),
            learned=trainer.adversarial and isinstance(model.group, LatentGenerator), centred=trainer.adversarial,
            reconstruction=self.reconstruction_error_, equivariance=self.equivariance_error_, verdict=self.verdict_,
        )  # fmt: skip


def _check_elements(elements: Tensor | None, group: LatentGenerator | GivenGroup) -> None:
    if elements is None:
        return
    if not isinstance(group, GivenGroup):
        raise ValueError(
            "coefficients belong to a given group, got a structure that is learned; name the group"
        )
    if elements.shape[-1] != len(group.basis):
        raise ValueError(
            f"coefficients must have {len(group.basis)} entries, one a generator, got {elements.shape[-1]}"
        )


def trial_loss(trainer: LatentTrainer, steps: int, noise: float) -> float:
    """How good a start is: reconstruction loss plus how far the critic's is below chance, over the second half.

    Args:
        trainer: before its first step.
        steps: of the trial.
        noise: standard deviation of the noise on the critic's inputs.
    """
    total = 0.0
    for step in range(steps):
        losses = trainer.step(1.0, noise)
        if step >= steps // 2:
            critic = losses.get("critic_loss", torch.tensor(CHANCE_LOSS))
            total += float(losses["reconstruction"]) + max(0.0, CHANCE_LOSS - float(critic))
    return total / max(1, steps - steps // 2)


def restart_checkpoint(checkpoint: str | Path | None, restart: int) -> Path | None:
    """The checkpoint of a restart: ``run-1.pt`` beside ``run.pt``.

    Args:
        checkpoint: of the first run.
        restart: how many runs came before.
    """
    if checkpoint is None:
        return None
    path = Path(checkpoint)
    return path.with_name(f"{path.stem}-{restart}{path.suffix}") if restart else path
