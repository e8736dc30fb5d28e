import importlib.util
from pathlib import Path

import pytest
from conftest import EXACT

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
FILES = sorted(EXAMPLES.glob("*.py"))


def _main(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


def test_a_layer_in_a_pyg_model():
    assert _main("liegnn_in_pyg")() > 0.9


def test_augmentation_in_a_loop():
    errors = _main("augmentation")()
    assert errors["augmented"] < errors["plain"] / 5
    assert errors["averaged"] < errors["plain"] / 5
    assert errors["equivariance"] < 1e-5


def test_a_group_typed_in_by_hand():
    assert _main("emlp_by_hand")() < 0.5


def test_a_metric_from_a_noisy_discovery():
    values = _main("metric_from_discovery")()
    assert values["closure before"] > 1e-3
    assert values["closure after"] < EXACT
    assert values["cosine with so(1,3)"] > 0.99
    assert values["equivariance"] < EXACT


def test_a_symmetry_of_a_latent_space():
    values = _main("latent_symmetry")()
    assert values["cosine with so(2)"] > 0.98
    assert values["distance of moved data from the data"] < 0.1
    assert abs(values["frequency"] - 1) < 0.05


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_example_is_short(path):
    assert len(path.read_text().splitlines()) < 60


def test_every_example_is_run():
    assert {path.stem for path in FILES} >= {
        "liegnn_in_pyg",
        "augmentation",
        "emlp_by_hand",
        "metric_from_discovery",
        "latent_symmetry",
    }
