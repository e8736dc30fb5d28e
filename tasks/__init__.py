"""The studies: data, models compared, tables, pictures, and the ``liesmith`` command."""

__all__: list[str] = []
