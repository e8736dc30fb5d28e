"""The tutorials do what they say: each is run as a script, and its results are held to what its text promises."""

import runpy
from pathlib import Path

import pytest
from conftest import EXACT

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "tutorials"
matplotlib = pytest.importorskip("matplotlib")


def run(name):
    """The names that a tutorial leaves behind."""
    matplotlib.use("agg")
    return runpy.run_path(str(FOLDER / f"{name}.py"), run_name="__main__")


def test_a_layer_in_a_pyg_model():
    values = run("liegnn_in_pyg")
    assert values["accuracy"] > 0.9
    assert values["change"] < 1e-3


def test_augmentation_in_a_training_loop():
    values = run("augmentation")
    errors = values["errors"]
    assert errors["augmented"] < errors["plain"] / 5
    assert errors["averaged"] < errors["plain"] / 5
    assert values["error_of_equivariance"] < 1e-5


def test_a_group_typed_in_by_hand():
    assert run("emlp_by_hand")["unexplained"] < 0.5


def test_a_metric_from_a_noisy_discovery():
    values = run("layer_of_your_own")
    assert values["closure_before"] > 1e-3
    assert values["closure_after"] < EXACT
    assert values["cosine_with_truth"] > 0.99
    assert values["error"] < EXACT


def test_a_symmetry_of_a_latent_space():
    pytest.importorskip("pysindy")
    values = run("latent_space")
    assert values["cosine_with_rotation"] > 0.98
    assert values["distance"] < 0.1
    assert abs(values["frequency"] - 1) < 0.05


def test_a_table_of_columns():
    values = run("own_table")
    assert values["report"].algebra.n_generators == 1
    assert values["report"]


@pytest.mark.slow
def test_two_bodies():
    values = run("two_body")
    assert values["errors"]["EMLP"] < values["errors"]["plain network"] / 10


@pytest.mark.slow
def test_jets():
    pytest.importorskip("fastjet")
    values = run("jets")
    assert values["spectral"].algebra_.n_generators == 7
    assert values["angles"].max() < 1e-4
