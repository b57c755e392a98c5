"""Data parallelism for modules whose optimizers take turns."""

from datetime import timedelta
from typing import Any, Literal, TypeVar

import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.types import ReduceOp
from pytorch_lightning.overrides.distributed import _sync_module_states, prepare_for_backward
from pytorch_lightning.strategies import DDPStrategy, Strategy, StrategyRegistry
from pytorch_lightning.trainer.states import TrainerStatus
from pytorch_lightning.utilities import rank_zero_info
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from infogan.errors import ConfigurationError
from infogan.runtime.launching import WatchedLauncher

T = TypeVar("T")


class AlternatingDDPStrategy(DDPStrategy):
    """DDP that averages the gradients of each optimizer's own parameters, in its own update.

    Plain DDP averages all gradients together, so that in D's update it waits for G's, which never
    come; searching the graph for them in every pass (`find_unused_parameters`) is the usual way
    out. Here every optimizer has a reducer of its own, and communication still overlaps with the
    backward pass.

    Args:
        process_group_backend: `nccl`, `gloo` and so on; null is nccl on GPUs, gloo on CPUs.
        start_method: How to start the processes of one machine: `popen` runs the command again;
            `fork` and `spawn` work from Python.
        find_unused_parameters: Search the graph, for networks of which an update uses a part.
        timeout_minutes: How long a process waits for the others before it fails.
    """

    def __init__(
        self,
        process_group_backend: str | None = None,
        start_method: Literal["popen", "spawn", "fork", "forkserver"] = "popen",
        find_unused_parameters: bool = False,
        timeout_minutes: float = 30.0,
    ) -> None:
        if not timeout_minutes > 0:
            raise ValueError(f"timeout_minutes must be positive, got {timeout_minutes}")
        super().__init__(
            process_group_backend=process_group_backend,
            start_method=start_method,
            timeout=timedelta(minutes=timeout_minutes),
            find_unused_parameters=find_unused_parameters,
        )
        self.reducers: list[DistributedDataParallel] = []

    def _configure_launcher(self) -> None:
        super()._configure_launcher()
        if self._start_method == "popen":
            assert self.cluster_environment is not None
            self._launcher = WatchedLauncher(
                self.cluster_environment, self.num_processes, self.num_nodes
            )

    def setup(self, trainer: pl.Trainer) -> None:
        """Synchronise batch normalisation where the device can, and set the reducers up."""
        if self._layer_sync is not None and self.root_device.type == "cpu":
            self._layer_sync = None
            rank_zero_info(
                "sync_batchnorm: on CPUs, BatchNorm normalises by each process's own batch; "
                "its running statistics are averaged over the processes"
            )
        super().setup(trainer)

    def configure_ddp(self) -> None:
        """Start all ranks from rank 0's weights; the reducers need the optimizers first."""
        assert self.model is not None
        _sync_module_states(self.model)

    def setup_optimizers(self, trainer: pl.Trainer) -> None:
        """Create the optimizers, and a reducer for each one's parameters."""
        super().setup_optimizers(trainer)
        self.reducers = [self._setup_model(Owned(optimizer)) for optimizer in self.optimizers]
        for reducer in self.reducers:
            settle(reducer)

    def pre_backward(self, closure_loss: Tensor) -> None:
        """Make the reducers ready whose parameters this backward pass will reach."""
        for reducer in self.reducers:
            if any(parameter.requires_grad for parameter in reducer.parameters()):
                prepare_for_backward(reducer, closure_loss)

    def teardown(self) -> None:
        """Let the reducers go."""
        self.reducers = []
        super().teardown()

    # ---- after an exception --------------------------------------------------------------------
    # The other ranks may be anywhere then: whoever waited for them would wait for ever.

    @property
    def is_interrupted(self) -> bool:
        """Whether an exception is ending the run on this rank."""
        trainer = getattr(self.lightning_module, "_trainer", None)
        return trainer is not None and trainer.state.status == TrainerStatus.INTERRUPTED

    def barrier(self, *args: Any, **kwargs: Any) -> None:
        """Wait for all ranks."""
        if not self.is_interrupted:
            super().barrier(*args, **kwargs)

    def broadcast(self, obj: T, src: int = 0) -> T:
        """Return rank `src`'s object on all ranks; one's own after an exception."""
        return obj if self.is_interrupted else super().broadcast(obj, src)

    def reduce(
        self, tensor: Tensor, group: Any = None, reduce_op: ReduceOp | str | None = "mean"
    ) -> Tensor:
        """Return the tensor reduced over all ranks; one's own after an exception."""
        if self.is_interrupted:
            return tensor
        if reduce_op in ("mean", "avg") and not tensor.is_floating_point():
            # Lightning cuts the mean of integers, such as the number of images on each rank.
            tensor = tensor.to(torch.get_default_dtype())
        return super().reduce(tensor, group, reduce_op)


class Owned(nn.Module):
    """Hold what an optimizer updates, for DDP to look after.

    Args:
        optimizer: The owner of the parameters.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        super().__init__()
        groups = (group["params"] for group in optimizer.param_groups)
        self.owned = nn.ParameterList(parameter for group in groups for parameter in group)


def settle(reducer: DistributedDataParallel) -> None:
    """Let a reducer lay out its buckets, which it does once, after its first backward pass.

    Left to the first real pass, a resumed run would add up the first gradients of three or more
    ranks in another order than the uninterrupted one.
    """
    parameters = [p for p in reducer.parameters() if p.requires_grad]
    loss = torch.stack([(0.0 * parameter).sum() for parameter in parameters]).sum()
    prepare_for_backward(reducer, loss)
    loss.backward()
    for parameter in parameters:
        parameter.grad = None


def register_strategies() -> None:
    """Make `ddp`, by any of its names and by `auto`, the alternating one in this program."""
    for start, method in (
        ("ddp", "popen"),
        ("ddp_spawn", "spawn"),
        ("ddp_fork", "fork"),
        ("ddp_notebook", "fork"),
    ):
        for end, find_unused in (
            ("", False),
            ("_find_unused_parameters_false", False),
            ("_find_unused_parameters_true", True),
        ):
            StrategyRegistry.register(
                start + end,
                AlternatingDDPStrategy,
                f"AlternatingDDPStrategy with start_method {method}",
                override=True,
                start_method=method,
                find_unused_parameters=find_unused,
            )


def check_strategy(strategy: str | Strategy) -> None:
    """Refuse strategies under which updates that take turns would be wrong or would fail.

    Raises:
        ConfigurationError: If the strategy shards parameters, or is plain DDP.
    """
    name = strategy if isinstance(strategy, str) else type(strategy).__name__
    way_out = "use --config ddp.yaml, or AlternatingDDPStrategy in Python"
    if any(word in name.lower() for word in ("fsdp", "deepspeed", "modelparallel", "xla")):
        raise ConfigurationError(
            f"strategy={name} is refused: it shards all parameters together, while the updates of "
            f"D and of G each freeze the other's parameters; {way_out}"
        )
    if isinstance(strategy, DDPStrategy) and waits_for_all(strategy):
        raise ConfigurationError(
            f"strategy={name} would wait in D's update for the gradients of G; {way_out}"
        )


def waits_for_all(strategy: DDPStrategy) -> bool:
    """Return whether a strategy expects a gradient of every parameter in every update."""
    finds_unused = strategy._ddp_kwargs.get("find_unused_parameters", False)
    return not (finds_unused or isinstance(strategy, AlternatingDDPStrategy))
