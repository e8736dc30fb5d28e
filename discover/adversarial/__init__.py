"""LieGAN: generators trained against a critic."""

__all__: list[str] = []
