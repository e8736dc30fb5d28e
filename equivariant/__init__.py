"""Vocabulary and models: a ``LieAlgebra`` goes in; layers, networks and augmentations come out."""

from equivariant import catalogue, compare
from equivariant.algebra import LieAlgebra
from equivariant.compare import closure_error, cosine, data_span, principal_angles
from equivariant.law import CoefficientLaw

__all__ = [
    "CoefficientLaw",
    "LieAlgebra",
    "catalogue",
    "closure_error",
    "compare",
    "cosine",
    "data_span",
    "principal_angles",
]
