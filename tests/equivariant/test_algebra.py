import dataclasses
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from conftest import EXACT
from safetensors.torch import save_file

from equivariant import CoefficientDistribution, LieAlgebra, catalogue, compare


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


WHOLE = {
    "basis": torch.ones(1, 2, 2),
    "mean": torch.zeros(1),
    "scale": torch.ones(1),
    "origin": torch.zeros(2),
}
HEADER = {"law": "normal", "coordinates": '["x", "y"]', "space": "data", "provenance": "{}"}


def test_foreign_files_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no algebra file"):
        LieAlgebra.load(tmp_path / "none")
    (tmp_path / "text").write_text("not an algebra")
    with pytest.raises(ValueError, match="not a safetensors file"):
        LieAlgebra.load(tmp_path / "text")
    save_file(WHOLE, tmp_path / "foreign", {"format": "weights/3"})
    with pytest.raises(ValueError, match="weights/3"):
        LieAlgebra.load(tmp_path / "foreign")


@pytest.mark.parametrize(
    ("tensors", "header", "message"),
    [
        ({"basis": torch.full((1, 2, 2), torch.nan)}, {}, "basis must be finite"),
        ({"basis": torch.ones(2, 2)}, {}, "basis must have shape"),
        ({"basis": torch.ones(1, 2, 2, dtype=torch.complex64)}, {}, "basis must be floating point"),
        ({"basis": torch.ones(1, 2, 2).to(torch.float8_e5m2)}, {}, "basis must be floating point"),
        ({"basis": torch.ones(1, 2, 2, dtype=torch.int64)}, {}, "basis must be floating point"),
        ({"origin": torch.zeros(2, dtype=torch.int32)}, {}, "origin must be floating point"),
        ({"origin": None}, {}, "'origin' is missing"),
        ({"mean": torch.zeros(2)}, {}, "scale must have shape"),
        ({}, {"space": None}, "'space' is missing"),
        ({}, {"law": None}, "'distribution' is missing"),
        ({}, {"law": None, "distribution": "normal"}, "checksum is missing"),
        ({}, {"law": "cauchy"}, "unknown coefficient distribution"),
        ({}, {"coordinates": "5"}, "valid algebra"),
        ({}, {"coordinates": '["x"'}, "valid algebra"),
        ({}, {"provenance": "[1]"}, "valid algebra"),
        ({}, {"provenance": "[" * 100_000}, "valid algebra"),
    ],
)
def test_hostile_files_get_a_sentence(tmp_path, tensors, header, message):
    given = {name: t for name, t in (WHOLE | tensors).items() if t is not None}
    words = {name: word for name, word in (HEADER | header).items() if word is not None}
    save_file(given, tmp_path / "file", {"format": "lie-algebra/1", **words})
    with pytest.raises(ValueError, match=message):
        LieAlgebra.load(tmp_path / "file")


def test_a_damaged_file_is_refused_and_the_same_algebra_gives_the_same_bytes(tmp_path):
    """One bit in the numbers or in the header, or a missing end: whatever is read is what was written."""
    algebra = LieAlgebra(
        catalogue.rotation(2).basis, name="so(2)", provenance={"seed": 1, "config": {"a": 2}}
    )
    path = tmp_path / "algebra"
    algebra.save(path)
    blob = path.read_bytes()
    for again in (algebra, LieAlgebra.load(path)):
        again.save(path)
        assert path.read_bytes() == blob
    for place in range(len(blob)):
        damaged = bytearray(blob)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="algebra"):
            LieAlgebra.load(path)
    for length in (0, 7, 100, len(blob) - 1):
        path.write_bytes(blob[:length])
        with pytest.raises(ValueError, match="safetensors"):
            LieAlgebra.load(path)


def test_files_of_version_0_1_open(tmp_path):
    """They name the kind of distribution ``law`` and carry no checksum."""
    metadata = {"format": "lie-algebra/1", **HEADER, "law": "uniform", "provenance": '{"seed": 1}'}
    save_file(WHOLE | {"scale": torch.full((1,), 2.0)}, tmp_path / "old", metadata)
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
    assert (algebra.n_generators, algebra.dim, algebra.closure_error()) == (0, 3, 0.0)
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
        ({"basis": torch.ones(1, 2, 2, dtype=torch.complex64)}, "must be real"),
        ({"basis": torch.ones(1, 2, 2).to(torch.float8_e4m3fn)}, "dtypes"),
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


@pytest.mark.parametrize(
    ("algebra", "abelian", "semisimple"),
    [
        (catalogue.rotation(2), True, False),
        (catalogue.rotation(3), False, True),
        (catalogue.lorentz(), False, True),
        (catalogue.special_linear(3), False, True),
        (catalogue.general_linear(3), False, False),
        (catalogue.euclidean(2), False, False),
        (catalogue.euclidean(3), False, False),
        (catalogue.translation(3), True, False),
        (catalogue.copies(catalogue.rotation(3), 5), False, True),
        (LieAlgebra(torch.zeros(0, 3, 3)), True, False),
    ],
)
def test_structure_is_told_in_any_basis_and_under_noise(algebra, abelian, semisimple, generator):
    c, k = algebra.basis.shape[:2]
    mixing = torch.randn(c, c, generator=generator, dtype=torch.float64) + 3 * torch.eye(c).double()
    change = torch.randn(k, k, generator=generator, dtype=torch.float64) + 3 * torch.eye(k).double()
    mixed = torch.einsum("ab,bij->aij", mixing, algebra.basis.double())
    mixed = torch.linalg.solve(change, mixed @ change)
    noise = torch.randn(mixed.shape, generator=generator, dtype=torch.float64)
    for basis in (algebra.basis, mixed, algebra.basis + 1e-3 * noise):
        other = LieAlgebra(basis)
        assert (other.is_abelian, other.is_semisimple) == (abelian, semisimple)


def test_the_brackets_are_sums_of_structure_constants():
    algebra = catalogue.lorentz()
    f = algebra.structure_constants()
    assert torch.allclose(torch.einsum("ijl,lab->ijab", f, algebra.basis), compare.brackets(algebra))
    boosts, rotations = algebra.killing_form().diagonal().split(3)
    assert boosts.min() > 0 > rotations.max()


def test_arrays_and_lists_make_the_same_algebra():
    basis = [[[0, -1], [1, 0]]]
    assert LieAlgebra(basis).digest == LieAlgebra(np.array(basis)).digest == catalogue.rotation(2).digest
    assert torch.equal(LieAlgebra(basis).act([[0, -1], [1, 0]], [1, 0]), torch.tensor([0.0, 1.0]).double())


def test_a_name_is_kept_and_shown(tmp_path):
    algebra = LieAlgebra(catalogue.rotation(2).basis, name="so(2) <of my data>")
    algebra.save(tmp_path / "named")
    assert LieAlgebra.load(tmp_path / "named").name == algebra.name
    assert "so(2) <of my data>" in repr(algebra)
    assert dataclasses.replace(algebra, name="so(2)").name == "so(2)"
    assert "unnamed" in repr(LieAlgebra(torch.zeros(0, 2, 2)))


def test_a_notebook_shows_name_evidence_and_heat_maps():
    algebra = LieAlgebra(
        catalogue.lorentz().basis,
        coordinates=("<E>", "x", "y", "z"),
        name="so(1,3)",
        provenance={"verdict": {"text": "Symmetry found"}},
    )
    page = algebra._repr_html_()
    ElementTree.fromstring(page)
    assert page.count("<svg") == 6
    assert "so(1,3)" in page
    assert "closure error" in page
    assert "Symmetry found" in page
    assert "&lt;E&gt;" in page
    ElementTree.fromstring(LieAlgebra(torch.zeros(0, 2, 2))._repr_html_())
    assert catalogue.rotation(6)._repr_html_().count("<svg") == 12
    large = LieAlgebra(torch.ones(1, 200, 200))._repr_html_()
    ElementTree.fromstring(large)
    assert "<svg" not in large
