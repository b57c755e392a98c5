"""The best checkpoint of data that has nothing to be best at."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import Tensor
from torch.utils.data import DataLoader, TensorDataset

from infogan.callbacks.best_metric import BestMetric
from infogan.errors import ConfigurationError


@pytest.mark.parametrize("monitor", ["val/code_accuracy", "val/d_rel"])
def test_what_a_run_does_not_log_is_no_best(
    monitor: str,
    build: Callable[..., Any],
    batches: Callable[..., list[Tensor]],
    trainer: Callable[..., pl.Trainer],
    tmp_path: Path,
) -> None:
    """Data without classes has no accuracy: the run goes on; a misspelt metric is named."""
    best = ModelCheckpoint(tmp_path, monitor=monitor)
    made = trainer(max_epochs=2, callbacks=[best, BestMetric()], enable_checkpointing=True)
    loader = DataLoader(TensorDataset(*batches()), 8)
    if monitor == "val/d_rel":
        with pytest.raises(ConfigurationError, match="monitor=val/d_rel .* logs val/d_real"):
            made.fit(build(), loader, loader)
    else:
        made.fit(build(), loader, loader)
        assert made.global_step == 4 and not list(tmp_path.iterdir())
