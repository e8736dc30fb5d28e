import math

import pytest
import torch
from motions import equation, harmonic, lorenz, normal_form, trajectories

from discover.equations.equation import Equation
from discover.equations.library import EquivariantLibrary
from discover.equations.shooting import refine_equation
from discover.equations.sindy import SINDy
from equivariant import catalogue

TURN = 1.1  # rate of the normal form on its limit cycle, 1.5 - 0.4 r^2 at r = 1
DT = 0.1


def frequency(found: Equation) -> float:
    """Turns of a long trajectory, in radians over time."""
    times = torch.linspace(0, 200, 2001, dtype=torch.float64)
    z = found.integrate(torch.tensor([1.0, 0.0], dtype=torch.float64), times)[500:]
    step = torch.atan2(z[:-1, 0] * z[1:, 1] - z[:-1, 1] * z[1:, 0], (z[:-1] * z[1:]).sum(1))
    return float(step.sum() / (times[-1] - times[500]))


def noisy(starts, steps, noise=0.01):
    clean = trajectories(normal_form(), starts, DT, steps)
    return clean + noise * torch.randn(
        clean.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )


def rotation_fields():
    return EquivariantLibrary.of(normal_form().library, catalogue.rotation(2))


def wrong(true: Equation, part: float = 1e-3) -> Equation:
    return Equation(true.library, (1 + part) * true.coefficients)


def test_the_frequency_of_a_limit_cycle_is_refined():
    z = noisy([[0.3, 0.0]], 1200, noise=0.004)
    fitted = SINDy(degree=3, symmetry=catalogue.rotation(2), derivative="central", threshold=0.01).fit(
        z, dt=DT
    )
    refined = refine_equation(fitted.equation_, z, DT, fields=fitted.fields_)
    assert abs(frequency(fitted.equation_) / TURN - 1) > 1e-3
    assert abs(frequency(refined.equation) / TURN - 1) < 1e-5
    assert refined.converged
    assert refined.error_after < 0.01 < 0.1 < refined.error_before


def test_an_equation_keeps_its_symmetry_and_its_terms():
    z = noisy([[0.3, 0.0], [0.0, 1.6]], 120, noise=0.003)
    refined = refine_equation(wrong(normal_form(), 0.02), z, DT, fields=rotation_fields()).equation
    turn = catalogue.rotation(2).element(torch.tensor([0.7]))
    points = torch.randn(7, 2, dtype=torch.float64)
    torch.testing.assert_close(refined(points @ turn.mT), refined(points) @ turn.mT)
    assert torch.equal(refined.coefficients != 0, normal_form().coefficients != 0)
    assert (refined.coefficients - normal_form().coefficients).abs().max() < 1e-2


def test_free_coefficients_and_clean_data():
    z = trajectories(harmonic(), [[1.0, 0.2]], DT, 300)
    refined = refine_equation(wrong(harmonic(), 0.03), z, DT)
    assert refined.equation.terms == 2
    assert (refined.equation.coefficients - harmonic().coefficients).abs().max() < 1e-6
    assert refined.horizons[0][0] < refined.horizons[-1][0] == pytest.approx(299 * DT)
    assert "over time 29.9" in str(refined)


def test_a_phase_of_many_periods_is_found():
    """Fitted whole at once, a frequency wrong by a fifth over 10 periods is not found."""
    z = trajectories(harmonic(), [[1.0, 0.2]], DT, 700)
    start = wrong(harmonic(), 0.2)
    whole = refine_equation(start, z, DT, first_horizon=69.9)
    assert not whole.converged
    assert torch.equal(whole.equation.coefficients, start.coefficients)
    assert refine_equation(start, z, DT).error_after < 1e-4


def test_the_start_is_fitted_too():
    z = noisy([[0.3, 0.0]], 150, noise=0.05)
    true = torch.tensor([[0.3, 0.0]], dtype=torch.float64)
    refined = refine_equation(normal_form(), z, DT, fields=rotation_fields())
    fixed = refine_equation(normal_form(), z, DT, fields=rotation_fields(), fit_starts=False)
    assert (refined.starts - true).norm() < 0.5 * (z[:, 0] - true).norm()
    assert torch.equal(fixed.starts, z[:, 0])
    assert refined.error_after < fixed.error_after


def test_shapes_and_precision():
    z = noisy([[0.3, 0.0], [0.0, 1.6]], 100)
    both = refine_equation(normal_form(), z, DT)
    single = refine_equation(normal_form(), z[0].float(), DT)
    assert both.starts.shape == (2, 2)
    assert single.starts.shape == (1, 2)
    assert single.starts.dtype == torch.float32
    assert z.equal(noisy([[0.3, 0.0], [0.0, 1.6]], 100))


def test_a_diverging_equation_does_not_converge():
    away = equation(3, {"z1": 2.0, "z1^3": 5.0, "z2": 1.0}, {"z2": 2.0, "z1": -1.0})
    refined = refine_equation(away, noisy([[1.0, 0.0]], 100), DT, tolerance=0.05)
    assert not refined.converged
    assert math.isfinite(refined.error_after)
    assert "could not be followed" in str(refined)


def test_an_equation_that_only_coarse_steps_hold_is_inconsistent():
    """The steps of the fit damp a fast rotation, so a growing one seems steady until it is integrated accurately."""
    growing = equation(1, {"z1": 0.05, "z2": 1.5}, {"z1": -1.5, "z2": 0.05})
    slope = growing.linear_part()
    coarse = sum(
        torch.linalg.matrix_power(slope, n) / math.factorial(n) for n in range(5)
    )  # a step of length 1
    start = torch.tensor([1.0, 0.0], dtype=torch.float64)
    z = torch.stack([torch.linalg.matrix_power(coarse, n) @ start for n in range(20)])
    refined = refine_equation(growing, z, 1.0)
    assert refined.error_after < 1e-6 < 0.5 < refined.error_integrated
    assert not refined.is_consistent
    assert "unstable" in str(refined)
    true = refine_equation(harmonic(), trajectories(harmonic(), [[1.0, 0.2]], DT, 300), DT)
    assert true.is_consistent
    assert "unstable" not in str(true)


def test_three_dimensions():
    z = trajectories(lorenz(), [[1.0, 2.0, 20.0]], 0.01, 100)
    refined = refine_equation(wrong(lorenz(), 0.01), z, 0.01)
    assert refined.converged
    assert (refined.equation.coefficients - lorenz().coefficients).abs().max() < 1e-2


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"z": torch.zeros(20, 3)}, "expected z"),
        ({"dt": 0.0}, "dt > 0"),
        ({"z": torch.randn(8, 2)}, "at least 9 samples"),
        ({"z": torch.full((20, 2), torch.nan)}, "finite"),
        ({"z": torch.ones(20, 2)}, "do not move"),
        ({"equation": Equation(harmonic().library, torch.zeros(2, 6))}, "without terms"),
        ({"fields": EquivariantLibrary.of(normal_form().library, catalogue.rotation(2))}, "library"),
        (
            {
                "equation": equation(2, {"z1^2": 1.0}, {"z1": 1.0}),
                "fields": EquivariantLibrary.of(harmonic().library, catalogue.rotation(2)),
            },
            "outside",
        ),
    ],
)
def test_refuses(change, says):
    given = {"equation": harmonic(), "z": torch.randn(20, 2), "dt": DT} | change
    with pytest.raises(ValueError, match=says):
        refine_equation(given.pop("equation"), given.pop("z"), given.pop("dt"), **given)
