import dataclasses

import pytest
import torch
from conftest import EXACT
from safetensors.torch import save_file

from equivariant import CoefficientDistribution, LieAlgebra, catalogue


def test_an_element_of_so2_is_a_turn():
    angle = torch.tensor([0.3], dtype=torch.float64)
    g = catalogue.rotation(2).element(angle)
    assert torch.allclose(g[:, 0], torch.cat([angle.cos(), angle.sin()]), rtol=0, atol=EXACT)


def test_act_turns_about_the_origin():
    origin = torch.tensor([1.0, 2.0], dtype=torch.float64)
    algebra = LieAlgebra(catalogue.rotation(2).basis, origin=origin)
    g = algebra.element(torch.tensor([[0.5]], dtype=torch.float64))
    assert torch.allclose(algebra.act(g, origin[None]), origin[None], rtol=0, atol=EXACT)
    assert not torch.allclose(algebra.act(g, origin[None] + 1), origin[None] + 1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "distribution", [CoefficientDistribution.integer(2, 7), CoefficientDistribution.uniform(2, 0.5)]
)
def test_a_file_gives_back_what_was_saved(tmp_path, dtype, distribution):
    algebra = LieAlgebra(
        torch.randn(2, 3, 3, dtype=dtype),
        distribution,
        origin=torch.randn(3, dtype=dtype),
        coordinates=("E [GeV]", "a", "b"),
        space="latent:abc",
        provenance={"seed": 3, "parent": "digest"},
    )
    algebra.save(tmp_path / "algebra.safetensors")
    loaded = LieAlgebra.load(tmp_path / "algebra.safetensors")
    assert loaded.digest == algebra.digest
    assert loaded.basis.dtype == dtype
    assert torch.equal(loaded.basis, algebra.basis)
    assert (loaded.coordinates, loaded.space, loaded.provenance) == (
        algebra.coordinates,
        algebra.space,
        algebra.provenance,
    )
    assert torch.equal(loaded.distribution.sample(5, _seed(1)), algebra.distribution.sample(5, _seed(1)))


@pytest.mark.parametrize(
    "change",
    [
        {"basis": torch.ones(1, 2, 2)},
        {"origin": torch.ones(2)},
        {"coordinates": ("p", "q")},
        {"space": "latent:1"},
        {"distribution": CoefficientDistribution.uniform(1)},
    ],
)
def test_the_digest_is_of_the_content(change):
    algebra = catalogue.rotation(2)
    assert dataclasses.replace(algebra, **change).digest != algebra.digest
    assert dataclasses.replace(algebra, provenance={"seed": 1}).digest == algebra.digest
    assert algebra.to(torch.float32).digest == algebra.digest


def test_foreign_files_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no algebra file"):
        LieAlgebra.load(tmp_path / "none")
    (tmp_path / "text").write_text("not an algebra")
    with pytest.raises(ValueError, match="not a safetensors file"):
        LieAlgebra.load(tmp_path / "text")
    save_file({"basis": torch.ones(1, 2, 2)}, tmp_path / "foreign", {"format": "weights/3"})
    with pytest.raises(ValueError, match="weights/3"):
        LieAlgebra.load(tmp_path / "foreign")
    header = {
        "format": "lie-algebra/1",
        "distribution": "normal",
        "coordinates": "[]",
        "space": "data",
        "provenance": "{}",
    }
    save_file({"basis": torch.ones(1, 2, 2)}, tmp_path / "part", header)
    with pytest.raises(ValueError, match="missing"):
        LieAlgebra.load(tmp_path / "part")
    ones = {"mean": torch.zeros(1), "scale": torch.ones(1), "origin": torch.zeros(2)}
    for name, basis in {"nan": torch.full((1, 2, 2), torch.nan), "shape": torch.ones(2, 2)}.items():
        save_file({"basis": basis, **ones}, tmp_path / name, header)
        with pytest.raises(ValueError, match="valid algebra"):
            LieAlgebra.load(tmp_path / name)


def test_files_of_version_0_1_open(tmp_path):
    """They name the kind of distribution ``law`` and carry no checksum."""
    ones = {"mean": torch.zeros(1), "scale": torch.full((1,), 2.0), "origin": torch.zeros(2)}
    metadata = {
        "format": "lie-algebra/1",
        "law": "uniform",
        "coordinates": '["x", "y"]',
        "space": "data",
        "provenance": '{"seed": 1}',
    }
    save_file({"basis": torch.ones(1, 2, 2), **ones}, tmp_path / "old", metadata)
    algebra = LieAlgebra.load(tmp_path / "old")
    assert (algebra.distribution.kind, float(algebra.distribution.scale)) == ("uniform", 2.0)
    assert (algebra.coordinates, algebra.provenance) == (("x", "y"), {"seed": 1})


def test_integer_draws_take_both_ends(generator):
    draws = CoefficientDistribution.integer(1, 3).sample(4000, generator)
    assert sorted(set(draws.flatten().tolist())) == [-3, -2, -1, 0, 1, 2, 3]
    counts = torch.stack([(draws == value).sum() for value in range(-3, 4)])
    assert counts.min() > 0.7 * counts.max()


def test_a_matrix_scale_mixes_the_coefficients(generator):
    scale = torch.tensor([[1.0, 0.0], [2.0, 1e-3]])
    draws = CoefficientDistribution("normal", torch.zeros(2), scale).sample(2000, generator)
    assert torch.corrcoef(draws.T)[0, 1] > 0.999


def test_the_same_seed_draws_the_same_elements():
    algebra = catalogue.lorentz()
    assert torch.equal(algebra.sample(3, _seed(1)), algebra.sample(3, _seed(1)))
    assert not torch.equal(algebra.sample(3, _seed(1)), algebra.sample(3, _seed(2)))


def test_an_algebra_without_generators_still_has_a_dimension():
    algebra = LieAlgebra(torch.zeros(0, 3, 3))
    assert (algebra.n_generators, algebra.dim, algebra.closure()) == (0, 3, 0.0)
    assert torch.equal(algebra.sample(2), torch.eye(3).expand(2, 3, 3))


def test_the_value_does_not_follow_its_source():
    basis = torch.ones(1, 2, 2)
    algebra = LieAlgebra(basis)
    basis.zero_()
    assert algebra.basis.any()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"basis": torch.ones(2, 2)}, "basis must have shape"),
        ({"basis": torch.ones(1, 2, 2).long()}, "floating"),
        ({"basis": torch.full((1, 2, 2), torch.nan)}, "finite"),
        ({"origin": torch.ones(3)}, "origin must have shape"),
        ({"coordinates": ("a", "a")}, "different names"),
        ({"distribution": CoefficientDistribution.normal(2)}, "one mean per generator"),
        ({"provenance": {"f": print}}, "json"),
    ],
)
def test_bad_input_gets_a_sentence(arguments, message):
    with pytest.raises(ValueError, match=message):
        LieAlgebra(**{"basis": torch.ones(1, 2, 2), **arguments})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("cauchy", torch.zeros(1), torch.ones(1)), "choose from"),
        (("normal", torch.zeros(1), torch.ones(2)), "scale must"),
        (("integer", torch.zeros(1), torch.tensor([0.5])), "whole bounds"),
    ],
)
def test_bad_laws_get_a_sentence(arguments, message):
    with pytest.raises(ValueError, match=message):
        CoefficientDistribution(*arguments)


def _seed(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
