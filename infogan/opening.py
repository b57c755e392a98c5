"""Open the GAN in a checkpoint, of whatever class it is."""

from pathlib import Path

import pytorch_lightning as pl

from infogan.checkpoints import CheckpointError, read_checkpoint
from infogan.errors import ConfigurationError
from infogan.modules import GANModule, InfoGANModule, VanillaGANModule
from infogan.semi_supervised.inputs import load_module


def open_gan(path: Path) -> GANModule:
    """Return the GAN in a checkpoint, with or without a Q, in evaluation mode on the CPU.

    Raises:
        ConfigurationError: If there is no such file, or it holds something else.
    """
    try:
        saved = read_checkpoint(path)
    except CheckpointError as error:
        raise ConfigurationError(f"ckpt_path={error}") from error
    if "_class_path" in saved.get("hyper_parameters", {}):
        module = load_module(path, pl.LightningModule)
        if not isinstance(module, GANModule):
            raise ConfigurationError(
                f"ckpt_path={path} holds a {type(module).__name__}; give one of a GAN"
            )
        return module
    # Saved from Python, without the class: any InfoGAN draws and reads alike.
    reads = any(name.startswith("recognition_head.") for name in saved["state_dict"])
    return load_module(path, InfoGANModule if reads else VanillaGANModule)
