"""The report of a search: an established symmetry, none, and what may be done with either."""

import math

import pytest
import torch

from discover import find_symmetries
from equivariant import LieAlgebra, Scalar, V, assert_equivariant, catalogue, principal_angles


def normal(n, k, seed):
    return torch.randn(n, k, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture(scope="module")
def rotation():
    x = normal(500, 3, 0)
    return find_symmetries(x, (-x.square().sum(1) / 2).exp(), coordinates=["x", "y", "z"])


@pytest.fixture(scope="module")
def noise():
    return find_symmetries(normal(300, 2, 1), normal(300, 1, 2), coordinates=["<b>", "y"])


@pytest.fixture(scope="module")
def circle():
    x = normal(400, 2, 3)
    return find_symmetries(x / x.norm(dim=1, keepdim=True), coordinates=["x", "y"])


def test_rotations_of_an_invariant_target_are_found_named_and_bounded(rotation):
    assert rotation
    assert rotation.name == "so(3)"
    assert principal_angles(rotation.algebra.basis, catalogue.rotation(3).basis).max() < 1e-3
    assert {row.name for row in rotation.generators} == {
        f"rotation of ({p})" for p in ("x, y", "x, z", "y, z")
    }
    assert all(row.defect.high < 0.1 for row in rotation.generators)
    assert str(rotation).startswith("so(3): ")
    assert "95% confidence" in str(rotation)


def test_scaling_is_reported_as_no_symmetry(rotation):
    scaling = next(row for row in rotation.rejected if row.name == "scaling of (x, y, z)")
    assert scaling.defect.low > 0.1
    assert "scaling of (x, y, z) (defect at least" in str(rotation)


def test_the_invariant_metric_is_euclidean(rotation):
    (metric,) = rotation.metrics
    assert torch.allclose(metric / metric[0, 0], torch.eye(3, dtype=torch.float64), atol=1e-3)


def test_a_report_leads_to_a_model_an_augmentation_and_a_file(rotation, tmp_path):
    model = rotation.model(V, Scalar, hidden=16)
    assert_equivariant(model, rotation.algebra, V, Scalar, x=torch.randn(20, 3), rtol=1e-4)
    moved, _ = rotation.augmentation(V, Scalar)(torch.ones(5, 3), torch.ones(5, 1))
    assert torch.allclose(moved.norm(dim=1), torch.full((5,), math.sqrt(3)), atol=1e-4)
    rotation.save(tmp_path / "so3.safetensors")
    loaded = LieAlgebra.load(tmp_path / "so3.safetensors")
    assert loaded.name == "so(3)"
    assert rotation.sentence in loaded.provenance["text"]


def test_noise_gives_no_symmetry_and_says_what_would_decide(noise):
    assert not noise
    assert noise.verdict == "cannot tell"
    assert noise.algebra.n_generators == 0
    assert noise.metrics is None
    assert "of the variance of the target" in noise.sentence
    assert "Only 300 samples" in str(noise)
    with pytest.raises(ValueError, match="expected an established symmetry, got the verdict 'cannot tell'"):
        noise.model(V, Scalar)


def test_notebooks_show_escaped_words(noise, rotation):
    assert "<b>cannot tell</b>" in noise._repr_html_()
    assert "(<b>" not in noise._repr_html_()
    assert "<svg" in rotation._repr_html_()


def test_the_support_of_thin_data_is_asked_about_without_a_target(circle):
    assert circle
    assert circle.name == "so(2)"
    assert circle.equations == ("1 - x^2 - y^2 = 0",)
    assert "Without a target" in str(circle)
    assert len(circle.plot().axes) >= 1


def test_a_rotation_of_columns_in_different_units_is_named_as_one():
    x = normal(400, 2, 8)
    report = find_symmetries(x * torch.tensor([1.0, 1000.0]), x.square().sum(1), coordinates=["m", "mm"])
    assert [row.name for row in report.generators] == ["rotation of (m, mm) in scaled units"]
    assert report.name == "so(2)"


def test_too_few_samples_for_the_dimension_are_told():
    report = find_symmetries(normal(100, 9, 9), normal(100, 1, 10))
    assert report.verdict == "cannot tell"
    assert "equations do not determine 81 unknowns" in report.sentence


def test_directions_without_data_are_named_as_undetermined():
    x = normal(400, 3, 11)
    x[:, 2] = x[:, 0] + x[:, 1]
    report = find_symmetries(x, x[:, 0] ** 2 + x[:, 1] ** 2, coordinates=["a", "b", "c"])
    assert report.name == "so(2)"
    assert "Not determined by these data" in str(report)
    assert report.undetermined == ("a + b - c = 0",)


def test_a_constant_target_tells_nothing():
    report = find_symmetries(normal(100, 2, 4), torch.ones(100))
    assert report.verdict == "cannot tell"
    assert "never changes" in report.sentence


def test_bad_input_is_refused_before_any_work():
    x, y = normal(100, 2, 5), normal(100, 1, 6)
    with pytest.raises(ValueError, match="at least 80 samples, got 50"):
        find_symmetries(x[:50], y[:50])
    with pytest.raises(ValueError, match="at least 8 groups"):
        find_symmetries(x, y, groups=torch.arange(100) % 3)
    with pytest.raises(ValueError, match="0 < alpha < 1"):
        find_symmetries(x, y, alpha=1.5)
    with pytest.raises(ValueError, match="coordinates must be 2 names"):
        find_symmetries(x, y, coordinates=["x"])


@pytest.mark.slow
def test_an_exact_rotation_inside_an_approximate_algebra_is_not_lost():
    x = normal(2000, 3, 7)
    report = find_symmetries(x, x.square().sum(1) + 0.15 * x[:, 0], coordinates=["x", "y", "z"])
    assert report.name == "so(3)"
    assert report.sentence.startswith("Approximately so(3)")
    assert "Inside it, so(2) (rotation of (y, z)) holds up to" in str(report)
