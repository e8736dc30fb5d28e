"""Taggers: models, training, metrics."""

__all__: list[str] = []
