"""Data in, Lie algebra out: estimators, the verdict of held-out data, and the way from raw to exact."""

from discover.certify import Verdict, certify
from discover.identify import Match, identify
from discover.laligan import LaLiGAN
from discover.latent_symmetry import LatentSymmetry
from discover.liegan import LieGAN
from discover.refine import Change, Refinement, refine
from discover.spectral import Spectral

__all__ = [
    "Change",
    "LaLiGAN",
    "LatentSymmetry",
    "LieGAN",
    "Match",
    "Refinement",
    "Spectral",
    "Verdict",
    "certify",
    "identify",
    "refine",
]
