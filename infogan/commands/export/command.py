"""The command `export`: a trained model as ONNX and safetensors, and what its numbers mean."""

import importlib.util
import json
from pathlib import Path
from typing import Any, Literal

from infogan.commands.export.description import describe
from infogan.commands.outputs import check_new, new_folder
from infogan.errors import ConfigurationError
from infogan.modules import GANModule, InfoGANModule
from infogan.modules.loading import load_gan

Format = Literal["onnx", "safetensors"]

NEEDED: dict[Format, tuple[str, ...]] = {
    "onnx": ("onnx", "onnxscript", "onnxruntime"),
    "safetensors": ("safetensors",),
}


def export(
    ckpt_path: Path,
    output: Path = Path("export"),
    formats: tuple[Format, ...] = ("onnx", "safetensors"),
) -> None:
    """Write a trained model in formats that other tools load.

    Writes generator.onnx and, of an InfoGAN, recognition.onnx (trunk and Q's head in one), each
    compared with torch before it counts; model.safetensors, all weights by their names in the
    module; and model.json, which says what the numbers mean: the columns of noise and codes, their
    ranges, the shape of the images and the scale of the pixels.

    Args:
        ckpt_path: Checkpoint of any GAN that `fit` has saved.
        output: New folder for the files.
        formats: What to write beside model.json, such as `[onnx]`.

    Raises:
        ConfigurationError: If a package is missing, the model cannot be written, or the output is
            there already.
    """
    check_installed(formats)
    check_new(output)
    module = load_gan(ckpt_path)
    description = describe(module, ckpt_path)
    lines = []
    with new_folder(output) as folder:
        if "onnx" in formats:
            lines += write_onnx(module, folder, description)
        if "safetensors" in formats:
            lines += write_safetensors(module, folder, description)
        (folder / "model.json").write_text(json.dumps(description, indent=2) + "\n")
    print("\n".join([*lines, f"export      {output}: with model.json, which describes them"]))


def check_installed(formats: tuple[Format, ...]) -> None:
    """Refuse formats whose packages are not installed.

    Raises:
        ConfigurationError: If there is no format, or one's package is missing.
    """
    if not formats:
        raise ConfigurationError(f"formats=[]: give at least one of {', '.join(NEEDED)}")
    needed = [package for name in formats for package in NEEDED[name]]
    missing = [package for package in needed if importlib.util.find_spec(package) is None]
    if missing:
        raise ConfigurationError(
            f"formats=[{', '.join(formats)}] needs {', '.join(missing)}, not installed here: "
            "pip install -e '.[export]'"
        )


def write_onnx(module: GANModule, folder: Path, description: dict[str, Any]) -> list[str]:
    """Write and check G and, where there is one, Q; add them to the description."""
    # Here, because the imports take seconds that a wrong option should not cost.
    from infogan.commands.export.onnx_files import write_generator, write_recognition

    differences = {"generator": write_generator(module, folder / "generator.onnx")}
    if isinstance(module, InfoGANModule):
        differences["recognition"] = write_recognition(module, folder / "recognition.onnx")
    lines = []
    for network, difference in differences.items():
        description[network]["onnx"] = f"{network}.onnx"
        description[network]["onnx_largest_difference"] = difference
        lines.append(f"onnx        {network}.onnx, within {difference:.1e} of torch")
    return lines


def write_safetensors(module: GANModule, folder: Path, description: dict[str, Any]) -> list[str]:
    """Write all weights under their names in the module; add them to the description."""
    from safetensors.torch import save

    tensors = {name: value.contiguous() for name, value in module.state_dict().items()}
    content = save(tensors, {"class": description["class"]})
    (folder / "model.safetensors").write_bytes(content)
    description["safetensors"] = "model.safetensors"
    return [f"safetensors model.safetensors, {len(tensors)} tensors"]
