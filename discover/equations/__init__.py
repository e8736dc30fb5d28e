"""Equations of motion: libraries of terms, sparse and equivariant regression, joint training, forecasts."""

__all__: list[str] = []
