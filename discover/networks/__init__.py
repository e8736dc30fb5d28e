"""The networks that discovery trains: critic and predictor, and their training loop."""

__all__: list[str] = []
