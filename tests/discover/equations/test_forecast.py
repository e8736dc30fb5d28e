import math

import pytest
import torch
from motions import equation, harmonic

from discover.equations.forecast import forecast

MIX = torch.randn(6, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


class Linear:
    """x = MIX z, exactly; snapshots are (2, 3)."""

    def __init__(self, off=0.0):
        self.off = off

    def encode(self, x):
        return x.flatten(1) @ torch.linalg.pinv(MIX).T

    def decode(self, z):
        return (1 + self.off) * (z @ MIX.T).unflatten(1, (2, 3))


def snapshots(steps=300, dt=0.05):
    times = dt * torch.arange(steps, dtype=torch.float64)
    return times, Linear().decode(harmonic().integrate(torch.tensor([1.0, 0.0], dtype=torch.float64), times))


def test_the_true_equation_has_no_forecast_error():
    times, x = snapshots()
    seen = forecast(Linear(), harmonic(), x, times)
    assert seen.error.shape == seen.reconstruction_error.shape == times.shape
    assert seen.error.max() < 1e-6
    assert seen.left is None
    torch.testing.assert_close(seen.latent, seen.encoded, rtol=0, atol=1e-6)


def test_euler_drifts_as_euler_does():
    times, x = snapshots()
    seen = forecast(Linear(), harmonic(), x, times, method="euler")
    growth = (1 + (0.91 * 0.05) ** 2) ** (len(times) / 2)  # of the radius of a circle
    assert float(seen.latent[-1].norm()) == pytest.approx(growth, rel=0.01)
    assert seen.error[-1] > 0.2


def test_the_error_of_a_wrong_frequency_grows_and_that_of_the_reconstruction_does_not():
    times, x = snapshots()
    wrong = equation(1, {"z2": 0.95}, {"z1": -0.95})
    seen = forecast(Linear(off=0.01), wrong, x, times)
    torch.testing.assert_close(seen.reconstruction_error, torch.full_like(times, 0.01), rtol=0, atol=1e-9)
    assert seen.error[0] == pytest.approx(0.01)
    assert seen.error[-1] > 10 * seen.error[0]


def test_another_start_corrects_for_a_wrong_first_snapshot():
    times, x = snapshots()
    off = torch.cat([1.1 * x[:1], x[1:]])
    plain = forecast(Linear(), harmonic(), off, times)
    mended = forecast(Linear(), harmonic(), off, times, start=torch.tensor([1.0, 0.0], dtype=torch.float64))
    assert plain.error[-1] == pytest.approx(0.1, rel=1e-3)
    assert mended.error[-1] < 1e-6


@pytest.mark.parametrize("method", ["rk", "euler"])
def test_divergence_is_a_time_and_no_exception(method):
    times, x = snapshots(100, 0.1)
    seen = forecast(Linear(), equation(3, {"z1^3": 1.0}, {}), x, times, method=method)
    assert seen.left is not None
    assert 0.3 < seen.left < 2.0  # z1' = z1^3 from 1 ends at t = 1/2
    assert seen.error[-1] == math.inf
    assert seen.reconstruction_error.isfinite().all()
    slow = forecast(Linear(), equation(1, {"z1": 1.0}, {"z2": 1.0}), x, times, method=method)
    assert slow.left == pytest.approx(math.log(10), rel=0.2)


def test_float32_and_one_snapshot():
    times, x = snapshots()

    class Single(Linear):
        def encode(self, x):
            return super().encode(x.double()).float()

        def decode(self, z):
            return super().decode(z.double()).float()

    seen = forecast(Single(), harmonic(), x.float(), times)
    assert seen.latent.dtype == torch.float32
    assert seen.error.max() < 1e-4
    assert forecast(Linear(), harmonic(), x[:1], times[:1]).error.shape == (1,)


def test_wrong_arguments_get_a_sentence():
    times, x = snapshots(10)
    with pytest.raises(ValueError, match="T times"):
        forecast(Linear(), harmonic(), x, times[:5])
    with pytest.raises(ValueError, match="first snapshot"):
        forecast(Linear(), harmonic(), x * torch.nan, times)
    with pytest.raises(ValueError, match="of 3 variables"):
        forecast(Linear(), equation(1, {}, {}, {}), x, times)
    with pytest.raises(ValueError, match="unknown method"):
        forecast(Linear(), harmonic(), x, times, method="heun")
