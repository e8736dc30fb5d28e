"""Symmetries that are linear in a learned latent space: LaLiGAN, what it exports, and its parts."""

__all__: list[str] = []
