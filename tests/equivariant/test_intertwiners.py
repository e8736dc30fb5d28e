import time

import pytest
import torch

from equivariant import EMLP, Group, LieAlgebra, Scalar, T, V, catalogue
from equivariant.intertwiners import MapSolver, problem_key

TERM = T(2).terms[0][1]


def test_what_was_solved_is_read_back(tmp_path):
    group = Group.of(catalogue.lorentz())
    first = MapSolver(group, cache=tmp_path)(TERM, TERM)
    (file,) = tmp_path.iterdir()
    second = MapSolver(group, cache=tmp_path)(TERM, TERM)
    assert torch.equal(first.basis, second.basis)
    assert (first.residual, first.gap) == (second.residual, second.gap)
    file.write_bytes(b"damaged")
    assert torch.equal(MapSolver(group, cache=tmp_path)(TERM, TERM).basis, first.basis)


def test_without_a_folder_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    EMLP(V, V, catalogue.rotation(2), hidden=16)
    assert not list(tmp_path.iterdir())


def test_the_key_is_the_content_not_the_name():
    """Two discovered groups of one size and name must not share an answer."""
    named = {"name": "discovered", "method": "LieGAN"}
    algebras = [LieAlgebra(torch.randn(1, 4, 4), provenance=named) for _ in range(2)]
    keys = {problem_key(Group.of(algebra), TERM, 1e-2) for algebra in algebras}
    assert len(keys) == 2
    doubled = LieAlgebra(2 * algebras[0].basis.double())
    assert problem_key(Group.of(doubled), TERM, 1e-2) in keys
    assert problem_key(Group.of(algebras[0]), TERM, 1e-3) not in keys
    assert problem_key(Group.of(algebras[0]), T(1, 1).terms[0][1], 1e-2) not in keys
    mirrored = Group.with_discrete(algebras[0], -torch.eye(4))
    assert problem_key(mirrored, TERM, 1e-2) not in keys


@pytest.mark.parametrize("cached", [True, False])
def test_a_second_model_is_faster_only_with_a_cache(tmp_path, cached):
    term, seconds = T(5).terms[0][1], []
    for _ in range(2):
        solver = MapSolver(Group.of(catalogue.lorentz()), cache=tmp_path if cached else None)
        start = time.process_time()
        assert solver(term, Scalar.terms[0][1]).dim == 0
        seconds.append(time.process_time() - start)
    assert (seconds[1] < seconds[0] / 3) == cached
