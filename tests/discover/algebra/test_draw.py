import math
import subprocess
import sys

import pytest
import torch
from matplotlib.figure import Figure

from discover.algebra.draw import draw_action, draw_basis, draw_spectrum, planes
from equivariant import LieAlgebra, catalogue

NOTHING = LieAlgebra(torch.zeros(0, 4, 4))


def texts(figure):
    words = [t.get_text() for axis in figure.axes for t in axis.texts]
    return words + [w for axis in figure.axes for w in (axis.get_xlabel(), axis.get_ylabel())]


@pytest.mark.parametrize("algebra", [catalogue.lorentz(), catalogue.by_name("4*so(2)"), NOTHING], ids=str)
def test_every_picture_can_be_written(algebra, generator, tmp_path):
    data = torch.randn(30, algebra.dim, generator=generator)
    for number, figure in enumerate(
        [draw_basis(algebra, "title"), draw_spectrum(algebra, "title"), draw_action(algebra, data)]
    ):
        assert isinstance(figure, Figure)
        figure.savefig(tmp_path / f"{number}.png")
        assert (tmp_path / f"{number}.png").stat().st_size > 1000


def test_the_heat_map_shows_the_entries_and_the_names():
    figure = draw_basis(catalogue.lorentz())
    image = figure.axes[2].images[0].get_array()
    assert image is not None
    assert torch.equal(torch.as_tensor(image.data).double(), catalogue.lorentz().basis[2])
    assert [t.get_text() for t in figure.axes[0].get_xticklabels()] == ["E", "px", "py", "pz"]
    assert len(figure.axes) == 6 + 1  # and one colour bar for all


def test_one_colour_means_one_value_in_all_panels():
    basis = torch.stack([torch.eye(2), 5 * torch.eye(2)])
    limits = {axis.images[0].get_clim() for axis in draw_basis(LieAlgebra(basis)).axes[:2]}
    assert limits == {(-5.0, 5.0)}


def test_the_spectrum_is_that_of_the_generator():
    plane = draw_spectrum(catalogue.rotation(3)).axes[0]
    points = torch.as_tensor(plane.collections[0].get_offsets().data)
    assert sorted(points[:, 1].round(decimals=6).tolist()) == [-1.0, 0.0, 1.0]
    assert points[:, 0].abs().max() < 1e-6


def test_the_spectrum_on_the_span_of_data_leaves_the_rest_out(generator):
    half = torch.randn(20, 2, generator=generator)
    basis = catalogue.by_name("2*so(2)").basis
    seen = draw_spectrum(LieAlgebra(basis), data=torch.cat([half, -half], dim=1)).axes[0]
    assert len(seen.collections[0].get_offsets()) == 2


def test_data_after_g_is_what_g_does():
    data = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    axis = draw_action(catalogue.rotation(2), data, w=math.pi / 2).axes[0]
    before, after = (torch.as_tensor(c.get_offsets().data) for c in axis.collections)
    assert torch.allclose(before, data.double(), atol=1e-6)
    assert torch.allclose(after, torch.tensor([[0.0, 1.0], [-2.0, 0.0]]).double(), atol=1e-6)


def test_trajectories_are_lines(generator):
    axis = draw_action(catalogue.rotation(2), torch.randn(3, 5, 2, generator=generator)).axes[0]
    assert [len(line.get_xdata()) for line in axis.lines if line.get_linestyle() == "-"] == [5] * 6


def test_data_turn_about_the_origin_of_the_algebra():
    algebra = LieAlgebra(catalogue.rotation(2).basis, origin=torch.tensor([1.0, 1.0]))
    axis = draw_action(algebra, torch.tensor([[2.0, 1.0], [1.0, 1.0]]), w=math.pi).axes[0]
    after = torch.as_tensor(axis.collections[1].get_offsets().data)
    assert torch.allclose(after, torch.tensor([[0.0, 1.0], [1.0, 1.0]]).double(), atol=1e-6)


def test_axes_carry_names_with_units():
    data = torch.rand(5, 4)
    assert "px [GeV]" in texts(draw_action(catalogue.lorentz(), data))


def test_an_empty_algebra_says_so():
    assert any("no symmetry" in word for word in texts(draw_basis(NOTHING)))
    assert any("no symmetry" in word for word in texts(draw_spectrum(NOTHING)))


def test_planes_are_those_a_generator_mixes():
    assert planes(catalogue.by_name("4*so(2)")) == [(0, 1), (2, 3), (4, 5), (6, 7)]
    assert planes(catalogue.lorentz(), 1) == [(0, 2)]
    assert planes(NOTHING) == [(0, 1), (2, 3)]
    assert planes(LieAlgebra(torch.ones(1, 1, 1))) == [(0, 0)]


def test_data_are_not_changed(generator):
    data = torch.randn(6, 4, generator=generator)
    before = data.clone()
    draw_action(catalogue.lorentz(), data)
    assert torch.equal(data, before)


def test_data_of_a_wrong_shape_are_refused():
    with pytest.raises(ValueError, match=r"\(n, k\)"):
        draw_action(catalogue.rotation(2), torch.zeros(0, 2))


def test_importing_the_module_does_not_import_matplotlib():
    code = "import sys, discover.algebra.draw; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
