from dataclasses import replace

import pytest
import torch
from motions import normal_form, trajectories

from discover.equations.equation import Equation
from discover.equations.library import EquivariantLibrary, PolynomialLibrary
from discover.equations.shooting import _better, refine_equation, refine_ladder
from equivariant import catalogue

DT = 0.1
Z = trajectories(normal_form(), [[0.3, 0.0]], DT, 400)


def candidate(degree: int, coefficients: torch.Tensor | None = None):
    library = PolynomialLibrary(dim=2, degree=degree)
    fields = EquivariantLibrary.of(library, catalogue.rotation(2))
    if coefficients is None:  # far from the truth
        coefficients = fields.coefficients(torch.full((len(fields),), 3.0, dtype=torch.float64))
    return Equation(library, coefficients), fields


def turning():
    """z' = 1.1 J z: stays near the data, but knows nothing of the limit cycle."""
    return candidate(1, torch.tensor([[0, 0, -1.1], [0, 1.1, 0]], dtype=torch.float64))


def test_a_candidate_that_goes_astray_begins_from_the_one_below():
    (alone,) = refine_ladder([candidate(3)], Z, DT)
    below, raised = refine_ladder([turning(), candidate(3)], Z, DT)
    assert None not in (alone, below, raised)
    assert raised.converged
    assert raised.after < 1e-3 * min(alone.after, below.after)
    turn = catalogue.rotation(2).element(torch.tensor([0.7]))
    points = torch.randn(7, 2, dtype=torch.float64)
    torch.testing.assert_close(raised.equation(points @ turn.mT), raised.equation(points) @ turn.mT)


def test_regression_counts_where_it_is_better():
    good = (normal_form(), candidate(3)[1])
    below, best = refine_ladder([candidate(1), good], Z, DT)
    assert best.converged
    assert best.after < 1e-6
    assert not below.converged


def test_regression_counts_where_the_way_up_stops_short(monkeypatch):
    monkeypatch.setattr("discover.equations.shooting.TRIALS", 3)
    good = (normal_form(), candidate(3)[1])
    below, best = refine_ladder([turning(), good], Z, DT)
    assert below.converged
    assert best.after < 1e-6


def test_the_way_up_begins_where_the_trajectories_below_did(monkeypatch):
    begun = []

    def recorded(*args, **settings):
        begun.append(settings.get("starts"))
        return refine_equation(*args, **settings)

    monkeypatch.setattr("discover.equations.shooting.refine_equation", recorded)
    below, _ = refine_ladder([turning(), candidate(3)], Z, DT)
    assert begun[0] is begun[1] is None
    assert torch.equal(begun[2], below.starts)


def test_an_equation_that_only_the_fit_can_follow_is_passed_over(monkeypatch):
    """Neither taken where another is there, nor begun from."""
    begun = []

    def unstable_alone(*args, **settings):
        begun.append(settings.get("starts"))
        found = refine_equation(*args, **settings)
        return found if "starts" in settings else replace(found, after=0.0, integrated=1.0)

    monkeypatch.setattr("discover.equations.shooting.refine_equation", unstable_alone)
    below, alone = refine_ladder([turning(), candidate(3)], Z, DT)
    assert below.converged
    assert [below.faithful, alone.faithful] == [False, False]
    assert begun == [None, None]
    true = refine_equation(normal_form(), Z, DT)
    assert _better(replace(true, integrated=1.0, after=0.0), true) is true
    assert _better(true, replace(true, integrated=1.0, after=0.0)) is true


def test_nothing_to_refine_is_told_by_none():
    still = candidate(1, torch.zeros(2, 3, dtype=torch.float64))
    assert refine_ladder([still], Z, DT) == [None]
    assert refine_ladder([], Z, DT) == []
    with pytest.raises(ValueError, match="finite"):
        refine_ladder([turning()], Z * torch.nan, DT)


def test_an_equation_in_a_larger_library_is_the_same():
    larger = normal_form().within(PolynomialLibrary(dim=2, degree=5))
    points = torch.randn(7, 2, dtype=torch.float64)
    torch.testing.assert_close(larger(points), normal_form()(points))
    assert larger.terms == normal_form().terms
    for library in (PolynomialLibrary(dim=2, degree=2), PolynomialLibrary(dim=3, degree=3)):
        with pytest.raises(ValueError, match="the library must hold the monomials"):
            normal_form().within(library)
