"""Top tagging: jets generated or read, as ragged values, padded batches and graphs."""

from tasks.top_tagging.data.batches import BEAMS, JetBatch, JetDataset, JetGraphs, Pad, batches, node_scalars
from tasks.top_tagging.data.jets import CAP, COLUMNS, Jets, Tally
from tasks.top_tagging.data.reference import ADDRESS, ReferenceSet
from tasks.top_tagging.data.shards import load_jets, read_shard, write_shard

__all__ = ["ADDRESS", "BEAMS", "CAP", "COLUMNS", "JetBatch", "JetDataset", "JetGraphs", "Jets", "Pad", "ReferenceSet",
           "Tally", "batches", "load_jets", "node_scalars", "read_shard", "write_shard"]  # fmt: skip
