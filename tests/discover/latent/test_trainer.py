import pytest
import torch
from conftest import EXACT
from torch import Tensor

from discover.latent.autoencoder import Architecture, Autoencoder
from discover.latent.group import latent_group
from discover.latent.model import LatentModel
from discover.latent.trainer import LatentConfig, LatentTrainer
from discover.latent.windows import Windows
from discover.networks.critic import Critic


def trainer(elements: Tensor | None = None, **settings) -> LatentTrainer:
    """Of windows of two in the latent space of two copies of a plane, before its first step."""
    torch.manual_seed(0)
    points = torch.randn(50, 2, 4, dtype=torch.float64)
    starts = torch.stack([torch.arange(50), torch.zeros(50, dtype=torch.long)], dim=1)
    windows = Windows(points=points, starts=starts, window=2, stride=1, elements=elements)
    shape = Architecture(encoder="mlp", shape=(4,), latent_dim=4, modes=0, width=8, depth=1)
    model = LatentModel(Autoencoder(shape), latent_group("2*so(2)", 4, 1, "normal", 1.0)).double()
    size = 16 if settings.get("show_decoded") else 8
    critic = Critic(torch.zeros(1, size, dtype=torch.float64), width=4, whiten=False)
    return LatentTrainer(model, critic, windows, LatentConfig(**settings), torch.Generator().manual_seed(0))


def test_known_elements_are_fitted_and_without_them_there_is_a_critic():
    known = torch.randn(50, 1, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    assert set(trainer(known).step()) == {"reconstruction", "equivariance", "loss"}
    assert set(trainer().step()) == {"reconstruction", "critic_loss", "loss"}
    assert set(trainer(gan_weight=0.0).step()) == {"reconstruction", "loss"}


@pytest.mark.parametrize("show_decoded", [True, False])
def test_the_critic_sees_what_the_decoder_makes_of_latent_vectors(show_decoded):
    made, z, index = trainer(show_decoded=show_decoded), torch.randn(5, 2, 4).double(), torch.arange(5)
    features = made.features(z, index, 0.0)
    decoded = made.model.autoencoder.decode_flat(z.flatten(0, 1)).reshape(5, 8)
    expected = torch.cat([z.flatten(1), decoded], dim=1) if show_decoded else z.flatten(1)
    torch.testing.assert_close(features, expected, rtol=EXACT, atol=EXACT)
    assert not torch.equal(made.features(z, index, 0.1), features)


def test_the_critic_does_not_cool_and_the_model_does():
    made = trainer()
    made.step(rate=0.0)
    rates = {name: [g["lr"] for g in optimizer.param_groups] for name, optimizer in made.optimizers.items()}
    assert rates == {"model": [0.0], "critic": [made.config.critic_learning_rate]}


def test_the_average_follows_the_weights_and_has_their_masks():
    made = trainer(averaging=0.5)
    made.step()
    first = made.model.autoencoder.encoder[0].weight.detach().clone()
    made.step()
    second = made.model.autoencoder.encoder[0].weight.detach()
    made.model.group.basis.mul_(2)
    torch.testing.assert_close(made.averaged.autoencoder.encoder[0].weight.detach(), (first + second) / 2)
    assert torch.equal(made.averaged.group.basis, made.model.group.basis)
