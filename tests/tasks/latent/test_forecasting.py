from dataclasses import replace

import pytest
import torch
from motions import normal_form, trajectories

from discover.equations.equation import Equation
from discover.equations.library import PolynomialLibrary
from tasks.latent.data import Trajectories
from tasks.latent.forecasting import boundary, foretell_refined, refine_on_all, refine_on_first_part


class Identity:
    """A coder whose latent is the data."""

    def encode(self, x):
        return x.double()

    def decode(self, z):
        return z.float()


TURNING = torch.tensor(
    [[0, 0, -1.1], [0, 1.1, 0]], dtype=torch.float64
)  # the limit cycle's own, without its cubic


def candidates():
    """Of degrees 1 and 3, free: what regression would propose, with an error of 1 %."""
    cubic = Equation(normal_form().library, 1.01 * normal_form().coefficients)
    return [(Equation(PolynomialLibrary(dim=2, degree=1), TURNING), None), (cubic, None)]


def spiral(last: float = 1.0):
    """A trajectory that falls into its limit cycle; the last fifth is multiplied by ``last``."""
    z = trajectories(normal_form(), [[0.3, 0.0]], 0.1, 400)
    z[:, boundary(400) :] *= last
    return Trajectories(name="spiral", states=z.float(), time_step=0.1, coordinates=("x", "y"))


def test_of_the_last_part_nothing_is_seen():
    seen, spoilt = (refine_on_first_part(Identity(), candidates(), spiral(last)) for last in (1.0, 3.0))
    assert torch.equal(seen.equation.coefficients, spoilt.equation.coefficients)
    assert seen.equation.library.degree == 3  # a turn alone does not foretell how the spiral closes
    whole = refine_on_all(Identity(), candidates(), spiral(3.0))
    assert not torch.equal(
        whole.equation.coefficients, seen.equation.coefficients[:, : len(whole.equation.library)]
    )


def test_what_is_foretold_is_measured_in_parts():
    data = spiral()
    told = foretell_refined(Identity(), refine_on_first_part(Identity(), candidates(), data), data, "whole")
    assert told.measures["forecast_largest"] < 1e-3
    assert set(told.curves) == {"whole"}
    error = told.curves["whole"]
    assert told.measures["forecast_late"] == float(error[40:].max())
    assert told.measures["forecast_unseen"] == float(error[boundary(400) :].max())
    assert told.measures["forecast_median"] == pytest.approx(float(error.median()))


def test_an_equation_that_only_the_fit_can_follow_is_not_taken(monkeypatch):
    data = spiral()
    stable = refine_on_all(Identity(), candidates(), data)
    unstable = replace(stable, error_after=0.0, error_integrated=1.0)
    monkeypatch.setattr("tasks.latent.forecasting.refine_increasing_degree", lambda *_: [unstable, stable])
    assert refine_on_all(Identity(), candidates(), data) is stable
    assert foretell_refined(Identity(), unstable, data).measures["trajectory_error"] is None
    assert foretell_refined(Identity(), stable, data).measures["trajectory_error"] == stable.error_after


def test_nothing_to_refine_is_no_forecast():
    still = (Equation(PolynomialLibrary(dim=2, degree=1), 0 * TURNING), None)
    assert refine_on_first_part(Identity(), [still], spiral()) is None
    assert refine_on_all(Identity(), [still], spiral()) is None
    assert refine_on_all(Identity(), [], spiral()) is None
