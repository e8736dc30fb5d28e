"""Data in, Lie algebra out: estimators, the verdict of held-out data, the way from raw to exact; and equations."""

from discover.adversarial.liegan import LieGAN
from discover.algebra.identify import Match, identify
from discover.algebra.refine import Change, Refinement, refine
from discover.equations.equation import Equation
from discover.equations.forecast import Forecast, forecast
from discover.equations.joint import JointEquation
from discover.equations.library import EquivariantLibrary, PolynomialLibrary
from discover.equations.shooting import RefinedEquation, refine_equation
from discover.equations.sindy import SINDy
from discover.find_symmetries import GeneratorResult, SymmetryReport, find_symmetries
from discover.latent.laligan import LaLiGAN
from discover.latent.symmetry import LatentSymmetry
from discover.spectral.spectral import Spectral
from discover.validation.certify import Verdict, certify
from discover.validation.equivariance import Defect, EquivarianceTest, equivariance_test

__all__ = [
    "Change",
    "Defect",
    "Equation",
    "EquivarianceTest",
    "EquivariantLibrary",
    "Forecast",
    "GeneratorResult",
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
    "SymmetryReport",
    "Verdict",
    "certify",
    "equivariance_test",
    "find_symmetries",
    "forecast",
    "identify",
    "refine",
    "refine_equation",
]
