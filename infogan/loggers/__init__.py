"""Where numbers and pictures go: the run folder always; W&B and TensorBoard beside it."""

from infogan.loggers.reach import log_picture, log_summary, run_folder
from infogan.loggers.run_folder import RunFolder
from infogan.loggers.tensorboard_run import TensorBoardRun
from infogan.loggers.wandb_run import WandbRun

__all__ = ["RunFolder", "TensorBoardRun", "WandbRun", "log_picture", "log_summary", "run_folder"]
