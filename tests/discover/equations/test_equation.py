import math

import pytest
import torch
from conftest import EXACT
from motions import equation, harmonic, normal_form

from discover.equations.equation import Equation
from discover.equations.library import PolynomialLibrary


def test_equations_are_printed_in_the_usual_form():
    assert str(harmonic()) == "z1' = 0.91 z2\nz2' = -0.91 z1"
    mixed = equation(2, {"1": -2.0, "z1": 1.0, "z2": -1.0, "z1 z2": -0.12345}, {})
    assert str(mixed) == "z1' = -2 + z1 - z2 - 0.123 z1 z2\nz2' = 0"
    assert mixed.terms == 4
    named = Equation(mixed.library, mixed.coefficients, ("q", "p"), "s")
    assert named.text(5) == "q' = -2 + q - p - 0.12345 q p\np' = 0"
    assert "+ -" not in repr(named)


def test_value_and_jacobian():
    z = torch.randn(4, 2, dtype=torch.float64)
    motion = normal_form()
    r2 = z.square().sum(1, keepdim=True)
    turned = torch.stack([-z[:, 1], z[:, 0]], dim=1)
    torch.testing.assert_close(motion(z), (1 - r2) * z + (1.5 - 0.4 * r2) * turned, rtol=EXACT, atol=EXACT)
    torch.testing.assert_close(
        motion.jacobian(z), torch.func.vmap(torch.func.jacrev(motion))(z), rtol=EXACT, atol=EXACT
    )


def test_frequencies_of_a_linear_equation():
    torch.testing.assert_close(harmonic().frequencies(), torch.tensor([0.91], dtype=torch.float64))
    assert harmonic().eigenvalues().real.abs().max() < EXACT
    assert equation(1, {"z1": -1.0}, {"z2": -2.0}).frequencies().tolist() == []
    assert equation(1, {}, {}).frequencies().tolist() == []
    with pytest.raises(ValueError, match="this one has terms of degree 3"):
        normal_form().eigenvalues()


def test_integrates_to_the_closed_form():
    times = torch.linspace(0, 20, 50, dtype=torch.float64)
    path = harmonic().integrate(torch.tensor([[1.0, 0.0], [0.0, 2.0]], dtype=torch.float64), times)
    assert path.shape == (50, 2, 2)
    torch.testing.assert_close(path[:, 0, 0], torch.cos(0.91 * times), rtol=0, atol=1e-8)
    torch.testing.assert_close(path[:, 1, 1], 2 * torch.cos(0.91 * times), rtol=0, atol=1e-8)
    back = harmonic().integrate(path[-1], times.flip(0))
    torch.testing.assert_close(back[-1], path[0], rtol=0, atol=1e-8)


def test_euler_is_the_explicit_step():
    motion, z0 = harmonic(), torch.tensor([1.0, 0.5])
    path = motion.integrate(z0, [0.0, 0.1, 0.3], "euler")
    one = z0 + 0.1 * motion(z0)
    assert path.dtype == torch.float32
    torch.testing.assert_close(path[1:], torch.stack([one, one + 0.2 * motion(one)]))


def test_a_divergence_is_no_error_and_does_not_affect_other_trajectories():
    path = equation(2, {"z1^2": 1.0}).integrate(torch.tensor([[1.0], [-1.0]]), torch.linspace(0, 2, 5))
    assert path[:2].isfinite().all()
    assert not path[2:, 0].isfinite().any()
    torch.testing.assert_close(path[-1, 1, 0], torch.tensor(-1 / 3))
    wild = equation(3, {"z1^3": 1.0}).integrate(torch.tensor([3.0]), torch.arange(30.0), "euler")
    assert not wild[-1].isfinite().all()


def test_one_time_and_a_start_that_is_not_finite():
    assert harmonic().integrate(torch.ones(2), [0.0]).tolist() == [[1.0, 1.0]]
    assert harmonic().integrate(torch.tensor([math.nan, 1.0]), [0.0, 1.0])[1].isnan().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_file_round_trip(tmp_path, dtype):
    motion = normal_form().to(dtype, "cpu")
    kept = Equation(motion.library, motion.coefficients, ("u", "v"), "s")
    kept.save(tmp_path / "e.safetensors")
    read = Equation.load(tmp_path / "e.safetensors")
    assert torch.equal(read.coefficients, kept.coefficients)
    assert read.coefficients.dtype == dtype
    assert (read.library, read.variables, read.time_unit) == (kept.library, ("u", "v"), "s")


def test_other_files_are_refused(tmp_path):
    from safetensors.torch import save_file

    path = tmp_path / "x"
    with pytest.raises(FileNotFoundError, match="no equation file"):
        Equation.load(path)
    path.write_bytes(b"garbage")
    with pytest.raises(ValueError, match="not a safetensors file or not whole"):
        Equation.load(path)
    save_file({"coefficients": torch.zeros(2, 3)}, path, {"format": "lie-algebra/1"})
    with pytest.raises(ValueError, match="equation/1"):
        Equation.load(path)
    save_file({"coefficients": torch.zeros(2, 3)}, path, {"format": "equation/1"})
    with pytest.raises(ValueError, match="does not hold a valid equation"):
        Equation.load(path)
    save_file({"other": torch.zeros(2, 3)}, path, {"format": "equation/1"})
    with pytest.raises(ValueError, match="valid equation"):
        Equation.load(path)


def test_wrong_arguments_get_a_sentence():
    library = PolynomialLibrary(dim=2, degree=1)
    with pytest.raises(ValueError, match=r"\(k, p\) = \(2, 3\)"):
        Equation(library, torch.zeros(3, 2))
    with pytest.raises(ValueError, match="finite"):
        Equation(library, torch.full((2, 3), math.nan))
    with pytest.raises(ValueError, match="2 different names"):
        Equation(library, torch.zeros(2, 3), ("a", "a"))
    with pytest.raises(ValueError, match="unknown method 'heun'"):
        harmonic().integrate(torch.zeros(2), [0.0, 1.0], "heun")
    with pytest.raises(ValueError, match="strictly ascending"):
        harmonic().integrate(torch.zeros(2), [0.0, 1.0, 0.5])
    with pytest.raises(ValueError, match="z0 must have shape"):
        harmonic().integrate(torch.zeros(3), [0.0, 1.0])
