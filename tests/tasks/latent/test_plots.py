import pytest
import torch

from discover.latent.autoencoder import Architecture, Autoencoder
from discover.latent.symmetry import LatentSymmetry
from equivariant import catalogue
from tasks.latent.data import Trajectories
from tasks.latent.plots import animate_orbit, draw_forecasts, draw_group_action, draw_latent_motion, shortened


def example(shape):
    """Snapshots of any shape and an untrained autoencoder whose latent space SO(2) x SO(2) rotates."""
    states = torch.randn(3, 5, *shape, generator=torch.Generator().manual_seed(0))
    data = Trajectories(name="noise", states=states, time_step=1.0, coordinates=("q", "p"))
    design = Architecture(encoder="mlp", shape=shape, latent_dim=4, modes=0, width=4, depth=1)
    return LatentSymmetry(Autoencoder(design), catalogue.by_name("2*so(2)")), data


@pytest.mark.parametrize("shape", [(2,), (8,), (1, 4, 4)], ids=["points", "signals", "pictures"])
def test_snapshots_of_every_shape_are_drawn(shape):
    symmetry, data = example(shape)
    energy = (lambda x: x.square().sum(-1)) if shape == (2,) else None
    figure = draw_group_action(symmetry, data, energy)
    assert len(figure.axes) == (2 if shape == (2,) else 18)
    assert len(draw_latent_motion(symmetry, data).axes) == 2
    gif = animate_orbit(symmetry, data, title="z1' = z2", frames=3)
    assert gif.startswith(b"GIF")


def test_an_orbit_returns_after_one_period():
    symmetry, data = example((8,))
    figure = draw_group_action(symmetry, data, None)
    first, last = (figure.axes[column].lines[0].get_ydata() for column in (1, 5))
    assert torch.allclose(torch.as_tensor(first), torch.as_tensor(last), atol=1e-4)


def test_errors_that_are_not_finite_are_left_out_and_large_ones_cut():
    errors = {"free, rk": torch.tensor([0.1, 50.0, torch.inf]), "free, refined": torch.full((3,), 0.01)}
    (axis,) = draw_forecasts(torch.arange(3.0), errors, seen=0.8).axes
    drawn = torch.as_tensor(axis.lines[0].get_ydata())
    assert drawn[:2].tolist() == pytest.approx([0.1, 10.0])
    assert drawn[2].isnan()


def test_long_equations_are_shortened():
    assert shortened("z1' = 2 z1 - z2 + 0.5 z1^2 - z2^3") == "z1' = 2 z1 - z2 + 0.5 z1^2 + 1 more term"
    assert shortened("z1' = z1 + z2\nz2' = z1", most=1) == "z1' = z1 + 1 more term\nz2' = z1"
