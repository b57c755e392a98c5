"""The LightningModules: one adversarial game, and what is read back from it."""

from infogan.modules.gan import GANModule, VanillaGANModule
from infogan.modules.infogan import EncoderLossModule, InfoGANModule, ThoughtExperimentModule

__all__ = [
    "EncoderLossModule",
    "GANModule",
    "InfoGANModule",
    "ThoughtExperimentModule",
    "VanillaGANModule",
]
