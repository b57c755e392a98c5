"""Two processes on one card, over gloo, against one process on their joined batch, in float64."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from benchmarks.gpu.part import ROOT, Part
from datamodules import BatchLoader
from datamodules.loader import TensorSource
from infogan.latents import CategoricalCode, LatentSpec, UniformCode
from infogan.modules import ClusteringInfoGANModule
from infogan.runtime.strategies import AlternatingDDPStrategy

BATCH, STEPS = 64, 20


class SharedLatents(LatentSpec):
    """Draw the joined batch's latents on every rank, and return the rank's share of them."""

    def sample(self, num_samples: int, device: torch.device | str = "cpu") -> Tensor:
        rank, ranks = int(os.environ["RANK_OF_TWO"]), BATCH // num_samples
        stream = torch.Generator().manual_seed(self.take_number())
        state = torch.get_rng_state()
        torch.set_rng_state(stream.get_state())
        joined = super().sample(BATCH, "cpu")
        torch.set_rng_state(state)
        return joined[rank::ranks].to(device)

    def take_number(self) -> int:
        """Return how often latents have been drawn."""
        number = getattr(self, "number", 0)
        object.__setattr__(self, "number", number + 1)
        return number


class Flagship(ClusteringInfoGANModule):
    """The flagship's loss with batch normalisation in evaluation, where ranks share no batch."""

    def on_train_batch_start(self, batch: Tensor, batch_idx: int) -> None:
        super().on_train_batch_start(batch, batch_idx)
        for layer in self.modules():
            if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
                layer.eval()


def train(device: str, ranks: int, path: Path) -> None:
    """Train this process's part of a run; rank 0 saves the weights."""
    torch.set_default_dtype(torch.float64)
    torch.manual_seed(0)
    codes = [CategoricalCode(10), UniformCode(), UniformCode()]
    module = Flagship(codes=codes, cuda_graph=False)
    module.latents = SharedLatents(module.latents.noise_dim, module.latents.codes)
    pixels = torch.rand(STEPS * BATCH, 1, 28, 28, generator=torch.Generator().manual_seed(1))
    loader = BatchLoader(
        TensorSource(pixels), BATCH // ranks, shuffle=False, drop_last=True, seed=0
    )
    strategy = AlternatingDDPStrategy(process_group_backend="gloo") if ranks > 1 else "auto"
    trainer = pl.Trainer(
        accelerator="gpu" if device == "cuda" else "cpu",
        devices=1,
        num_nodes=ranks,
        strategy=strategy,
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, loader)
    if trainer.is_global_zero:
        torch.save({name: value.cpu() for name, value in module.state_dict().items()}, path)


def processes(device: str, ranks: int, path: Path) -> None:
    """Run one process or two to their end.

    Raises:
        RuntimeError: If one fails.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    common = {**os.environ, "PL_GLOBAL_SEED": "0", "CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
    common |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "benchmarks.gpu.ranks", "--train", device, str(ranks)]
    running = [
        subprocess.Popen(
            [*command, str(path)],
            cwd=ROOT,
            env={**common, "NODE_RANK": str(rank), "LOCAL_RANK": "0", "RANK_OF_TWO": str(rank)},
        )
        for rank in range(ranks)
    ]
    codes = [process.wait() for process in running]
    if any(codes):
        raise RuntimeError(f"{ranks} ranks ended with exit codes {codes}")


def main() -> None:
    """Compare the weights after the updates."""
    if sys.argv[1] == "--train":
        train(sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]))
        return
    part = Part.of_arguments()
    states = []
    for ranks in (1, 2):
        path = part.scratch / f"ranks{ranks}.pt"
        processes(part.device, ranks, path)
        states.append(torch.load(path, weights_only=True))
    one, two = states
    apart = max(
        float((one[n] - two[n]).abs().max() / one[n].abs().max().clamp(min=1e-12)) for n in one
    )
    line = f"two ranks differ from one process by {apart:.1e} of a tensor's largest entry"
    part.write("ranks", f"{line} after {STEPS} batches, float64", largest_difference=apart)


if __name__ == "__main__":
    main()
