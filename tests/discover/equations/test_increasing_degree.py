from dataclasses import replace

import pytest
import torch
from motions import normal_form, trajectories

from discover.equations.equation import Equation
from discover.equations.library import EquivariantLibrary, PolynomialLibrary
from discover.equations.shooting import refine_equation, refine_increasing_degree
from equivariant import catalogue

DT = 0.1
Z = trajectories(normal_form(), [[0.3, 0.0]], DT, 160)


def candidate(degree: int, coefficients: torch.Tensor | None = None):
    library = PolynomialLibrary(dim=2, degree=degree)
    fields = EquivariantLibrary.of(library, catalogue.rotation(2))
    if coefficients is None:  # far from the truth
        coefficients = fields.coefficients(torch.full((len(fields),), 3.0, dtype=torch.float64))
    return Equation(library, coefficients), fields


def turning():
    """z' = 1.1 J z: stays near the data, but has no limit cycle."""
    return candidate(1, torch.tensor([[0, 0, -1.1], [0, 1.1, 0]], dtype=torch.float64))


def test_a_start_far_from_the_solution_is_replaced_by_the_result_of_the_degree_below():
    (alone,) = refine_increasing_degree([candidate(3)], Z, DT)
    below, continued = refine_increasing_degree([turning(), candidate(3)], Z, DT)
    assert None not in (alone, below, continued)
    assert continued.converged
    assert continued.error_after < 1e-3 * min(alone.error_after, below.error_after)
    turn = catalogue.rotation(2).element(torch.tensor([0.7]))
    points = torch.randn(7, 2, dtype=torch.float64)
    torch.testing.assert_close(continued.equation(points @ turn.mT), continued.equation(points) @ turn.mT)


def test_the_regression_start_is_taken_where_there_is_no_result_below():
    still = candidate(1, torch.zeros(2, 3, dtype=torch.float64))
    below, best = refine_increasing_degree([still, (normal_form(), candidate(3)[1])], Z, DT)
    assert below is None
    assert best.converged
    assert best.error_after < 1e-6


def test_the_regression_start_is_taken_where_the_continued_fit_has_not_converged(monkeypatch):
    monkeypatch.setattr("discover.equations.shooting.MAX_ITER", 3)
    good = (normal_form(), candidate(3)[1])
    below, best = refine_increasing_degree([turning(), good], Z, DT)
    assert below.converged
    assert best.error_after < 1e-6


def test_the_continued_fit_begins_at_the_starts_of_the_degree_below(monkeypatch):
    begun = []

    def recorded(*args, **settings):
        begun.append(settings.get("starts"))
        return refine_equation(*args, **settings)

    monkeypatch.setattr("discover.equations.shooting.refine_equation", recorded)
    below, _ = refine_increasing_degree([turning(), candidate(3)], Z, DT)
    assert begun[0] is begun[1] is None
    assert torch.equal(begun[2], below.starts)


@pytest.mark.parametrize("unstable", ["below", "alone", "continued"])
def test_an_inconsistent_result_is_neither_taken_nor_continued(monkeypatch, unstable):
    """Its fit seems exact, but accurate integration disagrees; the results stand in for those of the three fits."""
    consistent = refine_equation(normal_form(), Z, DT)
    inconsistent = replace(consistent, error_after=0.0, error_integrated=1.0)
    fits = iter(["below", "alone", "continued"])
    begun = []

    def stub(*args, **settings):
        begun.append(next(fits))
        return inconsistent if begun[-1] == unstable else consistent

    monkeypatch.setattr("discover.equations.shooting.refine_equation", stub)
    _, taken = refine_increasing_degree([turning(), candidate(3)], Z, DT)
    assert taken is consistent
    assert begun == (["below", "alone"] if unstable == "below" else ["below", "alone", "continued"])


def test_an_equation_without_terms_gives_none():
    still = candidate(1, torch.zeros(2, 3, dtype=torch.float64))
    assert refine_increasing_degree([still], Z, DT) == [None]
    assert refine_increasing_degree([], Z, DT) == []
    with pytest.raises(ValueError, match="finite"):
        refine_increasing_degree([turning()], Z * torch.nan, DT)


def test_an_equation_in_a_larger_library_is_the_same():
    larger = normal_form().within(PolynomialLibrary(dim=2, degree=5))
    points = torch.randn(7, 2, dtype=torch.float64)
    torch.testing.assert_close(larger(points), normal_form()(points))
    assert larger.terms == normal_form().terms
    for library in (PolynomialLibrary(dim=2, degree=2), PolynomialLibrary(dim=3, degree=3)):
        with pytest.raises(ValueError, match="the library must hold the monomials"):
            normal_form().within(library)
