"""The symmetry of jets, discovered and compared."""

__all__: list[str] = []
