"""Vocabulary and models: a ``LieAlgebra`` goes in; layers, networks and augmentations come out."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from equivariant import catalogue, compare
from equivariant.algebra import CoefficientDistribution, LieAlgebra
from equivariant.augment import GroupAverage, RandomGroupAction
from equivariant.check import assert_equivariant, equivariance_error
from equivariant.compare import closure_error, cosine, data_span, principal_angles
from equivariant.group import Group
from equivariant.intertwiners import equivariant_maps
from equivariant.metric import invariant_metrics, isotropy_algebra, nearest_isometries
from equivariant.nn.emlp import EMLP, EMLPBlock
from equivariant.nn.liegnn import LieGNN, LieGNNBlock
from equivariant.nn.linear import EquivariantLinear
from equivariant.nn.lorentznet import load_lorentznet
from equivariant.nullspace import NullSpace, null_space
from equivariant.rep import Rep, Scalar, T, V

if TYPE_CHECKING:
    from equivariant.pyg import LieGNNConv, RandomGroupTransform

__all__ = [
    "EMLP",
    "CoefficientDistribution",
    "EMLPBlock",
    "EquivariantLinear",
    "Group",
    "GroupAverage",
    "LieAlgebra",
    "LieGNN",
    "LieGNNBlock",
    "LieGNNConv",
    "NullSpace",
    "RandomGroupAction",
    "RandomGroupTransform",
    "Rep",
    "Scalar",
    "T",
    "V",
    "assert_equivariant",
    "catalogue",
    "closure_error",
    "compare",
    "cosine",
    "data_span",
    "equivariance_error",
    "equivariant_maps",
    "invariant_metrics",
    "isotropy_algebra",
    "load_lorentznet",
    "nearest_isometries",
    "null_space",
    "principal_angles",
]


def __getattr__(name: str) -> Any:
    """What needs PyTorch Geometric is imported when it is first asked for."""
    homes = {"LieGNNConv": "equivariant.pyg", "RandomGroupTransform": "equivariant.pyg"}
    if name not in homes:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(homes[name]), name)
