from dataclasses import replace

import pytest
import torch
from motions import normal_form, trajectories

from discover.equations.equation import Equation
from discover.equations.library import PolynomialLibrary
from tasks.latent.data import Trajectories
from tasks.latent.forecasting import boundary, forecast_refined, refine_on_all, refine_on_first_part


class Identity:
    """An autoencoder whose latent space is that of the data."""

    def encode(self, x):
        return x.double()

    def decode(self, z):
        return z.float()


ROTATION = torch.tensor(
    [[0, 0, -1.1], [0, 1.1, 0]], dtype=torch.float64
)  # of the limit cycle, without its cubic terms


def candidates():
    """Of degrees 1 and 3, without a symmetry, with errors of 1 % as regression has them."""
    cubic = Equation(normal_form().library, 1.01 * normal_form().coefficients)
    return [(Equation(PolynomialLibrary(dim=2, degree=1), ROTATION), None), (cubic, None)]


def spiral(last: float = 1.0):
    """A trajectory that approaches its limit cycle; the last fifth is multiplied by ``last``."""
    z = trajectories(normal_form(), [[0.3, 0.0]], 0.1, 240)
    z[:, boundary(240) :] *= last
    return Trajectories(name="spiral", states=z.float(), time_step=0.1, coordinates=("x", "y"))


def test_the_last_part_of_the_trajectory_is_not_used():
    seen, changed = (refine_on_first_part(Identity(), candidates(), spiral(last)) for last in (1.0, 3.0))
    assert torch.equal(seen.equation.coefficients, changed.equation.coefficients)
    assert seen.equation.library.degree == 3  # a rotation alone is no forecast of the spiral
    whole = refine_on_all(Identity(), candidates(), spiral(3.0))
    assert not torch.equal(
        whole.equation.coefficients, seen.equation.coefficients[:, : len(whole.equation.library)]
    )


def test_forecast_errors_are_measured_in_parts():
    data = spiral()
    result = forecast_refined(Identity(), refine_on_first_part(Identity(), candidates(), data), data, "whole")
    assert result.measures["forecast_largest"] < 1e-3
    assert set(result.curves) == {"whole"}
    error = result.curves["whole"]
    assert result.measures["forecast_late"] == float(error[24:].max())
    assert result.measures["forecast_unseen"] == float(error[boundary(240) :].max())
    assert result.measures["forecast_median"] == pytest.approx(float(error.median()))


def test_an_inconsistent_refinement_is_not_taken(monkeypatch):
    data = spiral()
    stable = refine_on_all(Identity(), candidates(), data)
    unstable = replace(stable, error_after=0.0, error_integrated=1.0)
    monkeypatch.setattr("tasks.latent.forecasting.refine_increasing_degree", lambda *_: [unstable, stable])
    assert refine_on_all(Identity(), candidates(), data) is stable
    assert forecast_refined(Identity(), unstable, data).measures["trajectory_error"] is None
    assert forecast_refined(Identity(), stable, data).measures["trajectory_error"] == stable.error_after


def test_an_equation_without_terms_is_not_refined():
    still = (Equation(PolynomialLibrary(dim=2, degree=1), 0 * ROTATION), None)
    assert refine_on_first_part(Identity(), [still], spiral()) is None
    assert refine_on_all(Identity(), [still], spiral()) is None
    assert refine_on_all(Identity(), [], spiral()) is None
