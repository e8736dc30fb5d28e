"""Top tagging: jets generated or read, as ragged values, padded batches and graphs."""

from tasks.top_tagging.batches import BEAMS, JetBatch, JetDataset, Pad, batches, node_scalars
from tasks.top_tagging.files import load_jets, read_shard, write_shard
from tasks.top_tagging.graphs import JetGraphs
from tasks.top_tagging.jets import CAP, COLUMNS, Jets, Tally
from tasks.top_tagging.reference import ADDRESS, ReferenceSet

__all__ = [
    "ADDRESS",
    "BEAMS",
    "CAP",
    "COLUMNS",
    "JetBatch",
    "JetDataset",
    "JetGraphs",
    "Jets",
    "Pad",
    "ReferenceSet",
    "Tally",
    "batches",
    "load_jets",
    "node_scalars",
    "read_shard",
    "write_shard",
]
