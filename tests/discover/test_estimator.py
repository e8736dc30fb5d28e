import pytest
import torch

from discover import LaLiGAN, LieGAN, Spectral

ESTIMATORS = [LieGAN, LaLiGAN, Spectral]


class Frame:
    """What a pandas frame shows of itself."""

    def __init__(self, values: torch.Tensor, columns: list[str]):
        self.values, self.columns = values, columns

    def to_numpy(self):
        return self.values.numpy()


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_settings_are_read_and_changed(kind):
    estimator = kind(seed=3)
    assert estimator.get_params()["seed"] == 3
    assert estimator.set_params(seed=4, steps=7) is estimator
    assert (estimator.seed, estimator.steps) == (4, 7)
    assert kind(**estimator.get_params()).get_params() == estimator.get_params()


def test_an_unknown_setting_is_refused_and_nothing_changed():
    estimator = Spectral(seed=3)
    with pytest.raises(ValueError, match="unknown setting 'step' of Spectral"):
        estimator.set_params(seed=4, step=7)
    assert estimator.seed == 3


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_scikit_learn_clones_them(kind):
    clone = pytest.importorskip("sklearn.base").clone
    estimator = kind(seed=3)
    estimator.algebra_ = "fitted"
    copy = clone(estimator)
    assert copy is not estimator
    assert copy.get_params() == estimator.get_params()
    assert not hasattr(copy, "algebra_")


def test_a_mask_is_cloned():
    clone = pytest.importorskip("sklearn.base").clone
    mask = torch.eye(2)
    assert torch.equal(clone(Spectral(search_space=mask)).search_space, mask)


def test_the_columns_of_a_frame_name_the_coordinates():
    angle = torch.linspace(0, 6, 100, dtype=torch.float64)
    frame = Frame(torch.stack([angle.cos(), 2 * angle.sin()], dim=1), ["x [m]", "y [m]"])
    settings = {"progress": False, "evaluation_steps": 5}
    assert Spectral(**settings).fit(frame).algebra_.coordinates == ("x [m]", "y [m]")
    assert Spectral(**settings).fit(frame, coordinates=["a", "b"]).algebra_.coordinates == ("a", "b")
    assert LieGAN(steps=2, **settings).fit(frame).algebra_.coordinates == ("x [m]", "y [m]")
