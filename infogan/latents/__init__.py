"""The generator's input: incompressible noise z and latent codes c (paper, section 2.2)."""

from infogan.latents.code import CodeReading, LatentCode, posterior_probabilities
from infogan.latents.continuous import ContinuousCode, NormalCode, UniformCode
from infogan.latents.discrete import BernoulliCode, CategoricalCode
from infogan.latents.spec import LatentSpec, code_names

__all__ = [
    "BernoulliCode",
    "CategoricalCode",
    "CodeReading",
    "ContinuousCode",
    "LatentCode",
    "LatentSpec",
    "NormalCode",
    "UniformCode",
    "code_names",
    "posterior_probabilities",
]
