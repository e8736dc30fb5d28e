"""Layers and networks that are equivariant to an algebra."""

__all__: list[str] = []
