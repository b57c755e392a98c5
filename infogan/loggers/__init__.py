"""Where numbers and pictures go: the run folder always; W&B and TensorBoard beside it."""

from infogan.loggers.run_folder import RunFolder, TensorBoardRun, connect, log_picture
from infogan.loggers.wandb_run import WandbRun

__all__ = ["RunFolder", "TensorBoardRun", "WandbRun", "connect", "log_picture"]
