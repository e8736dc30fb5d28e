"""Whether held-out data confirm a symmetry."""

__all__: list[str] = []
