import pytest
import torch
from conftest import EXACT
from torch import Tensor

from discover.latent.autoencoder import Architecture, Autoencoder
from discover.latent.group import latent_group
from discover.latent.trainer import LatentGame, LatentRules, Players
from discover.latent.windows import Windows
from discover.networks.critic import Critic


def parts(elements: Tensor | None = None) -> LatentGame:
    """A game of windows of two in the latent of two copies of a plane, before its first step."""
    torch.manual_seed(0)
    points = torch.randn(50, 2, 4, dtype=torch.float64)
    starts = torch.stack([torch.arange(50), torch.zeros(50, dtype=torch.long)], dim=1)
    windows = Windows(points=points, starts=starts, window=2, stride=1, elements=elements)
    shape = Architecture(encoder="mlp", shape=(4,), latent_dim=4, modes=0, width=8, depth=1)
    players = Players(Autoencoder(shape), latent_group("2*so(2)", 4, 1, "normal", 1.0)).double()
    critic = Critic(torch.zeros(1, 8, dtype=torch.float64), width=4, whiten=False)
    return LatentGame(players, critic, windows, LatentRules(), 10, torch.Generator().manual_seed(0))


def missed(game: LatentGame, z: Tensor) -> float:
    """What known elements say of latent windows z."""
    losses: dict[str, Tensor] = {}
    game._known_elements(z, torch.arange(len(z)), losses)
    return float(losses["equivariance"])


def followed(game: LatentGame, z: Tensor) -> Tensor:
    """Windows (50, 2, 4) of z (50, 1, 4) and what the known elements make of it."""
    w = game.windows.moves(torch.arange(50))
    return torch.cat([z, torch.einsum("nwij,nwj->nwi", game.players.group.element(w), z)], dim=1)


@pytest.fixture
def game() -> LatentGame:
    return parts(torch.randn(50, 1, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(1)))


def mixed(m: list[list[float]]) -> Tensor:
    """A matrix (4, 4) that mixes the two copies: it commutes with the turn of both."""
    return torch.kron(torch.tensor(m, dtype=torch.float64), torch.eye(2, dtype=torch.float64))


def test_copies_that_fall_together_are_seen(game):
    """A copy that hides behind a good one: what it misses is told however small its own part is."""
    good = followed(game, torch.randn(50, 1, 4, dtype=torch.float64))
    bad = torch.randn(50, 2, 4, dtype=torch.float64)
    z = torch.cat([good[..., :2], bad[..., 2:]], dim=-1)
    hidden = z @ mixed([[1.0, 0.0], [1.0, 0.1]]).mT
    assert missed(game, z) > 0.3
    assert abs(missed(game, hidden) / missed(game, z) - 1) < 0.05


def test_windows_that_follow_their_elements_miss_nothing(game):
    z = torch.randn(50, 1, 4, dtype=torch.float64)
    assert missed(game, followed(game, z)) < EXACT
    assert missed(game, torch.cat([z, z], dim=1)) > 0.1


def test_a_latent_that_has_lost_a_direction_stays_finite(game):
    z = torch.randn(50, 2, 4, dtype=torch.float64) * torch.tensor([1.0, 1.0, 0.0, 0.0], dtype=torch.float64)
    assert torch.isfinite(torch.tensor(missed(game, z)))
    assert torch.isfinite(torch.tensor(missed(game, torch.zeros(50, 2, 4, dtype=torch.float64))))


def test_without_elements_nothing_is_asked_of_them():
    losses: dict[str, Tensor] = {}
    assert float(parts()._known_elements(torch.randn(5, 2, 4), torch.arange(5), losses)) == 0
    assert not losses


def test_the_critic_sees_what_the_decoder_makes_of_moved_latents():
    game, z, index = parts(), torch.randn(5, 2, 4, dtype=torch.float64), torch.arange(5)
    game.rules.show_decoded = True
    shown = game._shown(z, index, 0.0)
    decoded = game.players.autoencoder.outward(z.flatten(0, 1)).reshape(5, 8)
    torch.testing.assert_close(shown, torch.cat([z.flatten(1), decoded], dim=1))
    game.rules.show_decoded = False
    torch.testing.assert_close(game._shown(z, index, 0.0), z.flatten(1))
