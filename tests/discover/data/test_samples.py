import pytest
import torch

from discover.data.samples import Samples, column_names
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
        (X[0], None, None, None, r"shape \(n, d\)"),
        (X, X[:3], None, None, "same number"),
        (X, X[:, :5], None, None, "y_rep must be given"),
        (X, X, 4 * V, None, "4 vectors"),
        (X, X, T(2), None, "sum of V and Scalar"),
        (X, X, None, 2 * V, r"\(\.\.\., 12\)"),
        (X, torch.tensor([0, -1, 0, 1]), None, None, "class labels"),
        (X, torch.tensor([0, 10**6, 0, 1]), None, None, "fewer classes than samples"),
        (X.to(torch.complex128), None, None, None, "must be real"),
        (X * 1e80, None, None, None, "change its units"),
        (X, X[:, 0] * 1e80, None, None, "y must be smaller"),
        (["a", "b"], None, None, None, "must hold numbers"),
    ],
)
def test_what_does_not_fit_gets_a_sentence(x, y, x_rep, y_rep, said):
    with pytest.raises(ValueError, match=said):
        Samples.read(x, y, x_rep, y_rep)


class Frame:
    """What a pandas frame shows of itself."""

    def __init__(self, values: torch.Tensor, columns: list[str]):
        self.values, self.columns = values, columns

    def to_numpy(self):
        return self.values.numpy()


@pytest.mark.parametrize(
    "convert", [torch.Tensor.numpy, torch.Tensor.tolist, lambda x: Frame(x, [*"abcdef"])]
)
def test_arrays_lists_and_frames_are_read_as_tensors_are(convert):
    expected = Samples.read(X, X[:, 0])
    assert Samples.read(convert(X), X[:, 0].tolist()).digest == expected.digest
    assert Samples.read(X.int(), X[:, 0].numpy()).digest == expected.digest  # whole numbers are numbers


def test_the_columns_of_a_frame_name_the_coordinates():
    frame = Frame(X, [*"abcdef"])
    assert column_names(frame) == tuple("abcdef")
    assert column_names(frame, Scalar + V + Scalar) == tuple("bcde")
    assert column_names(frame, 2 * V) is None
    assert column_names(X) is None


def test_one_column_is_a_scalar():
    y = Samples.read(X, X[:, :1]).y
    assert y.scalars.shape == (4, 1)
    assert y.vectors.shape[1] == 0
    assert Samples.read(X, torch.tensor([[0], [2], [1], [0]])).classes == 3


def test_whole_numbers_of_many_values_may_be_counts_or_classes():
    x, many = torch.randn(60, 2), torch.arange(30).repeat(2)
    with pytest.raises(ValueError, match="y_kind='class' or y_kind='count'"):
        Samples.read(x, many)
    assert Samples.read(x, many, y_kind="class").classes == 30
    counts = Samples.read(x, many, y_kind="count")
    assert (counts.classes, counts.y.scalars.shape) == (0, (60, 1))
    assert Samples.read(x, many.double()).classes == 0  # a floating dtype holds measured numbers
    assert Samples.read(x, many.double(), y_kind="class").classes == 30
    with pytest.raises(ValueError, match="unknown y_kind"):
        Samples.read(x, many, y_kind="kind")


def test_several_columns_are_read_as_vectors_and_logged(caplog):
    samples = Samples.read(X, X)
    assert samples.y.vectors.shape == (4, 1, 6)
    assert "read as y_rep=V" in caplog.text
    caplog.clear()
    assert Samples.read(X, X, y_rep=6 * Scalar).y.scalars.shape == (4, 6)
    Samples.read(X, X, y_rep=V)
    assert not caplog.text
