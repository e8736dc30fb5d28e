"""Equations of motion: libraries of terms, sparse and equivariant fits, joint training, forecasts."""

__all__: list[str] = []
