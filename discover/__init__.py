"""Data in, Lie algebra out: estimators, the verdict of held-out data, the way from raw to exact; and equations."""

from discover.certify import Verdict, certify
from discover.equation import Equation
from discover.equivariant_library import EquivariantLibrary
from discover.forecast import Forecast, forecast
from discover.identify import Match, identify
from discover.joint import JointEquation
from discover.laligan import LaLiGAN
from discover.latent_symmetry import LatentSymmetry
from discover.library import PolynomialLibrary
from discover.liegan import LieGAN
from discover.refine import Change, Refinement, refine
from discover.shooting import RefinedEquation, refine_equation
from discover.sindy import SINDy
from discover.spectral import Spectral

__all__ = [
    "Change",
    "Equation",
    "EquivariantLibrary",
    "Forecast",
    "JointEquation",
    "LaLiGAN",
    "LatentSymmetry",
    "LieGAN",
    "Match",
    "PolynomialLibrary",
    "RefinedEquation",
    "Refinement",
    "SINDy",
    "Spectral",
    "Verdict",
    "certify",
    "forecast",
    "identify",
    "refine",
    "refine_equation",
]
