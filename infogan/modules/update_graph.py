"""A batch's updates as one CUDA graph: the same kernels, started by one call of the host."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.optim import Optimizer

from infogan.errors import ConfigurationError
from infogan.runtime.precision import gradient_scaler

# Batches that run plainly first, in which torch's libraries allocate what they keep.
NUM_WARMUPS = 3


@dataclass(frozen=True)
class Recording:
    """A captured graph with the tensors that it reads and writes.

    Args:
        graph: The graph.
        real: Where it reads the batch from, (batch, channels, height, width).
        scalars: What the updates record, written anew by every replay.
    """

    graph: torch.cuda.CUDAGraph
    real: Tensor
    scalars: Mapping[str, Tensor]


class UpdateGraph:
    """Run a batch's updates through a CUDA graph, captured for each key once.

    A batch of these networks is hundreds of kernels of a few microseconds each: the host takes
    longer to start them than the card to run them. Draws follow the seed of the batch as in the
    plain path, and learning rates may change between batches; all else that a graph depends on
    belongs into the key.

    Args:
        updates: Runs all updates of a batch of real images; returns what they record, by name.
        optimizers: The optimizers that it steps; each must have the option `capturable`.
    """

    def __init__(
        self, updates: Callable[[Tensor], Mapping[str, Tensor]], optimizers: Sequence[Optimizer]
    ) -> None:
        self.updates = updates
        self.groups = [group for optimizer in optimizers for group in optimizer.param_groups]
        self.rates: list[Tensor] = []
        self.recordings: dict[Hashable, Recording] = {}
        self.num_warmups = 0
        self.stream: torch.cuda.Stream | None = None

    def run(self, real: Tensor, key: Hashable = None) -> Mapping[str, Tensor]:
        """Run the updates on a batch of real images; return what they record.

        Args:
            real: The batch, on a CUDA device.
            key: What the updates depend on beside the batch's values and shape.

        Raises:
            ConfigurationError: If an operation of the updates cannot be captured.
        """
        if self.num_warmups < NUM_WARMUPS:
            self.num_warmups += 1
            return self.warm_up(real)
        key = (tuple(real.shape), key)
        if key not in self.recordings:
            self.recordings[key] = self.capture(real)
        recording = self.recordings[key]
        recording.real.copy_(real)
        for group, rate in zip(self.groups, self.rates, strict=True):
            rate.fill_(group["lr"])
        recording.graph.replay()
        return recording.scalars

    def warm_up(self, real: Tensor) -> Mapping[str, Tensor]:
        """Run the updates plainly, on the stream that they will be captured on."""
        if self.stream is None:
            self.stream = torch.cuda.Stream(real.device)
        current = torch.cuda.current_stream(real.device)
        self.stream.wait_stream(current)
        with torch.cuda.stream(self.stream):
            scalars = self.updates(real)
        current.wait_stream(self.stream)
        return scalars

    def capture(self, real: Tensor) -> Recording:
        """Record the updates without running them."""
        static = real.clone()
        if not self.rates:
            self.rates = [torch.full((), float(g["lr"]), device=real.device) for g in self.groups]
        # The optimizers' state stays what a plain run has: only the graph reads rates as tensors.
        before = [(group["lr"], group["capturable"]) for group in self.groups]
        graph = torch.cuda.CUDAGraph()
        try:
            for group, rate in zip(self.groups, self.rates, strict=True):
                group["lr"], group["capturable"] = rate, True
            with torch.cuda.graph(graph, stream=self.stream):
                scalars = dict(self.updates(static))
        except RuntimeError as error:
            reason = str(error).partition("\n")[0]
            raise ConfigurationError(
                f"cuda_graph: the updates cannot be captured ({reason}): an operation in them "
                "waits for the card or copies from the host; set cuda_graph to false"
            ) from error
        finally:
            for group, (rate, capturable) in zip(self.groups, before, strict=True):
                group["lr"], group["capturable"] = rate, capturable
        return Recording(graph, static, scalars)


def graph_of(
    updates: Callable[[Tensor], Mapping[str, Tensor]],
    wanted: bool | None,
    trainer: pl.Trainer,
    device: torch.device,
) -> UpdateGraph | None:
    """Return the graph that a run's updates go through; None for the plain path.

    Args:
        updates: See UpdateGraph.
        wanted: Whether the user wants one; None for one where it can be.
        trainer: The run's, with its optimizers.
        device: Where the module is.

    Raises:
        ConfigurationError: If one is wanted and cannot be.
    """
    reason = reason_against_graph(trainer, device)
    if wanted and reason is not None:
        raise ConfigurationError(
            f"cuda_graph=true, but {reason}; leave cuda_graph out to use one where it can be"
        )
    captured = reason is None and wanted is not False
    return UpdateGraph(updates, trainer.optimizers) if captured else None


def reason_against_graph(trainer: pl.Trainer, device: torch.device) -> str | None:
    """Return why a run's updates cannot be captured as a CUDA graph; None if they can.

    Args:
        trainer: The run's, with its optimizers.
        device: Where the module is.
    """
    if device.type != "cuda":
        return f"the device is {device.type}"
    if trainer.world_size > 1:
        return f"gradients are averaged over {trainer.world_size} processes"
    if gradient_scaler(trainer) is not None:
        return "the precision has a gradient scaler, which asks the host in every update"
    groups = (group for optimizer in trainer.optimizers for group in optimizer.param_groups)
    if not all("capturable" in group and group.get("fused") for group in groups):
        return "an optimizer is not a fused one with the option capturable"
    for callback in trainer.callbacks:  # type: ignore[attr-defined]  # set by a connector
        if watches_updates(callback):
            return f"callback {type(callback).__name__} watches single updates"
    return None


def watches_updates(callback: pl.Callback) -> bool:
    """Return whether a callback acts within an update, where a graph would not call it."""
    hooks = ("on_before_backward", "on_after_backward", "on_before_optimizer_step")
    kind = type(callback)
    acts = any(getattr(kind, hook) is not getattr(pl.Callback, hook) for hook in hooks)
    return acts and not getattr(callback, "leaves_updates_to_the_card", False)
