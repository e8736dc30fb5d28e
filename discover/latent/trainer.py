"""The latent game: encoder, decoder and generators against a critic that tells windows z from moved windows g z.

Each player gets the gradients of its own loss alone. Held against collapse: the latent has unit covariance
about zero (the anchor), the generators a fixed size in it, and the critic sees noise while the game is young.
"""

from dataclasses import dataclass
from math import log
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from discover.adversarial.penalties import channel_overlap
from discover.equations.joint import JointEquation, LatentEquation
from discover.equations.jvp import jvp
from discover.latent.autoencoder import Autoencoder
from discover.latent.group import GivenGroup, LatentGenerator
from discover.latent.motion import LatentMotion
from discover.latent.windows import Windows
from discover.networks.critic import Critic

__all__ = ["EPOCH", "LatentGame", "LatentRules", "Players"]

EPOCH = 100  # steps in what an equation's settings call an epoch
BLIND = log(2)
LEAST_VARIANCE = 1e-4  # of a direction, relative to the mean of all


@dataclass(kw_only=True)
class LatentRules:
    """The numbers of the game.

    Args:
        batch_size: windows in one step.
        rate, generator_rate, critic_rate: Adam's, of the autoencoder and equation, the generators, the critic;
            convolutions want a rate of about 5e-3.
        averaging: decay of the running average of all that is kept.
        noise: standard deviation of the noise on what the critic sees at the start; it fades.
        gan_weight, reconstruction_weight, equivariance_weight: of the terms of the autoencoder's loss; the last is
            for ``coefficients``. With ``gan_weight=0`` there is no game: a plain autoencoder, with its equation.
        motion_weight: of |f(g z) - g z'|^2 / |g z'|^2, f a vector field learned beside: the equation of motion commutes
            with g (``discover.latent.motion``). It wants rates; where they are good, 1 sharpens the critic's
            answer several times over. 0 asks nothing of the motion.
        anchor_weight: of |mean z|^2 + |cov z - 1|^2; 0 lets the latent go where it likes.
        channel_penalty: of the overlaps of several generators.
        threshold: entries of L below this, relative to the largest, are masked for good; 0 keeps all.
        show_decoded: whether the critic sees, beside z and g z, what the decoder makes of them, so that moved data
            have to look like data too.
    """

    batch_size: int = 128
    rate: float = 2e-2
    generator_rate: float = 1e-2
    critic_rate: float = 2e-3
    averaging: float = 0.995
    noise: float = 0.3
    gan_weight: float = 0.02
    reconstruction_weight: float = 1.0
    equivariance_weight: float = 1.0
    motion_weight: float = 0.0
    anchor_weight: float = 0.02
    channel_penalty: float = 0.1
    threshold: float = 0.0
    show_decoded: bool = False


class Players(nn.Module):
    """What is kept of a game: the autoencoder, the group and, where they are asked for, the equation and the motion."""

    def __init__(
        self,
        autoencoder: Autoencoder,
        group: LatentGenerator | GivenGroup,
        equation: LatentEquation | None = None,
        motion: LatentMotion | None = None,
    ):
        super().__init__()
        self.autoencoder, self.group, self.equation, self.motion = autoencoder, group, equation, motion


class LatentGame:
    """The players, their optimisers and their running average.

    Args:
        players: on one device and in one dtype. windows: the data. steps: the most there will be.
        random: the one source of randomness.
    """

    def __init__(
        self,
        players: Players,
        critic: Critic,
        windows: Windows,
        rules: LatentRules,
        steps: int,
        random: torch.Generator,
    ):
        self.players, self.critic, self.windows, self.rules = players, critic, windows, rules
        self.random, self.steps, self.count = random, steps, 0
        self.plays = rules.gan_weight > 0 and windows.elements is None
        self.average = AveragedModel(
            players, multi_avg_fn=get_ema_multi_avg_fn(rules.averaging), use_buffers=False
        )
        self.optimizers = {"kept": _adam(_kept(players, rules, self.plays))}
        if self.plays:
            critic_moves = {
                "params": list(critic.parameters()),
                "rate": rules.critic_rate,
                "betas": (0.5, 0.999),
            }
            self.optimizers["critic"] = _adam([critic_moves])

    def step(self, rate: float, noise: float) -> dict[str, Tensor]:
        """One move of each player; ``rate`` scales the learning rates, ``noise`` the noise the critic sees."""
        self._set_rate(rate)
        index = torch.randint(
            len(self.windows), (self.rules.batch_size,), generator=self.random, device=self.random.device
        )
        x = self.windows.snapshots(index)
        z = self.players.autoencoder.inward(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        losses = {"reconstruction": self._reconstruction(x, z)}
        total = self.rules.reconstruction_weight * losses["reconstruction"]
        total = total + self._anchor(z) + self._known_elements(z, index, losses)
        total = total + self._equation(index, losses) + self._motion(x, index, losses)
        if self.plays:
            total = total + self._play(z, index, noise, losses)
        losses["loss"] = total
        _move(self.optimizers["kept"], total)
        self._drop_small_terms()
        self.count += 1
        self.average.update_parameters(self.players)
        return {name: value.detach() for name, value in losses.items()}

    @property
    def best(self) -> Players:
        """The average of the last steps, with the masks and statistics of now."""
        averaged = cast(Players, self.average.module)
        for own, now in zip(averaged.buffers(), self.players.buffers(), strict=True):
            own.copy_(now)
        return averaged

    def _reconstruction(self, x: Tensor, z: Tensor) -> Tensor:
        back = self.players.autoencoder.outward(z.flatten(0, 1))
        return (back - x.flatten(0, 1)).square().sum(1).mean()

    def _anchor(self, z: Tensor) -> Tensor:
        if not self.rules.anchor_weight:
            return z.new_zeros(())
        flat = z.flatten(0, 1)
        mean = flat.mean(0)
        covariance = (flat - mean).mT @ (flat - mean) / len(flat)
        unit = torch.eye(len(mean), device=z.device, dtype=z.dtype)
        return self.rules.anchor_weight * (mean.square().sum() + (covariance - unit).square().sum())

    def _known_elements(self, z: Tensor, index: Tensor, losses: dict[str, Tensor]) -> Tensor:
        w = self.windows.moves(index)
        if w is None or not isinstance(self.players.group, GivenGroup):
            return z.new_zeros(())
        moved = torch.einsum("nwij,nwj->nwi", self.players.group.element(w), z[:, :-1])
        # each direction against its own variance: none can shrink out of the others' sight
        losses["equivariance"] = _whitened(z[:, 1:] - moved, z.flatten(0, 1)).square().mean()
        return self.rules.equivariance_weight * losses["equivariance"]

    def _equation(self, index: Tensor, losses: dict[str, Tensor]) -> Tensor:
        equation, rates = self.players.equation, self.windows.speeds(index)
        if equation is None or rates is None or not self._settings(equation).is_on(*self._epoch()):
            return self.windows.points.new_zeros(())
        autoencoder = self.players.autoencoder
        x = self.windows.snapshots(index)[:, 0]
        terms = equation.loss(autoencoder.inward, autoencoder.outward, x, rates)
        losses |= {f"equation_{name}": value for name, value in terms.items()}
        return equation.total_loss(terms)

    def _motion(self, x: Tensor, index: Tensor, losses: dict[str, Tensor]) -> Tensor:
        """How far the equation of motion is from one that commutes with the group."""
        motion, rates = self.players.motion, self.windows.speeds(index)
        if motion is None or rates is None:
            return x.new_zeros(())
        z, dz = jvp(self.players.autoencoder.inward, x[:, 0], rates)
        losses["motion"] = motion.loss(self.players.group(len(z), self.random).to(z), z, dz)
        return self.rules.motion_weight * losses["motion"]

    def _play(self, z: Tensor, index: Tensor, noise: float, losses: dict[str, Tensor]) -> Tensor:
        """The critic's move, then the generators'; returns what the autoencoder has to answer for."""
        half = len(z) // 2
        real, start = z[:half], z[half : 2 * half]
        g = self.players.group(half, self.random).to(z)
        moved = torch.einsum("nij,nwj->nwi", g, start)
        shown = torch.cat(
            [self._shown(real, index[:half], noise), self._shown(moved, index[half : 2 * half], noise)]
        )
        kinds = self.windows.kinds(index[: 2 * half])
        target = torch.zeros(2 * half, device=z.device, dtype=z.dtype)
        target[:half] = 1
        critic_loss = F.binary_cross_entropy_with_logits(self.critic(shown.detach(), kinds), target)
        _move(self.optimizers["critic"], critic_loss)
        # the real windows answer too: the encoder may make them look moved
        fooled = F.binary_cross_entropy_with_logits(self.critic(shown, kinds), 1 - target)
        losses["critic"] = critic_loss
        overlap = channel_overlap(self.players.group.whitened_basis)
        return self.rules.gan_weight * (fooled + self.rules.channel_penalty * overlap)

    def _shown(self, z: Tensor, index: Tensor, noise: float) -> Tensor:
        features, labels = z.flatten(1), self.windows.invariants(index)
        if self.rules.show_decoded:
            decoded = self.players.autoencoder.outward(z.flatten(0, 1)).unflatten(0, z.shape[:2])
            features = torch.cat([features, decoded.flatten(1)], dim=1)
        if labels is not None:
            features = torch.cat([features, labels], dim=1)
        if not noise:
            return features
        blur = torch.randn(features.shape, generator=self.random, device=z.device, dtype=z.dtype)
        return features + noise * blur

    def _drop_small_terms(self) -> None:
        epoch, epochs = self._epoch()
        if (self.count + 1) % EPOCH:
            return
        if self.rules.threshold and epoch >= epochs // 3:
            self.players.group.threshold(self.rules.threshold)
        equation = self.players.equation
        if equation is not None and self._settings(equation).drops_after(epoch, epochs) and equation.seen > 0:
            equation.threshold_()

    def _epoch(self) -> tuple[int, int]:
        return self.count // EPOCH, max(1, self.steps // EPOCH)

    def _settings(self, equation: LatentEquation) -> JointEquation:
        return equation.settings

    def _set_rate(self, rate: float) -> None:
        """The kept players cool; the critic does not, so that it stays their match to the end."""
        for group in self.optimizers["kept"].param_groups:
            group["lr"] = rate * group["rate"]
        for group in self.optimizers["critic"].param_groups if self.plays else ():
            group["lr"] = group["rate"]

    def state_dict(self) -> dict:
        """Everything the next step reads: players, averages, optimisers, randomness."""
        parts = self._modules() | self.optimizers
        states = {name: part.state_dict() for name, part in parts.items()}
        return states | {"random": self.random.get_state(), "count": self.count}

    def load_state_dict(self, state: dict) -> None:
        """Continue where ``state_dict`` was taken."""
        for name, part in (self._modules() | self.optimizers).items():
            part.load_state_dict(state[name])
        self.random.set_state(state["random"].cpu())
        self.count = state["count"]

    def _modules(self) -> dict[str, nn.Module]:
        return {"players": self.players, "critic_weights": self.critic, "average": self.average}


def _kept(players: Players, rules: LatentRules, plays: bool) -> list[dict]:
    """What moves with the kept players' loss. Adam does not ask how large gradients are, so generators share it."""
    own = set(players.group.parameters())
    others = [p for p in players.parameters() if p not in own]
    moves = [{"params": others, "rate": rules.rate, "betas": (0.9, 0.99)}]
    learned = [p for p in players.group.parameters() if p.requires_grad]
    if plays and learned:
        moves.append({"params": learned, "rate": rules.generator_rate, "betas": (0.5, 0.999)})
    return moves


def _whitened(errors: Tensor, z: Tensor) -> Tensor:
    """Errors (..., k) in the units in which z (n, k) has unit covariance."""
    centred = z - z.mean(0)
    covariance = centred.mT @ centred / len(z)
    floor = LEAST_VARIANCE * covariance.diagonal().mean().clamp_min(1e-12)
    unit = torch.eye(z.shape[1], device=z.device, dtype=z.dtype)
    factor = torch.linalg.cholesky(covariance + floor * unit)
    return torch.linalg.solve_triangular(factor, errors.flatten(0, -2).mT, upper=False).mT


def _adam(moves: list[dict]) -> torch.optim.Adam:
    return torch.optim.Adam(moves, fused=True)


def _move(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    """One step along the gradients of this loss for this optimiser's parameters, and for nothing else."""
    own = [p for group in optimizer.param_groups for p in group["params"]]
    for parameter, gradient in zip(own, torch.autograd.grad(loss, own, allow_unused=True), strict=True):
        parameter.grad = gradient
    optimizer.step()
