"""Terms that join the losses of an InfoGAN, alone or several together."""

from infogan.terms.clustering import Clustering
from infogan.terms.equivariance import Equivariance
from infogan.terms.generator import HessianPenalty, OrthogonalJacobian
from infogan.terms.term import CodeTerm, Game, RealReadings, SeenView, View

__all__ = [
    "Clustering",
    "CodeTerm",
    "Equivariance",
    "Game",
    "HessianPenalty",
    "OrthogonalJacobian",
    "RealReadings",
    "SeenView",
    "View",
]
