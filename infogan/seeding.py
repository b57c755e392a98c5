"""Draw the same numbers for a seed on any device, leaving all random streams alone."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the CPU's stream alone for the length of a block, and put it back.

    What is drawn on the CPU and then moved is the same on every device; `torch.manual_seed` would
    seed the GPUs' streams as well, which `torch.random.fork_rng` would have to copy and restore.

    Args:
        seed: Any integer.
    """
    state = torch.get_rng_state()
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(state)
