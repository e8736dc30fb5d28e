"""Jets: in memory, in files, in batches."""

__all__: list[str] = []
