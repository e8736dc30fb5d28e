import numpy as np
import pytest
import torch
from conftest import EXACT

from equivariant import Group, Rep, Scalar, T, V, catalogue

SO3, LORENTZ = catalogue.rotation(3), catalogue.lorentz()


@pytest.mark.parametrize(
    "rep",
    [
        V,
        Scalar,
        5 * V + 3 * Scalar + T(2),
        T(2, 1) + V.T + 2 * T(0, 2),
        V * V.T * V,
        V[1] * T(2) + 4 * V[1].T + T(2)[1],
        Rep(),
    ],
)
def test_a_string_reads_back(rep):
    assert Rep.parse(str(rep)) == rep
    assert hash(Rep.parse(str(rep))) == hash(rep)


@pytest.mark.parametrize("text", ["V +", "W", "V - V", "__import__('os')", "2", "T(-1)", "V.real", "T(p=1)"])
def test_anything_else_is_refused(text):
    with pytest.raises(ValueError, match="cannot read"):
        Rep.parse(text)


def test_equal_neighbours_merge_and_order_stays():
    assert str(V + V + Scalar + V) == "2*V + Scalar + V"
    assert (V + Scalar) * (V + Scalar) == T(2) + 2 * V + Scalar
    assert T(1, 1).T == V.T * V


def test_features_lie_copy_after_copy(generator):
    x = torch.randn(6, 40, generator=generator)
    g = torch.randn(8, 8, generator=generator)
    assert torch.allclose((5 * V).act(g, x).view(6, 5, 8), x.view(6, 5, 8) @ g.T, atol=1e-5)
    assert (5 * V + 3 * Scalar + T(2)).size(8) == 40 + 3 + 64


@pytest.mark.parametrize("rep", [2 * V + 3 * Scalar + T(2), T(2, 1) + V.T, 2 * T(1, 2)])
def test_acting_is_a_representation(rep, generator):
    g, h = LORENTZ.sample(2, generator)
    x = torch.randn(5, rep.size(4), generator=generator).double()
    assert torch.allclose(rep.act(g @ h, x), rep.act(g, rep.act(h, x)), rtol=1e-9, atol=1e-9)
    assert torch.allclose(rep.act(g, x), x @ rep.matrix(g).T, rtol=1e-9, atol=1e-9)
    assert torch.allclose(rep.matrix(torch.stack([g, h]))[1], rep.matrix(h))


def test_a_batch_of_elements_leads(generator):
    g = SO3.sample(4, generator)
    x = torch.randn(4, 7, 6, generator=generator).double()
    moved = (2 * V).act(g, x)
    assert torch.allclose(moved[2, 5], (2 * V).act(g[2], x[2, 5]), rtol=0, atol=EXACT)


@pytest.mark.parametrize("rep", [T(2) + 2 * V, T(1, 1), V.T + Scalar])
def test_generators_are_the_derivative_of_the_action(rep):
    step = 1e-6
    g = torch.linalg.matrix_exp(step * LORENTZ.basis)
    slope = (rep.matrix(g) - rep.matrix(torch.linalg.inv(g))) / (2 * step)
    sizes = LORENTZ.basis.flatten(1).norm(dim=1)[:, None, None]
    assert torch.allclose(slope / sizes, rep.generators(LORENTZ), atol=1e-8)


def test_factors_of_a_product_act_on_their_own_vectors(generator):
    group = Group.of([catalogue.rotation(2), SO3])
    rep = V + V[1] + V[0] * V[1]
    assert rep.size(group.dims) == 2 + 3 + 6
    g = tuple(e[0] for e in group.sample(1, generator))
    matrix = rep.matrix(g)
    assert torch.allclose(matrix[:2, :2], g[0], rtol=0, atol=EXACT)
    assert torch.allclose(matrix[2:5, 2:5], g[1], rtol=0, atol=EXACT)
    assert torch.allclose(matrix[5:, 5:], torch.kron(g[0].contiguous(), g[1]), rtol=0, atol=EXACT)


def test_wrong_sizes_get_a_sentence():
    with pytest.raises(ValueError, match=r"shape \(\.\.\., 11\) for 2\*V \+ 3\*Scalar"):
        (2 * V + 3 * Scalar).check(torch.ones(3, 10), 4)
    with pytest.raises(ValueError, match="another factor"):
        V[1].size(4)
    with pytest.raises(ValueError, match="multiplicity"):
        V * -1


@pytest.mark.parametrize("factor", [-1, 1.0, "a"])
def test_a_factor_is_a_whole_number(factor):
    with pytest.raises(ValueError, match="whole number >= 0"):
        V[factor]


def test_counts_are_whole_numbers_of_any_kind():
    assert np.int64(2) * V == V * np.int64(2) == 2 * V
    with pytest.raises(ValueError, match="multiplicity"):
        2.5 * V
    with pytest.raises(TypeError):
        V + 1
    with pytest.raises(ValueError, match="cannot read"):
        Rep.parse("+".join(["V"] * 20_000))
