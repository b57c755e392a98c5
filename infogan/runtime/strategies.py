"""Data parallelism for modules whose optimizers take turns."""

from contextlib import nullcontext
from datetime import timedelta
from typing import Any, Literal, TypeVar

import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.types import ReduceOp
from pytorch_lightning.overrides.distributed import prepare_for_backward
from pytorch_lightning.strategies import DDPStrategy, Strategy, StrategyRegistry
from pytorch_lightning.trainer.states import TrainerStatus
from pytorch_lightning.utilities import rank_zero_info
from torch import Tensor, distributed, nn
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from infogan.errors import ConfigurationError, check_choice
from infogan.runtime.launching import WatchedLauncher
from infogan.runtime.private import finds_unused_parameters

T = TypeVar("T")
Compression = Literal["bf16", "fp16"]
HOOKS = {"bf16": default_hooks.bf16_compress_hook, "fp16": default_hooks.fp16_compress_hook}


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
        compression: Send gradients as `bf16` or `fp16`, half the bytes; null sends them as they
            are.

    Raises:
        ValueError: If timeout_minutes is not positive, or there is no such compression.
    """

    def __init__(
        self,
        process_group_backend: str | None = None,
        start_method: Literal["popen", "spawn", "fork", "forkserver"] = "popen",
        find_unused_parameters: bool = False,
        timeout_minutes: float = 30.0,
        compression: Compression | None = None,
    ) -> None:
        if not timeout_minutes > 0:
            raise ValueError(f"timeout_minutes must be positive, got {timeout_minutes}")
        check_choice(compression=(compression, (None, *HOOKS)))
        super().__init__(
            process_group_backend=process_group_backend,
            start_method=start_method,
            timeout=timedelta(minutes=timeout_minutes),
        )
        self.starts_the_command_again = start_method == "popen"
        self.find_unused_parameters = find_unused_parameters
        self.compression = compression
        self.watched: WatchedLauncher | None = None
        self.reducers: list[DistributedDataParallel] = []

    @property
    def launcher(self) -> Any:
        """The launcher: one that watches the processes which it starts, or Lightning's own."""
        if not self.starts_the_command_again or self.cluster_environment is None:
            return super().launcher
        if self.watched is None:
            environment = self.cluster_environment
            self.watched = WatchedLauncher(environment, self.num_processes, self.num_nodes)
        return self.watched

    @property
    def root_device(self) -> torch.device:
        """This rank's device: the one that it sees, or that of its number on the machine."""
        assert self.parallel_devices is not None
        is_alone = len(self.parallel_devices) == 1
        return self.parallel_devices[0 if is_alone else self.local_rank]

    def setup(self, trainer: pl.Trainer) -> None:
        """Synchronise batch normalisation where the device can, and set the reducers up.

        Raises:
            ConfigurationError: If synchronised layers would have to be differentiated twice.
        """
        assert self.lightning_module is not None
        own_layers = dict(self.lightning_module.named_modules())
        super().setup(trainer)
        synchronised = [
            name
            for name, layer in self.lightning_module.named_modules()
            if isinstance(layer, nn.SyncBatchNorm)
        ]
        if not synchronised:
            return
        if self.root_device.type == "cpu":
            for name in synchronised:
                self.lightning_module.set_submodule(name, own_layers[name])
            rank_zero_info(
                "sync_batchnorm: on CPUs, BatchNorm normalises by each process's own batch; "
                "its running statistics are averaged over the processes"
            )
        else:
            check_derivatives(self.lightning_module)

    def configure_ddp(self) -> None:
        """Start all ranks from rank 0's weights; the reducers need the optimizers first."""
        assert self.model is not None
        for tensor in (*self.model.parameters(), *self.model.buffers()):
            distributed.broadcast(tensor.detach(), src=0)

    def setup_optimizers(self, trainer: pl.Trainer) -> None:
        """Create the optimizers, and a reducer for each one's parameters."""
        super().setup_optimizers(trainer)
        self.reducers = [self.reducer_of(optimizer) for optimizer in self.optimizers]

    def reducer_of(self, optimizer: Optimizer) -> DistributedDataParallel:
        """Return what averages the gradients of an optimizer's parameters over the ranks."""
        on_card = self.root_device.type == "cuda"
        # https://docs.pytorch.org/docs/stable/notes/cuda.html#usage-with-distributeddataparallel
        with torch.cuda.stream(torch.cuda.Stream()) if on_card else nullcontext():
            reducer = DistributedDataParallel(
                OptimizedParameters(optimizer),
                device_ids=self.determine_ddp_device_ids(),
                find_unused_parameters=self.find_unused_parameters,
            )
        if self.compression is not None:
            reducer.register_comm_hook(state=None, hook=HOOKS[self.compression])
        warm_up_reducer(reducer)
        return reducer

    def pre_backward(self, closure_loss: Tensor) -> None:
        """Make the reducers ready whose parameters this backward pass will reach."""
        for reducer in self.reducers:
            if any(parameter.requires_grad for parameter in reducer.parameters()):
                prepare_for_backward(reducer, closure_loss)

    def teardown(self) -> None:
        """Let the reducers go; after an exception, leave the device, which may wait for others."""
        self.reducers = []
        if not self.is_interrupted:
            super().teardown()

    # ---- after an exception --------------------------------------------------------------------
    # The other ranks may be anywhere then: whoever waited for them would wait for ever.

    @property
    def is_interrupted(self) -> bool:
        """Whether an exception is ending the run on this rank."""
        try:
            trainer = None if self.lightning_module is None else self.lightning_module.trainer
        except RuntimeError:  # it is not attached to one yet
            return False
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


class OptimizedParameters(nn.Module):
    """Hold what an optimizer updates, for DDP to look after.

    Args:
        optimizer: The owner of the parameters.
    """

    def __init__(self, optimizer: Optimizer) -> None:
        super().__init__()
        groups = (group["params"] for group in optimizer.param_groups)
        self.parameters_of_all = nn.ParameterList(p for group in groups for p in group)


def warm_up_reducer(reducer: DistributedDataParallel) -> None:
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


def check_derivatives(module: nn.Module) -> None:
    """Refuse synchronised batch normalisation where it would be differentiated twice.

    Raises:
        ConfigurationError: If the module has such layers and a gradient penalty.
    """
    weight = getattr(module, "r1_weight", 0.0)
    if weight > 0 and any(isinstance(layer, nn.SyncBatchNorm) for layer in module.modules()):
        raise ConfigurationError(
            f"r1_weight={weight} with trainer.sync_batchnorm=true: synchronised batch "
            "normalisation has no second derivative; set trainer.sync_batchnorm to false"
        )


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
    if isinstance(strategy, AlternatingDDPStrategy):
        return False
    return not finds_unused_parameters(strategy)
