"""Jets generated: events, detector, clustering, selection."""

__all__: list[str] = []
