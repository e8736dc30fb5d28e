"""Spiral waves of a lambda-omega reaction-diffusion system."""

from tasks.reaction_diffusion.simulator import ReactionDiffusion, spiral_waves

__all__ = ["ReactionDiffusion", "spiral_waves"]
