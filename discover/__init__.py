"""Data in, Lie algebra out: estimators, the verdict of held-out data, the way from raw to exact; and equations."""

from discover.certify import Verdict, certify
from discover.equations.equation import Equation
from discover.equations.equivariant_library import EquivariantLibrary
from discover.equations.forecast import Forecast, forecast
from discover.equations.joint import JointEquation
from discover.equations.library import PolynomialLibrary
from discover.equations.shooting import RefinedEquation, refine_equation
from discover.equations.sindy import SINDy
from discover.identify import Match, identify
from discover.latent.laligan import LaLiGAN
from discover.latent.symmetry import LatentSymmetry
from discover.liegan import LieGAN
from discover.refine import Change, Refinement, refine
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
