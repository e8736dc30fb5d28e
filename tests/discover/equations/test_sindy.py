import math
import statistics
import sys
from types import SimpleNamespace

import pytest
import torch
from motions import breathing, equation, harmonic, lorenz, normal_form, trajectories, turning, van_der_pol

from discover.equations.sindy import SINDy, differentiate, from_pysindy
from equivariant import LieAlgebra, catalogue

STARTS = [[0.2, 0.1], [0.0, 1.7], [-0.6, 0.5]]
STARTS_3D = [[1.0, 0.2, -0.3], [0.1, -0.8, 0.9]]
FLOW = LieAlgebra(turning().linear_part()[None])  # the motion in time is the symmetry: at least 1, L and L^2
SYSTEMS = {
    "harmonic": (harmonic(), STARTS, 0.02, 300),
    "Van der Pol": (van_der_pol(), STARTS, 0.01, 800),
    "Lorenz": (lorenz(), [[1.0, 2.0, 20.0]], 0.002, 2000),
    "rigid turn": (turning(), STARTS_3D, 0.02, 400),
    "normal form": (normal_form(), STARTS, 0.01, 400),
}


def error(found, true):
    """Relative error of the coefficients."""
    return float((found.coefficients - true.coefficients).norm() / true.coefficients.norm())


@pytest.mark.parametrize("name", SYSTEMS)
def test_finds_the_equation_and_its_terms(name):
    true, starts, dt, steps = SYSTEMS[name]
    pytest.importorskip("pysindy")
    data = trajectories(true, starts, dt, steps)
    fitted = SINDy(degree=true.library.degree, threshold=0.01).fit(data, dt=dt)
    assert error(fitted.equation_, true) < 2e-3
    assert torch.equal(fitted.equation_.coefficients != 0, true.coefficients != 0)
    assert fitted.residual_ < 1e-3
    assert fitted.r2_.min() > 0.999
    assert fitted.null_space_ is None


@pytest.mark.parametrize(
    ("true", "starts", "algebra", "fields"),
    [
        (harmonic(), STARTS, catalogue.rotation(2), 2),
        (normal_form(), STARTS, catalogue.rotation(2), 4),
        (breathing(), STARTS_3D, catalogue.rotation(3), 2),
        (turning(), STARTS_3D, FLOW, 3),
    ],
    ids=["harmonic", "normal form", "so(3)", "flow"],
)
def test_finds_it_within_a_symmetry(true, starts, algebra, fields):
    data = trajectories(true, starts, 0.01, 300)
    fitted = SINDy(degree=true.library.degree, symmetry=algebra, threshold=0.01).fit(data, dt=0.01)
    assert error(fitted.equation_, true) < 1e-3
    assert torch.equal(fitted.equation_.coefficients != 0, true.coefficients != 0)
    assert len(fitted.fields_) == fitted.null_space_.dim
    assert len(fitted.fields_) >= fields


def test_about_a_centre():
    centre = torch.tensor([0.4, -0.3], dtype=torch.float64)
    algebra = LieAlgebra(catalogue.rotation(2).basis, origin=centre)
    data = trajectories(normal_form(), STARTS, 0.01, 300) + centre
    fitted = SINDy(degree=3, symmetry=algebra, threshold=0.01).fit(data, dt=0.01)
    z = torch.randn(9, 2, dtype=torch.float64)
    torch.testing.assert_close(fitted.equation_(z + centre), normal_form()(z), rtol=1e-3, atol=1e-3)


def noisy(seed, samples, noise, arc=2 * math.pi):
    """Points of a disc, or of a sector of it, with noisy rates: the normal form."""
    random = torch.Generator().manual_seed(seed)
    radius, angle = torch.rand(2, samples, dtype=torch.float64, generator=random)
    radius, angle = 1.5 * radius.sqrt(), arc * angle
    z = torch.stack([radius * angle.cos(), radius * angle.sin()], dim=1)
    rates = normal_form()(z)
    return z, rates + noise * rates.std() * torch.randn(rates.shape, dtype=torch.float64, generator=random)


def median_error(samples, noise, arc, symmetry):
    fits = [
        SINDy(degree=3, symmetry=symmetry).fit(z, rates=rates)
        for z, rates in (noisy(seed, samples, noise, arc) for seed in range(10))
    ]
    return statistics.median(error(fit.equation_, normal_form()) for fit in fits)


@pytest.mark.parametrize(
    ("samples", "noise", "arc", "factor"),
    [(10, 0.1, 2 * math.pi, 10), (40, 0.1, math.pi, 5), (40, 0.1, 1.0, 30), (400, 0.1, 2 * math.pi, 1.5)],
    ids=["few", "half circle", "sector", "plenty"],
)
def test_same_data_less_error(samples, noise, arc, factor):
    pytest.importorskip("pysindy")
    constrained = median_error(samples, noise, arc, catalogue.rotation(2))
    assert factor * constrained < median_error(samples, noise, arc, None)


def test_a_symmetry_needs_a_twentieth_of_the_data():
    """Measured on half of the circle."""
    pytest.importorskip("pysindy")
    few = median_error(20, 0.1, math.pi, catalogue.rotation(2))
    assert few < median_error(400, 0.1, math.pi, None)


def test_a_wrong_symmetry_is_seen_in_the_residual():
    data = trajectories(van_der_pol(), STARTS, 0.01, 400)
    assert SINDy(degree=3, symmetry=catalogue.rotation(2)).fit(data, dt=0.01).residual_ > 0.1


def test_a_learned_generator_made_exact():
    learned = LieAlgebra(torch.tensor([[[0.058, -3.074], [3.047, -0.043]]], dtype=torch.float64))
    data = trajectories(normal_form(), STARTS, 0.01, 300)
    fitted = SINDy(degree=3, symmetry=learned, isometries=True, threshold=0.01).fit(data, dt=0.01)
    assert error(fitted.equation_, normal_form()) < 0.05
    assert fitted.null_space_.residual < 1e-9


def test_does_not_depend_on_units():
    z, rates = noisy(0, 60, 0.05)
    for symmetry in (None, catalogue.rotation(2)):
        if symmetry is None:
            pytest.importorskip("pysindy")
        one = SINDy(degree=3, symmetry=symmetry).fit(z, rates=rates).equation_
        other = SINDy(degree=3, symmetry=symmetry).fit(100 * z, rates=7 * rates).equation_
        torch.testing.assert_close(other(100 * z), 7 * one(z), rtol=1e-6, atol=1e-6)


def test_smoothing_beats_noise():
    pytest.importorskip("pysindy")
    clean = trajectories(harmonic(), STARTS, 0.02, 400)
    noise = torch.randn(clean.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    misses = {}
    for how in ("smooth", "spline"):
        points, rates = differentiate(clean + 0.005 * noise, 0.02, how, 25)
        assert points.shape == rates.shape == clean.shape
        misses[how] = float((rates - harmonic()(clean)).norm() / rates.norm())
    assert misses["smooth"] < misses["spline"] / 3


def test_central_differences():
    _, rates = differentiate(trajectories(harmonic(), STARTS, 0.01, 50), 0.01, "central")
    expected = harmonic()(trajectories(harmonic(), STARTS, 0.01, 50))
    torch.testing.assert_close(rates, expected, rtol=0, atol=1e-3)


def test_reads_pysindy_by_name():
    pysindy = pytest.importorskip("pysindy")
    data = trajectories(van_der_pol(), STARTS[:1], 0.01, 800)[0]
    library = pysindy.PolynomialLibrary(degree=3, include_interaction=True, include_bias=False)
    model = pysindy.SINDy(optimizer=pysindy.STLSQ(threshold=0.2), feature_library=library)
    model.fit(data.numpy(), t=0.01, feature_names=["u", "v"])
    found = from_pysindy(model, "s")
    assert found.variables == ("u", "v")
    assert found.library.constant
    torch.testing.assert_close(found(data), torch.from_numpy(model.predict(data.numpy())).to(data))
    fourier = pysindy.SINDy(feature_library=pysindy.FourierLibrary()).fit(data.numpy(), t=0.01)
    with pytest.raises(ValueError, match="monomials"):
        from_pysindy(fourier)


@pytest.mark.parametrize("symmetry", [None, catalogue.rotation(2)], ids=["free", "so(2)"])
def test_unusable_data_are_refused(symmetry):
    if symmetry is None:
        pytest.importorskip("pysindy")
    estimator = SINDy(symmetry=symmetry)
    good = trajectories(harmonic(), STARTS, 0.05, 30)
    spoilt = good.clone()
    spoilt[0, 3, 1] = math.nan
    for data, sentence in [
        (spoilt, "finite"),
        (good[:, :3], "T >= 4"),
        (torch.ones(2, 30, 2), "do not move"),
        (good[None], "shape"),
    ]:
        with pytest.raises(ValueError, match=sentence):
            estimator.fit(data, dt=0.05)
    with pytest.raises(ValueError, match="dt > 0"):
        estimator.fit(good, dt=0.0)
    with pytest.raises(ValueError, match="either dt"):
        estimator.fit(good)
    with pytest.raises(ValueError, match="the same shape"):
        estimator.fit(good, rates=good[:1])
    with pytest.raises(ValueError, match="finite"):
        estimator.fit(good, rates=spoilt)
    with pytest.raises(ValueError, match="cannot determine"):
        SINDy(degree=9, symmetry=symmetry).fit(good[0, :2], rates=good[0, :2])


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [({"threshold": -1.0}, "threshold"), ({"derivative": "magic"}, "magic"), ({"max_iter": 0}, "max_iter")],
)
def test_settings_out_of_range(setting, sentence):
    with pytest.raises(ValueError, match=sentence):
        SINDy(**setting).fit(torch.randn(20, 2), rates=torch.randn(20, 2))


@pytest.mark.parametrize("symmetry", [None, catalogue.rotation(2)], ids=["free", "so(2)"])
def test_a_circle_cannot_tell_terms_apart_and_says_so(symmetry):
    """On one circle r^2 is a constant, so z and r^2 z are one column."""
    if symmetry is None:
        pytest.importorskip("pysindy")
    data = trajectories(harmonic(), [[1.0, 0.0]], 0.05, 200)
    fitted = SINDy(degree=3, symmetry=symmetry).fit(data, dt=0.05)
    assert fitted.condition_ > 1e6
    assert fitted.residual_ < 1e-3


def test_a_coordinate_that_rests_and_float32():
    pytest.importorskip("pysindy")
    z = torch.randn(50, 2)
    fitted = SINDy().fit(z, rates=torch.stack([z[:, 1], torch.zeros(50)], dim=1))
    assert str(fitted.equation_) == "z1' = z2\nz2' = 0"
    assert fitted.r2_[1].isnan()


def test_without_pysindy(monkeypatch):
    monkeypatch.setitem(sys.modules, "pysindy", None)
    z, rates = noisy(0, 40, 0.0)
    with pytest.raises(ImportError, match=r"pip install 'liesmith\[sindy\]'"):
        SINDy().fit(z, rates=rates)
    fitted = SINDy(degree=3, symmetry=catalogue.rotation(2)).fit(z, rates=rates)
    assert error(fitted.equation_, normal_form()) < 1e-9


def test_names_and_units():
    z, rates = noisy(0, 40, 0.0)
    fitted = SINDy(degree=3, symmetry=catalogue.rotation(2)).fit(
        z, rates=rates, variables=("q", "p"), time_unit="s"
    )
    assert str(fitted.equation_).startswith("q' = q - 1.5 p")
    assert fitted.equation_.time_unit == "s"


def test_arrays_lists_and_frames_are_read():
    z, rates = noisy(0, 40, 0.0)
    frame = SimpleNamespace(columns=["q", "p"], to_numpy=z.numpy)  # what pandas offers
    for given in (z.numpy(), z.tolist(), frame):
        found = SINDy(degree=3, symmetry=catalogue.rotation(2)).fit(given, rates=rates.numpy()).equation_
        assert error(found, normal_form()) < 1e-9
    assert found.variables == ("q", "p")


def test_everything_below_the_threshold():
    z, rates = noisy(0, 40, 0.0)
    pytest.importorskip("pysindy")
    assert SINDy(threshold=0.99).fit(z, rates=rates).equation_.terms <= 2
    assert equation(2, {}, {}).terms == 0


def test_pooled_thresholds_leave_a_slow_coordinate_without_terms():
    """Relative to its own rate every small drift is a term; relative to all rates it is none."""
    pytest.importorskip("pysindy")
    z, _ = noisy(0, 400, 0.0)
    turn = torch.stack([-z[:, 1], z[:, 0], 0.01 * z[:, 0].square() - 0.01], dim=1)
    points = torch.cat([z, z[:, :1] * z[:, 1:]], dim=1)
    own, pooled = (SINDy(degree=2, pooled=p).fit(points, rates=turn).equation_ for p in (False, True))
    assert own.coefficients[2].any()
    assert not pooled.coefficients[2].any()
    torch.testing.assert_close(pooled.coefficients[:2], own.coefficients[:2], rtol=1e-6, atol=1e-9)
    assert pooled.terms == 2
