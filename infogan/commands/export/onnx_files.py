"""G and Q as ONNX files, checked in onnxruntime."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn

from infogan.errors import ConfigurationError
from infogan.latents import code_names
from infogan.modules import GANModule, InfoGANModule
from infogan.seeding import seeded

# Largest difference from torch: absolute up to values of 1, relative above.
TOLERANCE = 1e-5

# Numbers of images that the files are checked with; any other number works as well.
BATCH_SIZES = (1, 2, 7)


class Recognition(nn.Module):
    """Q(c|x) from the image on: the trunk, then Q's head, split by code.

    Args:
        module: The InfoGAN.
    """

    def __init__(self, module: InfoGANModule) -> None:
        super().__init__()
        self.trunk = module.discriminator.trunk
        self.head = module.recognition_head
        self.latents = module.latents

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return the posterior's parameters by code, (batch, code.num_parameters) each."""
        (features,) = self.trunk(images)
        return self.latents.split_parameters(self.head(features))


def write_generator(module: GANModule, path: Path) -> float:
    """Write G and return the largest difference from torch.

    Raises:
        ConfigurationError: If G cannot be written as ONNX, or the file computes something else.
    """
    with seeded(0):
        inputs = [module.latents.sample(size) for size in BATCH_SIZES]
    write(module.generator, path, "latent", inputs[-1], ["images"])
    return largest_difference(module.generator, path, inputs)


def write_recognition(module: InfoGANModule, path: Path) -> float:
    """Write Q with its trunk and return the largest difference from torch.

    Raises:
        ConfigurationError: If Q cannot be written as ONNX, or the file computes something else.
    """
    network = Recognition(module).eval()
    with seeded(0):
        inputs = [torch.rand(size, *module.image_shape) for size in BATCH_SIZES]
        with torch.no_grad():
            inputs += [module.generate(module.latents.sample(size)) for size in BATCH_SIZES]
    write(network, path, "images", inputs[-1], code_names(module.latents.codes))
    return largest_difference(network, path, inputs)


def write(
    network: nn.Module, path: Path, input_name: str, example: Tensor, output_names: Sequence[str]
) -> None:
    """Write a network as one ONNX file that takes any number of images.

    Raises:
        ConfigurationError: If it cannot be written as ONNX.
    """
    try:
        with warnings.catch_warnings():
            # About torch's own use of its parts.
            warnings.simplefilter("ignore")
            torch.onnx.export(
                network,
                (example,),
                path,
                input_names=[input_name],
                output_names=list(output_names),
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                dynamo=True,
                external_data=False,
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        reason = str(error.__cause__ or error).strip().partition("\n")[0]
        raise ConfigurationError(
            f"{path.name} cannot be written as ONNX: {reason}; for the weights alone give "
            "--formats [safetensors]"
        ) from error


def largest_difference(network: nn.Module, path: Path, inputs: Sequence[Tensor]) -> float:
    """Run a file in onnxruntime and return its largest difference from torch.

    Raises:
        ConfigurationError: If it is above the tolerance.
    """
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (name,) = [node.name for node in session.get_inputs()]
    differences = []
    for example in inputs:
        with torch.no_grad():
            expected = network(example)
        expected = [expected] if isinstance(expected, Tensor) else expected
        for mine, theirs in zip(expected, session.run(None, {name: example.numpy()}), strict=True):
            difference = np.abs(mine.numpy() - theirs) / np.maximum(1, np.abs(mine.numpy()))
            differences.append(difference.max())
    largest = float(np.max(differences))
    # Written so that NaN, which np.max keeps, fails.
    if not largest <= TOLERANCE:
        raise ConfigurationError(
            f"{path.name} differs from torch by {largest:.1e}, more than {TOLERANCE:.0e}; for the "
            "weights alone give --formats [safetensors]"
        )
    return largest
