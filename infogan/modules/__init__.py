"""The LightningModules: one adversarial game, and what is read back from it."""

from infogan.modules.gan import GANModule, VanillaGANModule
from infogan.modules.infogan import (
    ClusteringInfoGANModule,
    EncoderLossModule,
    HessianPenaltyInfoGANModule,
    InfoGANModule,
    ThoughtExperimentModule,
)

__all__ = [
    "ClusteringInfoGANModule",
    "EncoderLossModule",
    "GANModule",
    "HessianPenaltyInfoGANModule",
    "InfoGANModule",
    "ThoughtExperimentModule",
    "VanillaGANModule",
]
