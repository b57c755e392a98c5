"""A CUDA device that is not there: its values are computed on the CPU, its waits are counted."""

import math
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple
from unittest.mock import patch

import pytorch_lightning as pl
import torch
from pytorch_lightning.accelerators import CUDAAccelerator
from pytorch_lightning.strategies import SingleDeviceStrategy
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter, tree_map

from infogan.runtime.checkpoints import AtomicCheckpointIO

CARD, META = torch.device("cuda:0"), torch.device("meta")
OWN_FOLDERS = ("/infogan/", "/datamodules/")
aten = torch.ops.aten
# Operators that wait for the card, because the size of what they return is in its memory.
WAITING = {
    aten._local_scalar_dense.default: "value read",
    aten.nonzero.default: "nonzero",
    aten.masked_select.default: "masked_select",
    aten._unique2.default: "unique",
    aten.unique_dim.default: "unique",
    aten.unique_consecutive.default: "unique",
    aten.bincount.default: "bincount",
    aten.equal.default: "equal",
    aten.repeat_interleave.Tensor: "repeat_interleave",
}
SELECTING = (aten.index.Tensor, aten.index_put_.default, aten.index_put.default)
# https://docs.pytorch.org/docs/stable/amp.html, as far as the names occur here.
HALF_FUNCTIONS = {"linear", "conv2d", "conv_transpose2d", "matmul", "__matmul__", "mm", "bmm"}
FLOAT_FUNCTIONS = {
    *("log_softmax", "softmax", "softplus", "cross_entropy", "nll_loss", "mse_loss", "cdist"),
    *("binary_cross_entropy_with_logits", "exp", "log", "log10", "pow", "norm", "sum", "cumsum"),
}


class Stall(NamedTuple):
    """One time that host and card waited for each other, or data was sent to the card.

    Args:
        kind: What made them.
        place: The innermost line of this project that asked for it; '' in a backward pass.
    """

    kind: str
    place: str


class FakeCard(TorchDispatchMode):
    """Run what is asked of `cuda` without a card, and refuse what mixes its tensors with the CPU's.

    Tensors on the card are torch's FakeTensors. Beside each lies its value, a CPU tensor that
    every operator is computed on, so that conditions, sizes and pictures are those of a run on
    the CPU. torch's FakeTensorMode alone has no values, and its checks take ten times as long.
    """

    def __init__(self) -> None:
        super().__init__()
        self.fake = FakeTensorMode()
        self.stalls: list[Stall] = []

    def __torch_dispatch__(
        self, operator: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Run one operator; note it if it makes the host wait or sends data to the card."""
        kwargs = kwargs or {}
        if operator is torch.ops.prim.device.default:
            return META
        if torch.is_inference_mode_enabled() and operator._can_decompose():
            # There, composed operators arrive whole.
            with self:
                return operator.decompose(*args, **kwargs)
        if kwargs.get("device") == META:
            is_empty = operator is aten.empty.memory_format
            assert not (is_empty and math.prod(args[0])), "a tensor from data that is lost"
            kwargs = {**kwargs, "device": CARD}
        target = kwargs.get("device")
        asks_card = target is not None and torch.device(target).type == "cuda"
        operands = [leaf for leaf in tree_iter((args, kwargs)) if isinstance(leaf, Tensor)]
        on_card = [isinstance(operand, FakeTensor) for operand in operands]
        if not any(on_card) and not asks_card:
            with unset_fake_temporarily():
                return operator(*args, **kwargs)
        self.note(operator, operands, on_card, target)
        check_devices(operator, operands, on_card)
        values = run_on_cpu(operator, args, kwargs)
        if target is not None and not asks_card:
            return values  # a copy to the CPU
        # What an operator writes in place, it returns as the tensor that it was given.
        given = {id(value_of(operand)): operand for operand in operands}
        return tree_map(
            lambda value: given[id(value)] if id(value) in given else self.on_card(value), values
        )

    def on_card(self, value: Any) -> Any:
        """Return a tensor of the card that has this value; numbers as they are."""
        if not isinstance(value, Tensor):
            return value
        with unset_fake_temporarily(), torch.inference_mode(False):
            tensor: Any = FakeTensor(self.fake, value.detach().to("meta"), CARD)
        tensor.value = value
        return tensor

    def note(self, operator: Any, operands: list[Tensor], on_card: list[bool], target: Any) -> None:
        """Write down what a real card would have to wait for."""
        kind = WAITING.get(operator)
        if operator is aten._to_copy.default and target is not None:
            is_to_card = torch.device(target).type == "cuda"
            if is_to_card != on_card[0]:
                kind = "copy to the card" if is_to_card else "copy from the card"
        elif operator is aten.copy_.default and on_card[0] != on_card[1]:
            kind = "copy to the card" if on_card[0] else "copy from the card"
        elif operator in SELECTING:
            if any(operand.dtype in (torch.bool, torch.uint8) for operand in operands[1:]):
                kind = "selection by a mask"
            elif not all(on_card):
                kind = "copy to the card"
        if kind is not None:
            self.stalls.append(Stall(kind, own_line()))


class CallsOnCard(TorchFunctionMode):
    """Do what C++ leaves out, to which the card looks like a device without data.

    Lists among indices are sent to the card, and autocast chooses the operators' types.
    """

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Call a function of torch with what it would get on a card."""
        kwargs = kwargs or {}
        if function in (Tensor.__getitem__, Tensor.__setitem__):
            tensor, index, *value = args
            parts = index if isinstance(index, tuple) else (index,)
            parts = tuple(
                torch.tensor(part, device=tensor.device) if isinstance(part, list) else part
                for part in parts
            )
            return function(tensor, parts, *value)
        dtype = autocast_dtype(getattr(function, "__name__", ""))
        if dtype is not None:
            args, kwargs = tree_map(lambda thing: cast(thing, dtype), (args, kwargs))
        return function(*args, **kwargs)


def autocast_dtype(name: str) -> torch.dtype | None:
    """Return the type in which autocast on a card computes a function; None where it is left."""
    if not torch.is_autocast_enabled("cuda"):
        return None
    if name in HALF_FUNCTIONS:
        return torch.get_autocast_dtype("cuda")
    return torch.float32 if name in FLOAT_FUNCTIONS else None


def cast(thing: Any, dtype: torch.dtype) -> Any:
    """Return a tensor of the card in a type, unless it is in float64 or holds no fractions."""
    is_eligible = isinstance(thing, FakeTensor) and thing.dtype in (
        torch.float32,
        torch.float16,
        torch.bfloat16,
    )
    return thing.to(dtype) if is_eligible else thing


def run_on_cpu(operator: Any, args: Any, kwargs: Any) -> Any:
    """Run an operator on the values of its operands."""
    if "device" in kwargs:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    if "pin_memory" in kwargs:
        kwargs = {**kwargs, "pin_memory": False}
    with unset_fake_temporarily(), torch.inference_mode(False):
        return operator(*tree_map(value_of, args), **tree_map(value_of, kwargs))


def value_of(thing: Any) -> Any:
    """Return the CPU tensor that holds the value of a tensor of the card; others as they are."""
    return getattr(thing, "value") if isinstance(thing, FakeTensor) else thing  # noqa: B009


def check_devices(operator: Any, operands: list[Tensor], on_card: list[bool]) -> None:
    """Refuse operands on different devices, as torch does.

    Raises:
        RuntimeError: If host and card are mixed in another way than a copy, a selection by the
            host's indices or a number.
    """
    if operator in (aten._to_copy.default, aten.copy_.default):
        return
    if operator in SELECTING and on_card[0]:
        return
    is_host = [not on and operand.ndim > 0 for on, operand in zip(on_card, operands, strict=True)]
    if any(on_card) and any(is_host):
        raise RuntimeError(
            f"Expected all tensors to be on the same device, but found at least two devices, "
            f"{CARD} and cpu! (in {operator})"
        )


def own_line() -> str:
    """Return the innermost line of this project on the stack, as file:line in function."""
    for frame in reversed(traceback.extract_stack()):
        if any(folder in frame.filename for folder in OWN_FOLDERS):
            return f"{frame.filename.rpartition('/')[2]}:{frame.lineno} in {frame.name}"
    return ""


@contextmanager
def fake_card() -> Iterator[FakeCard]:
    """Pretend for the length of a block that this machine has a card that is good at bfloat16."""
    card = FakeCard()
    with (
        patch("torch.cuda.amp.common.amp_definitely_not_available", return_value=False),
        patch("torch.cuda.is_bf16_supported", return_value=True),
        patch("torch.cuda.mem_get_info", return_value=(2**36, 2**36)),
        patch("torch.cuda.default_generators", (torch.Generator(),)),
        card.fake,
        card,
        CallsOnCard(),
    ):
        yield card


class FakeAccelerator(CUDAAccelerator):
    """Lightning's accelerator for such a card."""

    @staticmethod
    def is_available() -> bool:
        """Say that there is a card."""
        return True

    @staticmethod
    def parse_devices(devices: Any) -> list[int]:
        """Take the one card."""
        return [0]

    def setup_device(self, device: torch.device) -> None:
        """Leave the driver, which is not there, alone."""

    def teardown(self) -> None:
        """Leave the driver alone."""


class CardCheckpoints(AtomicCheckpointIO):
    """Save the values: a file cannot hold a tensor of a card that is not there."""

    def save_checkpoint(self, checkpoint: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        """Save with every tensor on the CPU, which `torch.load` maps it to in any case."""
        super().save_checkpoint(tree_map(value_of, checkpoint), *args, **kwargs)


class OnCard(SingleDeviceStrategy):
    """Train on the card, and leave the module there."""

    def model_to_device(self) -> None:
        """Bring the module to the card once."""
        assert self.model is not None
        if not all(isinstance(p, FakeTensor) for p in self.model.parameters()):
            super().model_to_device()

    def teardown(self) -> None:
        """Leave everything where it is."""


def card_trainer(**settings: Any) -> pl.Trainer:
    """Return a trainer on the card."""
    strategy = OnCard(CARD, FakeAccelerator())
    return pl.Trainer(strategy=strategy, plugins=[CardCheckpoints()], **settings)
