"""The adversarial game: a critic tells (x, y) from (g x, g y), the generators learn to make that impossible.

Standardised like this: whitened data, generators of fixed size, noise on what the critic sees while the game
is young (thin data sets overlap and give gradients), gradients only for the player whose turn it is.
"""

from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from discover.adversarial.generator import Generator
from discover.adversarial.penalties import channel_overlap, identity_overlap, sparsity
from discover.data.samples import Samples
from discover.networks.critic import Critic

__all__ = ["Game", "Rules"]


@dataclass(kw_only=True)
class Rules:
    """The numbers of the game.

    Args:
        batch_size: real samples, and moved samples, in one step.
        learning_rate, critic_learning_rate: Adam's, betas (0.5, 0.999).
        averaging: decay of the running average of the generators, which is what the game ends with.
        critic_averaging: the same for the critic the generators play against; 0 plays against the critic itself.
        noise: standard deviation of the noise on the critic's whitened inputs at the start; it fades.
        identity_penalty: weight of |mean cos(g x, x)|; needed where the size of the generators is free.
        sparsity_penalty: weight of the 1-norm of the generators' entries.
        channel_penalty: weight of the generators' overlaps; without it several channels find one generator.
    """

    batch_size: int = 256
    learning_rate: float = 2e-2
    critic_learning_rate: float = 3e-3
    averaging: float = 0.99
    critic_averaging: float = 0.0
    noise: float = 0.2
    identity_penalty: float = 0.0
    sparsity_penalty: float = 0.0
    channel_penalty: float = 1.0


class Game:
    """Both players, their optimisers and the running average of the generators.

    Args:
        generator, critic: the players, on one device and in one dtype.
        samples: whitened joint samples. random: the one source of randomness.
    """

    def __init__(
        self, generator: Generator, critic: Critic, samples: Samples, rules: Rules, random: torch.Generator
    ):
        self.generator, self.critic, self.rules, self.random = generator, critic, rules, random
        self.samples = samples
        decay = get_ema_multi_avg_fn(rules.averaging)
        self.average = AveragedModel(generator, multi_avg_fn=decay)
        self.averaged_critic = _average(critic, rules.critic_averaging)
        betas = (0.5, 0.999)
        fused = next(critic.parameters()).device.type in ("cpu", "cuda")
        self.optimizers = {
            "generator": torch.optim.Adam(generator.parameters(), rules.learning_rate, betas, fused=fused),
            "critic": torch.optim.Adam(critic.parameters(), rules.critic_learning_rate, betas, fused=fused),
        }

    def step(self, rate: float, noise: float) -> dict[str, Tensor]:
        """One move of each player; ``rate`` scales the learning rates, ``noise`` the noise the critic sees."""
        self._set_rate(rate)
        real, start = self._draw(), self._draw()
        moved = start.map_vectors(self.generator(len(start), self.random))
        shown = self._blurred(moved, noise)
        critic_loss = self._critic_step(self._blurred(real, noise), shown.detach(), real.labels, moved.labels)
        generator_loss = self._generator_step(start, moved, shown)
        self.average.update_parameters(self.generator)
        if self.averaged_critic is not None:
            self.averaged_critic.update_parameters(self.critic)
        return {"critic_loss": critic_loss, "generator_loss": generator_loss}

    @property
    def averaged_generator(self) -> Generator:
        """The generators averaged over the last steps: less noise than the last step's."""
        return cast(Generator, self.average.module)

    def _critic_step(
        self, real: Tensor, fake: Tensor, real_labels: Tensor | None, fake_labels: Tensor | None
    ) -> Tensor:
        labels = None if real_labels is None or fake_labels is None else torch.cat([real_labels, fake_labels])
        logits = self.critic(torch.cat([real, fake]), labels)
        target = torch.zeros_like(logits)
        target[: len(real)] = 1
        loss = F.binary_cross_entropy_with_logits(logits, target)
        return self._move("critic", loss)

    def _generator_step(self, start: Samples, moved: Samples, shown: Tensor) -> Tensor:
        judge = self.critic if self.averaged_critic is None else self.averaged_critic.module
        loss = F.softplus(-judge(shown, moved.labels)).mean() + self._penalties(start, moved)
        return self._move("generator", loss)

    def _penalties(self, start: Samples, moved: Samples) -> Tensor:
        rules, basis = self.rules, self.generator.whitened_basis
        total = basis.new_zeros(())
        if rules.identity_penalty:
            overlap = identity_overlap(start.x.vectors.flatten(1), moved.x.vectors.flatten(1))
            total = total + rules.identity_penalty * overlap
        if rules.sparsity_penalty:
            total = total + rules.sparsity_penalty * sparsity(self.generator.basis)
        if rules.channel_penalty and len(basis) > 1:
            total = total + rules.channel_penalty * channel_overlap(basis)
        return total

    def _move(self, player: str, loss: Tensor) -> Tensor:
        """One step of one player; only its own gradients are computed."""
        optimizer = self.optimizers[player]
        own = [p for group in optimizer.param_groups for p in group["params"] if p.requires_grad]
        for parameter, gradient in zip(own, torch.autograd.grad(loss, own), strict=True):
            parameter.grad = gradient
        optimizer.step()
        return loss.detach()

    def _draw(self) -> Samples:
        device = self.random.device
        index = torch.randint(
            len(self.samples), (self.rules.batch_size,), generator=self.random, device=device
        )
        return self.samples[index]

    def _blurred(self, samples: Samples, noise: float) -> Tensor:
        features = self.critic.features(samples.flat())
        if noise == 0:
            return features
        blur = torch.randn(
            features.shape, generator=self.random, device=features.device, dtype=features.dtype
        )
        return features + noise * blur

    def _set_rate(self, rate: float) -> None:
        rates = {"generator": self.rules.learning_rate, "critic": self.rules.critic_learning_rate}
        for player, optimizer in self.optimizers.items():
            for group in optimizer.param_groups:
                group["lr"] = rate * rates[player]

    def state_dict(self) -> dict:
        """Everything the next step reads: players, averages, optimisers, randomness."""
        parts = self._modules() | self.optimizers
        return {name: part.state_dict() for name, part in parts.items()} | {"random": self.random.get_state()}

    def load_state_dict(self, state: dict) -> None:
        """Continue where ``state_dict`` was taken."""
        for name, part in (self._modules() | self.optimizers).items():
            part.load_state_dict(state[name])
        self.random.set_state(state["random"].cpu())

    def _modules(self) -> dict[str, nn.Module]:
        modules: dict[str, nn.Module | None] = {
            "generator_weights": self.generator,
            "critic_weights": self.critic,
            "average": self.average,
            "averaged_critic": self.averaged_critic,
        }
        return {name: module for name, module in modules.items() if module is not None}


def _average(critic: Critic, decay: float) -> AveragedModel | None:
    return AveragedModel(critic, multi_avg_fn=get_ema_multi_avg_fn(decay)) if decay else None
