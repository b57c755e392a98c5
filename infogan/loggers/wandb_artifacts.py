"""Checkpoints as versions of a W&B artifact."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pytorch_lightning.callbacks import ModelCheckpoint


def log_checkpoints(run: Any, callbacks: Sequence[ModelCheckpoint]) -> None:
    """Log each kept checkpoint as a version of one artifact, laid out like a run folder.

    Args:
        run: The W&B run.
        callbacks: Who has saved the checkpoints.
    """
    import wandb

    # The last one comes last, so that W&B's own alias `latest` stays with it.
    for callback in sorted(callbacks, key=lambda callback: callback.monitor is None):
        path = Path(callback.best_model_path)
        alias = "last" if callback.monitor is None else "best"
        score = callback.best_model_score
        metadata = {
            "file": path.name,
            "monitor": callback.monitor,
            "score": None if score is None else float(score),
        }
        artifact = wandb.Artifact(f"model-{run.id}", "model", metadata=metadata)
        artifact.add_file(str(path), f"checkpoints/{alias}.ckpt")
        config = path.parent.parent / "config.yaml"
        if config.is_file():
            artifact.add_file(str(config), config.name)
        run.log_artifact(artifact, aliases=[alias])
