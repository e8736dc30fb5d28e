import numpy as np
import pytest
import torch

from equivariant.arrays import as_tensor


class Frame:
    """As much of a pandas frame as is asked for."""

    def to_numpy(self):
        return np.array([[1, 2.5]], dtype=object)


@pytest.mark.parametrize(
    "values",
    [
        [[1.0, 2.5]],
        np.array([[1.0, 2.5]]),
        np.array([[1.0, 2.5]], dtype=">f8"),
        np.array([[2.5, 1.0]])[:, ::-1],
        np.array([[1.0, 2.5]], dtype=np.longdouble),
        [torch.tensor([1.0, 2.5], dtype=torch.float64)],
        Frame(),
    ],
)
def test_every_kind_of_array_gives_the_same_tensor(values):
    assert torch.equal(as_tensor(values), torch.tensor([[1.0, 2.5]], dtype=torch.float64))


def test_a_tensor_keeps_its_graph_and_numbers_their_kind():
    x = torch.ones(2, requires_grad=True)
    assert as_tensor(x) is x
    assert as_tensor([1, 2]).dtype == torch.int64
    assert as_tensor([1, 2], "x", torch.float32).dtype == torch.float32


def test_the_array_of_the_caller_is_not_shared():
    array = np.zeros(2)
    tensor = as_tensor(array)
    array[0] = 1
    assert not tensor.any()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (torch.ones(2, dtype=torch.complex64), "x must be real"),
        (np.array([1j]), "x must be real"),
        ([[1.0], [1.0, 2.0]], "rows of equal length"),
        (["a"], "x must hold numbers"),
        (np.array([1.0, None]), "x must hold numbers"),
        (np.array(["2020-01-01"], dtype="datetime64[D]"), "x must hold numbers"),
        ([torch.ones(1), torch.ones(2)], "one shape"),
    ],
)
def test_what_is_not_a_real_number_is_refused(values, message):
    with pytest.raises(ValueError, match=message):
        as_tensor(values, "x")
