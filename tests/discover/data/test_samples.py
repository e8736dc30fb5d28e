import pytest
import torch

from discover.data.samples import Samples
from equivariant.rep import Scalar, T, V

X = torch.arange(24, dtype=torch.float64).reshape(4, 6)


def test_columns_are_sorted_by_how_they_move():
    samples = Samples.read(X, X[:, :4], Scalar + 2 * V + Scalar, Scalar + V + Scalar)
    assert samples.dim == 2
    torch.testing.assert_close(samples.x.vectors, X[:, 1:5].reshape(4, 2, 2))
    torch.testing.assert_close(samples.x.scalars, X[:, [0, 5]])


def test_time_steps_are_copies_of_one_vector():
    samples = Samples.read(X.reshape(4, 3, 2))
    torch.testing.assert_close(samples.x.vectors, X.reshape(4, 3, 2))


def test_whole_numbers_are_class_labels():
    samples = Samples.read(X, torch.tensor([0, 2, 1, 0]))
    assert samples.classes == 3
    assert samples.all_vectors().shape == (4, 6)


def test_moving_the_vectors_leaves_scalars_and_labels():
    samples = Samples.read(X, torch.tensor([0, 2, 1, 0]), V + 2 * Scalar)
    moved = samples.map_vectors(2 * torch.eye(4, dtype=torch.float64))
    torch.testing.assert_close(moved.x.vectors, 2 * samples.x.vectors)
    torch.testing.assert_close(moved.x.scalars, samples.x.scalars)


@pytest.mark.parametrize(
    ("x", "y", "x_rep", "y_rep", "said"),
    [
        (X * torch.nan, None, None, None, "finite"),
        (X[:1], None, None, None, "two samples"),
        (X.int(), None, None, None, "floating"),
        (X[0], None, None, None, r"shape \(n, d\)"),
        (X, X[:3], None, None, "same number"),
        (X, X[:, :5], None, None, "y_rep must be given"),
        (X, X, 4 * V, None, "4 vectors"),
        (X, X, T(2), None, "sum of V and Scalar"),
        (X, X, None, 2 * V, r"\(\.\.\., 12\)"),
        (X, torch.tensor([0, -1, 0, 1]), None, None, "class labels"),
        (X, torch.tensor([0, 10**6, 0, 1]), None, None, "fewer classes than samples"),
        (X.tolist(), None, None, None, "must be a tensor"),
    ],
)
def test_what_does_not_fit_gets_a_sentence(x, y, x_rep, y_rep, said):
    with pytest.raises(ValueError, match=said):
        Samples.read(x, y, x_rep, y_rep)
