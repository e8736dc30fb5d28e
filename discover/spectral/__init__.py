"""Spectral discovery: generators as the null space of a linear system."""

__all__: list[str] = []
