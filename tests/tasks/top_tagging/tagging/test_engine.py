import pytest
import torch

from tasks.top_tagging.tagging.engine import memory_advice


def test_memory_that_runs_out_says_what_to_lower():
    for raised in (
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes."),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
    ):
        with pytest.raises(torch.OutOfMemoryError, match=r"lower batch_size \(64\) or cap \(200\)"), \
                memory_advice(64, 200):  # fmt: skip
            raise raised
    with pytest.raises(torch.OutOfMemoryError, match="lower batch_size"), memory_advice(64, 200):
        torch.empty(2**50, dtype=torch.uint8)
    with pytest.raises(RuntimeError, match="shapes"), memory_advice(64, 200):
        raise RuntimeError("shapes do not fit")
