"""A tiny run of the command line, as a job that goes on long enough to be disturbed."""

import os
import sys
from pathlib import Path

import torch
import yaml

from tests import ROOT
from tests.support.resumable import BATCHES_AN_EPOCH, Result, result

NUM_STEPS = 3 * BATCHES_AN_EPOCH

CONFIG = {
    "seed_everything": 5,
    "wandb": "disabled",
    "trainer": {
        "accelerator": "cpu",
        "max_epochs": 3,
        "log_every_n_steps": 1,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "callbacks": [{"class_path": "tests.cluster.pace.Pace"}],
    },
    "model": {
        "class_path": "tests.support.resumable.RestlessGAN",
        "init_args": {
            "noise_dim": 3,
            "image_size": 8,
            "instance_noise_std": 0.1,
            "codes": [
                {
                    "class_path": "infogan.latents.CategoricalCode",
                    "init_args": {"num_categories": 4},
                },
                {"class_path": "infogan.latents.UniformCode"},
            ],
            "networks": {"class_path": "tests.support.resumable.SmallNetworks"},
        },
    },
    "data": {"class_path": "tests.support.resumable.SmallData", "init_args": {"num_images": 174}},
    "traversal": {"num_columns": 2, "num_values": 2},
}


def prepare(folder: Path) -> dict[str, str]:
    """Put `cli.py` and `tiny.yaml` into a working directory; return the environment to run in."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cli.py").symlink_to(ROOT / "cli.py")
    (folder / "tiny.yaml").write_text(yaml.safe_dump(CONFIG))
    programs = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**os.environ, "PYTHONPATH": str(ROOT), "PATH": programs, "OMP_NUM_THREADS": "1"}


def steps(folder: Path) -> int:
    """Return the number of batches that the slowest rank has seen; 0 if one has seen none."""
    seen = [path.read_text() for path in folder.glob("steps/*.step")]
    return min(map(int, filter(None, seen))) if len(seen) == 2 and all(seen) else 0


def left_by(folder: Path, name: str) -> Result:
    """Return what a run of this name left in the working directory."""
    run = folder / "runs" / name
    (run / "small").unlink(missing_ok=True)
    (run / "small").symlink_to(run)
    return result(run)


def wandb_id(folder: Path, name: str) -> str:
    """Return the W&B run that the last checkpoint belongs to."""
    path = folder / "runs" / name / "version_0/checkpoints/last.ckpt"
    return torch.load(path, weights_only=True)["loggers"]["WandbRun"]["id"]
