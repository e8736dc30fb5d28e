"""Adversarial training in a latent space: a critic tells windows z from transformed windows g z.

Against a collapse of the latent space: it is held at unit covariance about zero (``anchor_weight``), the generators
have a fixed size in it, and the critic sees noise that fades.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from discover.adversarial.penalties import channel_overlap
from discover.adversarial.trainer import (
    BETAS,
    AdversarialConfig,
    AdversarialTrainer,
    adam,
    descend,
    discrimination_loss,
)
from discover.equations.jvp import jvp
from discover.latent.group import GivenGroup
from discover.latent.model import LatentModel, anchor_loss, equivariance_loss
from discover.latent.windows import Windows
from discover.networks.critic import Critic

__all__ = ["EPOCH", "LatentConfig", "LatentTrainer"]

EPOCH = 100  # steps in what the settings of an equation call an epoch


@dataclass(kw_only=True)
class LatentConfig(AdversarialConfig):
    """Settings of the training in a latent space; documented in ``LaLiGAN``."""

    batch_size: int = 128
    learning_rate: float = 2e-2
    generator_learning_rate: float = 1e-2
    critic_learning_rate: float = 2e-3
    averaging: float = 0.995
    noise: float = 0.3
    channel_penalty: float = 0.1
    gan_weight: float = 0.02
    reconstruction_weight: float = 1.0
    equivariance_weight: float = 1.0
    motion_weight: float = 0.0
    anchor_weight: float = 0.02
    threshold: float = 0.0
    show_decoded: bool = False
    steps: int = 5000
    cooldown: int = 4000
    tolerance: float = 0.02
    evaluation_steps: int = 600
    checkpoint_every: int = 1000


class LatentTrainer(AdversarialTrainer[LatentModel]):
    """Trains a latent model and, unless ``gan_weight`` is 0 or elements are known, a critic, on windows.

    Args:
        model: on one device and in one dtype with the critic.
        critic: of latent windows.
        windows: the data.
        config: settings.
        rng: source of all random numbers.
    """

    config: LatentConfig
    cooled = ("model",)  # not the critic, so that it can follow to the end
    label = "LaLiGAN"

    def __init__(
        self,
        model: LatentModel,
        critic: Critic,
        windows: Windows,
        config: LatentConfig,
        rng: torch.Generator,
    ):
        self.windows = windows
        self.adversarial = config.gan_weight > 0 and windows.elements is None
        of_group = set(model.group.parameters())
        groups = [([p for p in model.parameters() if p not in of_group], config.learning_rate, (0.9, 0.99))]
        learned = [p for p in model.group.parameters() if p.requires_grad]
        if self.adversarial and learned:
            groups.append((learned, config.generator_learning_rate, BETAS))
        optimizers = {"model": adam(*groups)}
        if self.adversarial:
            optimizers["critic"] = adam((list(critic.parameters()), config.critic_learning_rate, BETAS))
        super().__init__(model, critic, windows, config, optimizers, rng)

    @property
    def tracked_basis(self) -> Tensor:
        """The generators (c, k, k)."""
        return self.model.group.whitened_basis

    def features(self, z: Tensor, index: Tensor, noise: float) -> Tensor:
        """What the critic sees of latent windows.

        Args:
            z: (n, w, k).
            index: of these windows (n,), for their labels.
            noise: standard deviation of what is added.

        Returns:
            Latent vectors, with ``show_decoded`` what the decoder makes of them, and numeric labels, (n, d).
        """
        labels = self.windows.labels_at(index)
        decoded = [self.model.decode(z).flatten(1)] if self.config.show_decoded else []
        parts = [z.flatten(1), *decoded, *([] if labels is None else [labels])]
        return self._add_noise(torch.cat(parts, dim=1), noise)

    def _update(self, noise: float) -> dict[str, Tensor]:
        config, model, index = self.config, self.model, self._draw()
        x = self.windows.snapshots(index)
        z = model.encode(x)
        elements, rates = self.windows.elements_at(index), self.windows.rates_at(index)
        losses = {"reconstruction": (model.decode(z) - x).flatten(0, 1).square().sum(1).mean()}
        total = config.reconstruction_weight * losses["reconstruction"]
        if config.anchor_weight:
            total = total + config.anchor_weight * anchor_loss(z)
        if elements is not None and isinstance(model.group, GivenGroup):
            losses["equivariance"] = equivariance_loss(model.group, z, elements)
            total = total + config.equivariance_weight * losses["equivariance"]
        if rates is not None and model.equation is not None and model.equation.settings.is_on(*self._epoch()):
            encode, decode = model.autoencoder.encode_flat, model.autoencoder.decode_flat
            terms = model.equation.loss(encode, decode, x[:, 0], rates)
            losses |= {f"equation_{name}": value for name, value in terms.items()}
            total = total + model.equation.total_loss(terms)
        if rates is not None and model.motion is not None:
            first, velocity = jvp(model.autoencoder.encode_flat, x[:, 0], rates)
            g = model.group(len(first), self.rng).to(first)
            losses["motion"] = model.motion.loss(g, first, velocity)
            total = total + config.motion_weight * losses["motion"]
        if self.adversarial:
            total = total + config.gan_weight * self._adversarial_loss(z, index, noise, losses)
        descend(self.optimizers["model"], total)
        self._drop_small_terms()
        return losses | {"loss": total}

    def _adversarial_loss(self, z: Tensor, index: Tensor, noise: float, losses: dict[str, Tensor]) -> Tensor:
        """Update the critic; returns the loss of autoencoder and generators against it."""
        half = len(z) // 2
        real, start = z[:half], z[half : 2 * half]
        transformed = torch.einsum("nij,nwj->nwi", self.model.group(half, self.rng).to(z), start)
        seen = self.features(real, index[:half], noise)
        seen = torch.cat([seen, self.features(transformed, index[half : 2 * half], noise)])
        classes = self.windows.classes_at(index[: 2 * half])
        losses["critic_loss"] = self._update_critic(seen, classes)
        # the real windows count too: the encoder may make them look transformed
        loss = discrimination_loss(self.critic(seen, classes), exchanged=True)
        overlap = channel_overlap(self.model.group.whitened_basis)
        return loss + self.config.channel_penalty * overlap

    def _drop_small_terms(self) -> None:
        epoch, epochs = self._epoch()
        if (self.count + 1) % EPOCH:
            return
        if self.config.threshold and epoch >= epochs // 3:
            self.model.group.threshold(self.config.threshold)
        equation = self.model.equation
        if equation is not None and equation.settings.drops_after(epoch, epochs) and equation.seen > 0:
            equation.threshold_()

    def _epoch(self) -> tuple[int, int]:
        return self.count // EPOCH, max(1, self.config.steps // EPOCH)
