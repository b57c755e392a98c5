"""The explorer as a program of its own, on a checkpoint that has seen some stripes."""

import http.client
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import pytorch_lightning as pl
import torch
import yaml
from torch.utils.data import DataLoader

from infogan.latents import BernoulliCode, CategoricalCode, NormalCode, UniformCode
from infogan.modules import InfoGANModule
from tests import ROOT
from tests.support.stripes import stripe_data, stripes

CLI = str(ROOT / "cli.py")


class Explorer(NamedTuple):
    """A running explorer: its address, its process, and the folder that is all it may touch."""

    url: str
    process: subprocess.Popen[str]
    folder: Path

    def post(self, path: str, body: bytes, **headers: str) -> tuple[int, str]:
        """Send a request of any kind; return the status and the answer."""
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=20)
        connection.request("POST" if body else "GET", path, body or None, headers)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()

    def files(self) -> set[Path]:
        """Return all files outside of the explorer's temporary folder."""
        kept = (path for path in self.folder.rglob("*") if path.is_file())
        return {path for path in kept if "infogan-explore-" not in str(path)}


def trained_checkpoint(path: Path) -> None:
    """Write a checkpoint of an InfoGAN that has seen some stripes."""
    torch.manual_seed(0)
    codes = [CategoricalCode(4), UniformCode(), NormalCode(), BernoulliCode()]
    module = InfoGANModule(codes=codes, noise_dim=4, image_size=8)
    trainer = pl.Trainer(
        accelerator="cpu",
        devices=1,
        max_steps=30,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    images: Any = stripes(torch.arange(960) % 4)
    trainer.fit(module, DataLoader(images, 32))
    trainer.save_checkpoint(path)


def explore(folder: Path, command: list[str], options: list[str]) -> Explorer:
    """Run the explorer on a new run folder, in a world of its own, and wait until it answers.

    Args:
        folder: Where everything goes that it could write.
        command: The verb, and the option that takes the checkpoint.
        options: Further options.
    """
    data = stripe_data(folder)
    run = folder / "run" / "version_0"
    trained_checkpoint(run / "checkpoints" / "last.ckpt")
    arguments = {"data_dir": str(folder), "verify": False}
    config = {"data": {"class_path": type(data).__name__, "init_args": arguments}}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    for name in ("home", "temporary", "work"):
        (folder / name).mkdir()
    surroundings = {
        "HOME": str(folder / "home"),
        "TMPDIR": str(folder / "temporary"),
        "OMP_NUM_THREADS": "1",
    }
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, CLI, *command, str(run / "checkpoints" / "last.ckpt"), *options],
            cwd=folder / "work",
            env=os.environ | surroundings,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith("Explorer on http://127.0.0.1:"), (folder / "log").read_text()
    return Explorer(line.split()[2], process, folder)
