"""Open the GAN in a checkpoint, of whatever class it is."""

import pickle
from importlib import import_module
from pathlib import Path
from typing import TypeVar

import pytorch_lightning as pl
import torch

from infogan.errors import ConfigurationError
from infogan.modules.gan import GANModule, VanillaGANModule
from infogan.modules.infogan import InfoGANModule
from infogan.runtime.checkpoints import CheckpointError, read_checkpoint

Module = TypeVar("Module", bound=pl.LightningModule)


def load_gan(path: Path) -> GANModule:
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


def import_class(class_path: str, checkpoint: Path) -> None:
    """Import the module of a checkpoint's class, such as a file of the working directory.

    Raises:
        ConfigurationError: If there is no such class.
    """
    module, _, name = class_path.rpartition(".")
    try:
        found = hasattr(import_module(module), name)
    except ImportError:
        found = False
    if not found:
        raise ConfigurationError(
            f"checkpoint {checkpoint} is of the class {class_path}, which cannot be imported: run "
            f"this where {module.partition('.')[0]}.py is, or install it"
        )


def load_module(path: Path, kind: type[Module]) -> Module:
    """Return the module in a checkpoint, in evaluation mode on the CPU.

    Raises:
        ConfigurationError: If there is no such file, or it holds something else.
    """
    if not path.is_file():
        raise ConfigurationError(f"checkpoint {path} is not a file; give one that `fit` has saved")
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
        # The command line stores the class of the module beside its arguments; Python does not.
        class_path = saved["hyper_parameters"].get("_class_path")
        if class_path is not None:
            import_class(class_path, path)
        finder = kind if class_path is None else pl.LightningModule
        module = finder.load_from_checkpoint(path, map_location="cpu")
    except ValueError as error:
        raise ConfigurationError(f"checkpoint {path} does not load: {error}") from error
    except (pickle.UnpicklingError, EOFError, KeyError, TypeError, RuntimeError) as error:
        raise ConfigurationError(
            f"checkpoint {path} does not load as {kind.__name__}; give one that `fit` has saved of "
            "such a module"
        ) from error
    if not isinstance(module, kind):
        raise ConfigurationError(
            f"checkpoint {path} holds a {type(module).__name__}; give one of a {kind.__name__}"
        )
    return module.eval()
