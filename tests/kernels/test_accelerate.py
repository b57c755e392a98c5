"""What is there for speed alone: swapped in by one call, and not needed."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from infogan.kernels import accelerate
from infogan.kernels.convolutions import ImageConv2d, ImageConvTranspose2d
from infogan.latents import CategoricalCode, UniformCode
from infogan.modules import InfoGANModule
from infogan.networks import ReferenceNetworks
from tests import ROOT
from tests.conftest import TINY


def module(spectral_normalization: bool = False) -> InfoGANModule:
    torch.manual_seed(0)
    networks = ReferenceNetworks(spectral_normalization=spectral_normalization)
    return InfoGANModule(
        codes=[CategoricalCode(10), UniformCode()], image_size=8, noise_dim=2, networks=networks
    )


def products(root: nn.Module) -> list[nn.Module]:
    return [m for m in root.modules() if isinstance(m, ImageConv2d | ImageConvTranspose2d)]


def test_the_same_parameters_keys_and_numbers() -> None:
    plain, fast = module().eval(), module().eval()
    assert not products(plain)
    for _ in range(2):  # a second fit of the same module
        accelerate(fast)
        assert len(products(fast)) == 2
    assert list(plain.state_dict()) == list(fast.state_dict())
    latent = plain.latents.sample(4, "cpu")
    images = plain.generate(latent)
    torch.testing.assert_close(fast.generate(latent), images)
    for mine, exact in zip(fast.recognize(images), plain.recognize(images), strict=True):
        torch.testing.assert_close(mine, exact, rtol=1e-4, atol=1e-5)
    torch.export.export(fast.generator, (latent,))


def test_only_layers_that_it_computes_alike_are_swapped() -> None:
    others = nn.Sequential(
        nn.Conv2d(1, 8, 5, 2, 1),
        nn.Conv2d(1, 8, 4, 1, 1),
        nn.Conv2d(1, 8, 4, 2, 0),
        nn.Conv2d(1, 8, 4, 2, 1, dilation=2),
        nn.Conv2d(2, 8, 4, 2, 1, groups=2),
        nn.Conv2d(1, 8, 4, 2, 1, padding_mode="circular"),
        nn.Conv2d(64, 8, 4, 2, 1),
        nn.ConvTranspose2d(8, 1, 4, 2, 1, output_padding=1),
        nn.ConvTranspose2d(8, 64, 4, 2, 1),
    )
    accelerate(others)
    assert not products(others)
    normalized = module(spectral_normalization=True)
    accelerate(normalized)
    assert not products(normalized.discriminator)  # whose weights are computed at each use


def halve_in_place(weight: torch.Tensor) -> None:
    weight.detach().mul_(0.5)


def copy_through_data(weight: torch.Tensor) -> None:
    """Change a weight as averages of weights do, which raises no version."""
    weight.data.copy_(weight.data * 0.5)


@pytest.mark.parametrize("change", [halve_in_place, copy_through_data])
@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
def test_every_way_to_change_a_weight_is_seen(
    change: Callable[[torch.Tensor], None], precision: torch.dtype
) -> None:
    plain, fast = module().eval(), module().eval()
    accelerate(fast)
    latent = plain.latents.sample(4, "cpu")
    with torch.autocast("cpu", precision, precision != torch.float32, cache_enabled=False):
        before = fast.generate(latent)
        for parameter in (*plain.parameters(), *fast.parameters()):
            change(parameter)
        after = fast.generate(latent)
        torch.testing.assert_close(after, plain.generate(latent), rtol=0.01, atol=0.01)
    assert (after - before).abs().max() > 1e-4


# An editable install would find the folder where it was deleted from.
FROM_HERE_ALONE = """
import sys
sys.meta_path[:] = [f for f in sys.meta_path if "editable" not in getattr(f, "__module__", "")]
from infogan.commands.main import main
sys.exit(main())
"""


@pytest.mark.integration
def test_everything_trains_without_the_folder(tmp_path: Path) -> None:
    without = shutil.ignore_patterns("kernels", "__pycache__")
    shutil.copytree(ROOT / "infogan", tmp_path / "infogan", ignore=without)
    for name in ("datamodules", "configs"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=without)
    arguments = ["fit", "--config", "infogan_rectangles.yaml", *TINY, "--trainer.accelerator=cpu"]
    run = [sys.executable, "-c", FROM_HERE_ALONE, *arguments]
    environment = {"PATH": "/usr/bin:/bin", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(tmp_path)}
    result = subprocess.run(
        run, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    (checkpoint,) = tmp_path.glob("runs/*/version_0/checkpoints/last.ckpt")
    assert torch.load(checkpoint, weights_only=True)["global_step"] == 2
