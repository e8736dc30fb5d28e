"""LieGAN: generators L such that (x, y) and (g x, g y), g = exp(sum_i w_i L_i), have the same distribution."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from discover.adversarial.generator import Generator
from discover.adversarial.penalties import channel_overlap, identity_overlap, sparsity
from discover.adversarial.schedule import Schedule
from discover.adversarial.trainer import BETAS, AdversarialConfig, AdversarialTrainer, adam, descend
from discover.data.samples import Samples, YKind
from discover.data.search_space import SearchSpace, Specification
from discover.estimator import Estimator
from discover.networks.critic import Critic
from discover.validation.certify import evaluate_symmetry, split
from equivariant.algebra import CoefficientDistribution, LieAlgebra
from equivariant.arrays import ArrayLike
from equivariant.rep import Rep

__all__ = ["LieGAN", "LieGANTrainer"]


@dataclass(kw_only=True)
class LieGAN(AdversarialConfig, Estimator):
    """Discovers linear symmetries by adversarial training (Yang et al. 2023, arXiv 2302.00236, eq. 5).

    Generators L and a critic D are trained on min_L max_D E[log D(x, y)] + E[log(1 - D(g x, g y))]. As published, with
    four changes that make it fast and stable: data are whitened on their own span, the generators have a fixed size
    there, the critic sees noise that fades, and the generators are averaged. ``LieGAN.published()`` undoes them.

    Args:
        n_generators: c, the number of generators to look for; at most the dimension of the search space.
        search_space: ``"free"``, ``"blocks:2"``, groups such as ``"0,1,4,5|2,3,6,7"``, or a mask (k, k).
        distribution: of the coefficients w: ``"normal"``, ``"uniform"`` or ``"integer"``.
        distribution_scale: standard deviation, half width or bound of that distribution.
        learn_distribution: whether its mean and scale are learned too.
        generator_size: root mean square of L x over whitened x, so that w is an angle in radians for 1. ``None``
            leaves the size free, to be held by ``identity_penalty``.
        whiten: whether the generators are looked for in whitened coordinates on the span of the data.
        critic_width: hidden width of the critic.
        batch_size: data, and transformed data, in one step.
        learning_rate: Adam's, of the generators.
        critic_learning_rate: Adam's, of the critic.
        averaging: decay of the running average of the generators, which is the result.
        critic_averaging: decay of the running average of the critic the generators are trained against; 0 takes the
            critic itself.
        noise: standard deviation of the noise on the critic's whitened inputs at the start.
        identity_penalty: weight of |mean cos(g x, x)|; needed where the size of the generators is free.
        sparsity_penalty: weight of the 1-norm of the generators' entries.
        channel_penalty: weight of the overlaps of the generators; without it several find the same.
        steps: most steps.
        cooldown: steps at the end in which the learning rates fall to zero; all of them where ``steps`` is smaller.
        tolerance: the run has converged, and cools down, once the averaged generators change by less, in radians,
            in 100 steps, three times in a row. No ground truth enters. With 0 all steps are taken.
        held_out: fraction of the samples, or of their ``groups``, held out for the verdict.
        evaluation_steps: training steps of the critic and the predictor behind the verdict.
        seed: of all random numbers.
        device: ``"cpu"`` or ``"cuda"``.
        dtype: of the training, ``"float32"`` or ``"float64"``.
        checkpoint: file to resume from and to write to.
        checkpoint_every: steps between two checkpoints.
        progress: whether to show a progress bar.

    Attributes:
        algebra_: the generators found (``LieAlgebra``), not refined.
        verdict_: the evaluation on held-out data.
        span_: the subspace the data lie in.
        undetermined_: directions orthogonal to it, on which the data do not determine the generators.
        relations_: the linear equations that the data obey.
        history_: one row every 50 steps.
        steps_: steps taken.

    Example:
        >>> import torch
        >>> x = torch.randn(100, 2, generator=torch.Generator().manual_seed(0))
        >>> liegan = LieGAN(steps=20, evaluation_steps=20, progress=False).fit(x, x.norm(dim=1))
        >>> liegan.algebra_.basis.shape
        torch.Size([1, 2, 2])
    """

    search_space: Specification = "free"
    learn_distribution: bool = False
    generator_size: float | None = 1.0
    whiten: bool = True
    learning_rate: float = 2e-2
    critic_learning_rate: float = 3e-3
    critic_averaging: float = 0.0
    identity_penalty: float = 0.0
    sparsity_penalty: float = 0.0

    @classmethod
    def published(cls, **changes: Any) -> "LieGAN":
        """The two-body settings of the paper's code: no whitening, free size, 512-wide critic, 22,900 steps.

        Args:
            changes: settings that differ from these.

        Returns:
            An estimator to be fitted.

        Example:
            >>> LieGAN.published(seed=3).critic_width
            512
        """
        settings: dict[str, Any] = {
            "batch_size": 64, "learning_rate": 1e-3, "critic_learning_rate": 2e-4, "critic_width": 512,
            "generator_size": None, "identity_penalty": 1.0, "whiten": False, "noise": 0.0,
            "steps": 22_900, "cooldown": 0, "tolerance": 0.0, "search_space": "blocks:2", "channel_penalty": 0.1,
        }  # fmt: skip
        return cls(**(settings | changes))

    def fit(
        self,
        x: ArrayLike,
        y: ArrayLike | None = None,
        *,
        x_rep: Rep | None = None,
        y_rep: Rep | None = None,
        y_kind: YKind | None = None,
        coordinates: Sequence[str] | None = None,
        groups: ArrayLike | None = None,
    ) -> "LieGAN":
        """Train on samples (x, y) and evaluate the generators on held-out samples.

        Args:
            x: inputs (n, d) or (n, T, k): a tensor, a NumPy array, lists or a pandas frame.
            y: targets: vectors (n, d), scalars (n,) or (n, 1), or class labels (n,) of whole-number dtype. Without
                them the symmetries of the distribution of x are looked for.
            x_rep: representation of x, a sum of ``V`` and ``Scalar``; guessed from the shape where left out.
            y_rep: representation of y.
            y_kind: ``"class"`` or ``"count"``: what whole numbers in y are; by default classes if they are few.
            coordinates: names of the k coordinates, with units; by default the column names of a frame.
            groups: (n,) whole numbers; samples of one group, such as a trajectory, are held out together.

        Returns:
            The estimator itself.

        Raises:
            ValueError: for wrong shapes, NaN, too few samples, more generators than the search space holds, or
                settings that contradict each other.
        """
        self._check()
        samples, names = self._read(x, y, x_rep, y_rep, y_kind, coordinates)
        fitted, held_out = split(samples, self.held_out, groups, self.seed)
        trainer = self._set_up(fitted)
        schedule = Schedule(steps=self.steps, cooldown=self.cooldown, tolerance=self.tolerance)
        checkpoint = self._open_checkpoint(self.checkpoint, samples.digest)
        self.history_ = trainer.train(schedule, checkpoint, checkpoint.restore(trainer, schedule))
        self.steps_ = schedule.step
        provenance = self._provenance(samples.digest, steps=self.steps_)
        basis = trainer.averaged.basis.detach().double().cpu()
        distribution = trainer.averaged.distribution.to("cpu", torch.float64)
        self.algebra_ = LieAlgebra(basis, distribution, coordinates=names, provenance=provenance)
        self.verdict_ = evaluate_symmetry(
            self.algebra_, fitted, held_out, steps=self.evaluation_steps, seed=self.seed, device=self.device
        )
        return self

    def _check(self) -> None:
        self._check_config(
            "learning_rate", "critic_learning_rate", "evaluation_steps", distribution=("normal", "uniform", "integer")
        )  # fmt: skip
        if self.distribution == "integer" and (self.learn_distribution or self.generator_size is not None):
            raise ValueError(
                "an integer distribution finds the size of one step, so its generators must be free and its bound "
                "fixed: set generator_size=None, identity_penalty=1 and learn_distribution=False"
            )
        if self.learn_distribution and not self.identity_penalty > 0:
            raise ValueError(
                "a learned distribution shrinks to zero without identity_penalty > 0, got 0; try 1"
            )

    def _set_up(self, samples: Samples) -> "LieGANTrainer":
        dtype = getattr(torch, self.dtype)
        make = SearchSpace.of_data if self.whiten else SearchSpace.plain
        self.space_ = make(samples.all_vectors(), self.search_space)
        whitened = samples.map_vectors(self.space_.whitening.encode).to(device=self.device, dtype=dtype)
        distribution = getattr(CoefficientDistribution, self.distribution)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(self.seed)
            generator = Generator(
                self.space_, distribution(self.n_generators, self.distribution_scale),
                size=self.generator_size, learn_distribution=self.learn_distribution,
            )  # fmt: skip
            critic = Critic(
                whitened.flat(), width=self.critic_width, classes=samples.classes, whiten=self.whiten
            )
        generator.to(device=self.device, dtype=dtype)
        return LieGANTrainer(
            generator, critic, whitened, self, torch.Generator(self.device).manual_seed(self.seed)
        )


class LieGANTrainer(AdversarialTrainer[Generator]):
    """Trains generators and critic on whitened samples.

    Args:
        generator: on one device and in one dtype with the critic.
        critic: of joint samples.
        samples: whitened joint samples.
        config: settings.
        rng: source of all random numbers.
    """

    config: LieGAN
    cooled = ("generator", "critic")
    label = "LieGAN"

    def __init__(
        self, generator: Generator, critic: Critic, samples: Samples, config: LieGAN, rng: torch.Generator
    ):
        learned = [p for p in generator.parameters() if p.requires_grad]
        optimizers = {
            "generator": adam((learned, config.learning_rate, BETAS)),
            "critic": adam((list(critic.parameters()), config.critic_learning_rate, BETAS)),
        }
        super().__init__(generator, critic, samples, config, optimizers, rng)
        self.samples = samples
        self.averaged_critic = None
        if config.critic_averaging:
            decay = get_ema_multi_avg_fn(config.critic_averaging)
            self.averaged_critic = AveragedModel(critic, multi_avg_fn=decay)

    @property
    def tracked_basis(self) -> Tensor:
        """The averaged generators (c, r, r) on whitened data."""
        return cast(Generator, self._average.module).whitened_basis

    def _update(self, noise: float) -> dict[str, Tensor]:
        real, start = self.samples[self._draw()], self.samples[self._draw()]
        transformed = start.map_vectors(self.model(len(start), self.rng))
        fake = self._features(transformed, noise)
        labels = None
        if real.labels is not None and transformed.labels is not None:
            labels = torch.cat([real.labels, transformed.labels])
        critic_loss = self._update_critic(torch.cat([self._features(real, noise), fake]), labels)
        critic = self.critic if self.averaged_critic is None else self.averaged_critic.module
        logits = critic(fake, transformed.labels)
        generator_loss = F.softplus(-logits).mean() + self._penalties(start, transformed)
        descend(self.optimizers["generator"], generator_loss)
        if self.averaged_critic is not None:
            self.averaged_critic.update_parameters(self.critic)
        return {"critic_loss": critic_loss, "generator_loss": generator_loss}

    def _features(self, samples: Samples, noise: float) -> Tensor:
        return self._add_noise(self.critic.features(samples.flat()), noise)

    def _penalties(self, start: Samples, transformed: Samples) -> Tensor:
        config, basis = self.config, self.model.whitened_basis
        total = basis.new_zeros(())
        if config.identity_penalty:
            overlap = identity_overlap(start.x.vectors.flatten(1), transformed.x.vectors.flatten(1))
            total = total + config.identity_penalty * overlap
        if config.sparsity_penalty:
            total = total + config.sparsity_penalty * sparsity(self.model.basis)
        if config.channel_penalty and len(basis) > 1:
            total = total + config.channel_penalty * channel_overlap(basis)
        return total

    def _parts(self) -> dict[str, Any]:
        parts = super()._parts()
        return parts if self.averaged_critic is None else parts | {"averaged_critic": self.averaged_critic}
