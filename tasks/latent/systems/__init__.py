"""Systems with a known latent symmetry, simulated."""

__all__: list[str] = []
