"""A user's own files: discover a symmetry in them, show an algebra."""

__all__: list[str] = []
