"""What comes out: an algebra refined, named and drawn."""

__all__: list[str] = []
