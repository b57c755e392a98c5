"""What tells a run from others in a tracker's table."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from infogan.latents import LatentCode


class RunLabels(NamedTuple):
    """What tells a run from others in a tracker's table.

    Attributes:
        name: Display name.
        group: What it shares with the other seeds.
        job_type: `fit`, `validate`, `test` or `predict`.
        tags: What to filter by.
    """

    name: str
    group: str
    job_type: str
    tags: tuple[str, ...]

    @classmethod
    def of(
        cls, name: str, stage: str, seed: int | bool | None, model: Any, data: Any
    ) -> "RunLabels":
        """Make them from the config's values.

        Args:
            name: The config's `name`.
            stage: The verb.
            seed: The config's `seed_everything`.
            model: The module; its class becomes a tag, and its codes, if it has any.
            data: The datamodule, if there is one; its class becomes a tag.
        """
        codes = code_tags(getattr(getattr(model, "latents", None), "codes", ()))
        # False means no seed; it is also an int.
        seeded = [] if seed is None or isinstance(seed, bool) else [f"seed{seed}"]
        shown = name if stage == "fit" else f"{name}/{stage}"
        classes = [type(part).__name__ for part in (model, data) if part is not None]
        return cls(" ".join([shown, *codes, *seeded]), name, stage, (*classes, *codes))


def code_tags(codes: Sequence[LatentCode]) -> list[str]:
    """Name the kinds of code and how many there are: `categorical10`, `2xuniform`."""
    kinds = Counter(
        type(code).__name__.removesuffix("Code").lower() + (str(code.dim) if code.dim > 1 else "")
        for code in codes
    )
    return [f"{n}x{kind}" if n > 1 else kind for kind, n in kinds.items()] or ["no-codes"]
