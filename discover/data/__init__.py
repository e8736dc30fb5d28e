"""What goes in: samples sorted by how a group acts on them, whitened coordinates, the space of generators."""

__all__: list[str] = []
