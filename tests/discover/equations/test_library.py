import pytest
import torch
from conftest import EXACT

from discover.equations.library import PolynomialLibrary
from equivariant.expm import exponential


def draw(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_graded_order_and_names():
    library = PolynomialLibrary(dim=2, degree=3)
    assert library.names() == ("1", "z1", "z2", "z1^2", "z1 z2", "z2^2", "z1^3", "z1^2 z2", "z1 z2^2", "z2^3")
    assert PolynomialLibrary(dim=2, degree=1, constant=False).names(("q", "p")) == ("q", "p")
    assert library.degrees().tolist() == [0, 1, 1, 2, 2, 2, 3, 3, 3, 3]
    assert len(library) == 10


def test_values_are_those_of_the_names():
    library, z = PolynomialLibrary(dim=3, degree=3), draw(5, 3)
    values = dict(zip(library.names(), library(z).unbind(-1), strict=True))
    torch.testing.assert_close(values["z1 z3^2"], z[:, 0] * z[:, 2] ** 2, rtol=EXACT, atol=0)
    torch.testing.assert_close(values["z2^3"], z[:, 1] ** 3, rtol=EXACT, atol=0)


@pytest.mark.parametrize("constant", [True, False])
@pytest.mark.parametrize(("dim", "degree"), [(1, 4), (2, 1), (2, 3), (3, 3), (4, 2)])
def test_exact_derivatives_and_actions(dim, degree, constant):
    library = PolynomialLibrary(dim=dim, degree=degree, constant=constant)
    z, generators = draw(6, dim), draw(2, dim, dim, seed=1)
    jacobian = torch.func.vmap(torch.func.jacrev(library))(z)
    torch.testing.assert_close(library.jacobian(z), jacobian, rtol=EXACT, atol=EXACT)
    for L, M in zip(generators, library.action(generators), strict=True):
        step = 1e-3
        moved = [library(z @ exponential(s * step * L).T) for s in (-2, -1, 1, 2)]
        difference = (moved[0] - 8 * moved[1] + 8 * moved[2] - moved[3]) / (12 * step)
        error = (difference - library(z) @ M.T).norm() / difference.norm()
        assert error < 1e-9
        whole = library(z) @ torch.linalg.matrix_exp(M).T
        torch.testing.assert_close(library(z @ torch.linalg.matrix_exp(L).T), whole, rtol=1e-9, atol=1e-9)


def test_actions_keep_brackets():
    library, (a, b) = PolynomialLibrary(dim=3, degree=3), draw(2, 3, 3)
    left, right = library.action(a), library.action(b)
    # L -> M(L) moves the point, so the matrices multiply in the opposite order to vector fields: still a bracket
    bracket = library.action(a @ b - b @ a)
    torch.testing.assert_close(left @ right - right @ left, bracket, rtol=EXACT, atol=EXACT)


def test_a_shift_is_exact():
    library, z, offset = PolynomialLibrary(dim=2, degree=4), draw(7, 2), draw(2, seed=3)
    torch.testing.assert_close(
        library(z + offset), library(z) @ library.shift(offset).T, rtol=1e-9, atol=1e-9
    )


def test_dtype_is_the_callers_and_gradients_are_finite_at_zero():
    library = PolynomialLibrary(dim=2, degree=3)
    z = torch.zeros(1, 2, requires_grad=True)
    library(z).sum().backward()
    assert library(z).dtype == torch.float32
    assert z.grad is not None
    assert z.grad.tolist() == [[1.0, 1.0]]


def test_wrong_arguments_get_a_sentence():
    library = PolynomialLibrary(dim=2)
    with pytest.raises(ValueError, match=r"z must have shape \(..., 2\)"):
        library(torch.zeros(4, 3))
    with pytest.raises(ValueError, match="degree must be at least 1"):
        PolynomialLibrary(dim=2, degree=0)
    with pytest.raises(ValueError, match="generators must have shape"):
        library.action(torch.zeros(3, 3))
    with pytest.raises(ValueError, match="2 names"):
        library.names(("x",))
    with pytest.raises(ValueError, match="constant=True"):
        PolynomialLibrary(dim=2, constant=False).shift(torch.zeros(2))
