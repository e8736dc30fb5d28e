import threading

import pytest
import torch

from tasks.top_tagging import Pad
from tasks.top_tagging.data.batches import by_length, epoch_order, prefetched

COUNTS = torch.randint(0, 33, (1003,), generator=torch.Generator().manual_seed(0))


def test_every_jet_comes_once_and_batches_are_of_one_size():
    order = epoch_order(COUNTS, 64, seed=0, epoch=0)
    assert torch.equal(torch.cat(order).sort().values, torch.arange(1003))
    sizes = {len(chosen) for chosen in order}
    assert max(sizes) <= 64
    assert max(sizes) - min(sizes) <= 1
    assert [len(chosen) for chosen in epoch_order(COUNTS[:5], 64, 0, 0)] == [5]


def test_an_epoch_has_an_order_of_its_own():
    first, again, next_one, other = (
        epoch_order(COUNTS, 64, s, e) for s, e in ((0, 0), (0, 0), (0, 1), (1, 0))
    )
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    for different in (next_one, other):
        assert not torch.equal(torch.cat(first), torch.cat(different))


def test_like_lengths_pad_less():
    def padded(order):
        return sum(len(chosen) * int(COUNTS[chosen].max()) for chosen in order)

    shuffled = torch.randperm(1003, generator=torch.Generator().manual_seed(0)).split(64)
    assert padded(by_length(COUNTS, 64)) <= padded(epoch_order(COUNTS, 64, 0, 0)) < 0.85 * padded(shuffled)


def test_a_thread_makes_the_same_batches_and_hands_on_what_it_raises(jets):
    order = [torch.tensor([0, 1]), torch.tensor([4]), torch.tensor([3, 5]), torch.tensor([2])]
    # "meta" stands for any device but the CPU: only shapes go there
    plain = list(prefetched(jets, order, Pad(), torch.device("cpu")))
    ahead = list(prefetched(jets, order, Pad(), torch.device("meta")))
    assert [batch.p4.shape for batch in ahead] == [batch.p4.shape for batch in plain]
    assert all(batch.p4.is_meta for batch in ahead)
    with pytest.raises(IndexError):
        list(prefetched(jets, [torch.tensor([99])], Pad(), torch.device("meta")))


def test_a_thread_ends_with_its_reader(jets):
    before = threading.active_count()
    reader = prefetched(jets, [torch.tensor([0])] * 50, Pad(), torch.device("meta"))
    next(iter(reader))
    reader.close()
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and thread.daemon:
            thread.join(2)
    assert threading.active_count() <= before
