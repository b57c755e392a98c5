"""Write what Q reads from images to a file."""

import csv
from collections.abc import Sequence
from itertools import repeat
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import BasePredictionWriter
from torch import Tensor

from infogan.data import data_of
from infogan.files import replacing
from infogan.latents import LatentCode, code_names
from infogan.modules.infogan import InfoGANModule


class CodeWriter(BasePredictionWriter):
    """Write what Q reads to a CSV in the run folder, a row an image.

    `image` is the file's name within the data's folder, or the image's number in its file; `split`
    tells which it is of. Then come the most probable value of every code and, of discrete codes,
    the probability of each value, as `categorical0=3`. Which images are read is the data's
    `predict_split`.

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
        codes = pl_module.latents.codes
        told = data_of(trainer).predicted_images
        with replacing(path) as part, part.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["image", "split", *code_names(codes), *value_columns(codes)])
            number = trainer.global_rank
            for reading in predictions:
                modes = map(as_column, codes, reading.modes)
                discrete = [part for part in reading.probabilities if part is not None]
                # A row an image: modes, then the probabilities of all discrete codes' values.
                shares = torch.cat(discrete, dim=1).tolist() if discrete else repeat([])
                for values, probabilities in zip(zip(*modes, strict=True), shares, strict=False):
                    split, name = ("", str(number)) if told is None else told[number]
                    rounded = [f"{probability:.6g}" for probability in probabilities]
                    writer.writerow([name, split, *values, *rounded])
                    number += trainer.world_size
        print(f"codes       {path}", flush=True)


def value_columns(codes: Sequence[LatentCode]) -> list[str]:
    """Return a column's name for each value of the discrete codes, such as `categorical0=3`."""
    return [
        f"{name}={code.label(value)}"
        for name, code in zip(code_names(codes), codes, strict=True)
        if code.is_discrete
        for value in code.traverse(2)
    ]


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
