"""Write what Q reads from images to a file."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import BasePredictionWriter
from torch import Tensor

from infogan.files import replacing
from infogan.latents import LatentCode, code_names
from infogan.modules.infogan import InfoGANModule


class CodeWriter(BasePredictionWriter):
    """Write the most probable value of every code, a row an image, to a CSV in the run folder.

    Args:
        filename: Name of the file; with several processes each adds its rank before the ending.
    """

    def __init__(self, filename: str = "codes.csv") -> None:
        super().__init__(write_interval="epoch")
        self.filename = filename

    def write_on_epoch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        predictions: Sequence[Any],
        batch_indices: Sequence[Any],
    ) -> None:
        """Write all predictions of this process and say where."""
        if not isinstance(pl_module, InfoGANModule):
            return
        path = Path(trainer.log_dir or ".") / self.filename
        if trainer.world_size > 1:
            path = path.with_stem(f"{path.stem}-rank{trainer.global_rank}")
        with replacing(path) as part, part.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["image", *code_names(pl_module.latents.codes)])
            first = trainer.global_rank
            for batch in predictions:
                columns = map(as_column, pl_module.latents.codes, batch)
                for values in zip(*columns, strict=True):
                    writer.writerow([first, *values])
                    first += trainer.world_size
        print(f"codes       {path}", flush=True)


def as_column(code: LatentCode, values: Tensor) -> list[float] | list[str]:
    """Return a batch of a code's values for a table: categories, numbers, or all numbers of each.

    Args:
        code: The code.
        values: Its values in the generator's format, (batch, code.dim).
    """
    if code.dim == 1:
        return values[:, 0].tolist()
    if code.is_discrete:
        return values.argmax(dim=1).tolist()
    return [" ".join(f"{number:.6g}" for number in value) for value in values.tolist()]
