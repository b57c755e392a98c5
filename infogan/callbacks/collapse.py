"""Notice the ways in which the game of G and D ends early."""

from collections import deque
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import pytorch_lightning as pl
import torch
from torch import Tensor

from infogan.callbacks.stopping import Outcome, StoppingCallback
from infogan.errors import check_at_least, check_choice
from infogan.modules.gan import GANModule


class WindowMeans(NamedTuple):
    """The means over a window by which a collapse is told."""

    d_real: float
    d_fake: float
    discriminator_loss: float
    gradient_norm: float
    fake_std: float
    real_std: float


class CollapseStopping(StoppingCallback):
    """Stop, or warn, when D has won, when D has gone blind, or when G draws one image only.

    - `discriminator_won`, the paper's sign (5.5): the ratio of D's mean probability on generated
      to that on real images is near 0, or D's loss is (with `label_smoothing` only the ratio
      gets there).
    - `discriminator_at_chance`: both mean probabilities are 1/2 and D's logit hardly depends on
      the image, so that G learns nothing. Chance alone is no failure: it is where a GAN ends
      when G is right, with a D that still tells images apart.
    - `mode_collapse`: generated images differ from each other far less than real ones do. It
      takes a nearly constant G; a G that misses some classes passes.

    All are means over the last `window` batches and over all ranks; a checkpoint holds the window.

    Args:
        action: `stop` the run, or `warn` once about each outcome and go on.
        ratio_threshold: D has won below this d_fake / d_real; null turns the sign off.
        loss_threshold: D has won below this loss of D, in nats; null turns the sign off.
        gradient_threshold: D is blind below this norm of the gradient of its logit by a generated
            image (pixels of [0, 1]); null turns the sign off.
        chance_tolerance: Largest distance of a mean probability at chance from 1/2.
        diversity_threshold: G has collapsed below this ratio of the std of generated to that of
            real images (root mean square over pixels); null turns the sign off.
        window: Batches to take the means over.
        warmup_steps: First batches of the run, which do not count.
        every_n_steps: Batches between two looks at the means.
        num_images: Images to generate for the norm and the diversity at each look.
    """

    def __init__(
        self,
        action: Literal["stop", "warn"] = "stop",
        ratio_threshold: float | None = 0.01,
        loss_threshold: float | None = 0.01,
        gradient_threshold: float | None = 1e-3,
        chance_tolerance: float = 0.02,
        diversity_threshold: float | None = 0.02,
        window: int = 100,
        warmup_steps: int = 200,
        every_n_steps: int = 50,
        num_images: int = 64,
    ) -> None:
        super().__init__()
        check_choice(action=(action, ("stop", "warn")))
        check_at_least(
            window=(window, 1),
            warmup_steps=(warmup_steps, 0),
            every_n_steps=(every_n_steps, 1),
            num_images=(num_images, 2),
            chance_tolerance=(chance_tolerance, 0),
        )
        check_thresholds(
            ratio_threshold=ratio_threshold,
            loss_threshold=loss_threshold,
            gradient_threshold=gradient_threshold,
            diversity_threshold=diversity_threshold,
        )
        self.action = action
        self.ratio_threshold = ratio_threshold or 0.0
        self.loss_threshold = loss_threshold or 0.0
        self.gradient_threshold = gradient_threshold or 0.0
        self.chance_tolerance = chance_tolerance
        self.diversity_threshold = diversity_threshold or 0.0
        self.warmup_steps = warmup_steps
        self.every_n_steps = every_n_steps
        self.num_images = num_images
        self.recorded: deque[Tensor] = deque(maxlen=window)
        self.probed: deque[Tensor] = deque(maxlen=max(1, window // every_n_steps))
        self.resumed: dict[str, Tensor] = {}

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Start with an empty window, or with that of the checkpoint."""
        super().on_fit_start(trainer, pl_module)
        for name, values in (("recorded", self.recorded), ("probed", self.probed)):
            values.clear()
            if name in self.resumed:
                values.extend(self.resumed[name].to(pl_module.device).unbind())
        self.resumed = {}

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Save the window's means over the ranks: it stops a resumed run where it would have."""
        checkpoint["collapse_window"] = {
            name: trainer.strategy.reduce(torch.stack(list(values)), reduce_op="mean")
            for name, values in (("recorded", self.recorded), ("probed", self.probed))
            if values
        }

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Take the window, which older checkpoints do not have."""
        self.resumed = checkpoint.get("collapse_window", {})

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Record the batch; look at the window every `every_n_steps` batches.

        Raises:
            RunStoppedError: If a sign shows and the action is to stop.
        """
        assert isinstance(pl_module, GANModule)
        step = trainer.global_step
        if step <= self.warmup_steps:
            return
        names = ("d_real", "d_fake", "discriminator_loss")
        # Left on the device: reading a value each batch would make the host wait for it.
        self.recorded.append(torch.stack([pl_module.scalars[name] for name in names]))
        if step % self.every_n_steps:
            return
        self.probed.append(probe(pl_module, batch, self.num_images))
        if len(self.recorded) == self.recorded.maxlen:
            for outcome, reason in self.outcomes(self.window_means(trainer)):
                act = self.stop if self.action == "stop" else self.warn
                act(trainer, outcome, reason)

    def window_means(self, trainer: pl.Trainer) -> WindowMeans:
        """Return the means over the window and all ranks."""
        means = [torch.stack(list(values)).mean(dim=0) for values in (self.recorded, self.probed)]
        reduced = trainer.strategy.reduce(torch.cat(means), reduce_op="mean")
        assert isinstance(reduced, Tensor)
        return WindowMeans(*reduced.tolist())

    def outcomes(self, means: WindowMeans) -> Iterator[tuple[Outcome, str]]:
        """Yield the outcomes that the signs show, each with its reason."""
        over = f"over {self.recorded.maxlen} batches"
        d_real, d_fake = means.d_real, means.d_fake
        if d_fake < self.ratio_threshold * d_real:
            yield (
                "discriminator_won",
                f"d_fake / d_real = {d_fake / d_real:.2g} < {self.ratio_threshold} {over}",
            )
        elif means.discriminator_loss < self.loss_threshold:
            yield (
                "discriminator_won",
                f"discriminator_loss = {means.discriminator_loss:.2g} < {self.loss_threshold}"
                f" {over}",
            )
        at_chance = max(abs(d_real - 0.5), abs(d_fake - 0.5)) <= self.chance_tolerance
        if at_chance and means.gradient_norm < self.gradient_threshold:
            yield (
                "discriminator_at_chance",
                f"d_real = {d_real:.3f}, d_fake = {d_fake:.3f} and the norm of D's gradient by"
                f" the image = {means.gradient_norm:.2g} < {self.gradient_threshold} {over}",
            )
        if means.fake_std < self.diversity_threshold * means.real_std:
            yield (
                "mode_collapse",
                f"std of generated / std of real images = {means.fake_std / means.real_std:.2g}"
                f" < {self.diversity_threshold} {over}",
            )


def probe(module: GANModule, real: Tensor, num_images: int) -> Tensor:
    """Return the norm of D's gradient by G's images, and the std of G's and of real images.

    It leaves the random streams, the batch statistics and the parameters' gradients alone.
    """
    discriminator = module.discriminator
    was_training = discriminator.training
    # G as in training: its running statistics lag behind in the first batches. D by the running
    # ones: with those of the batch, the gradients of its images would cancel each other.
    kept = [buffer.clone() for buffer in module.generator.buffers()]
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        fake = module.generate(module.latents.sample(num_images))
        for buffer, value in zip(module.generator.buffers(), kept, strict=True):
            buffer.copy_(value)
    discriminator.eval()
    with torch.enable_grad():
        (features,) = discriminator.trunk(fake.requires_grad_())
        (gradient,) = torch.autograd.grad(discriminator.logits(features).sum(), fake)
    discriminator.train(was_training)
    return torch.stack([gradient.flatten(1).norm(dim=1).mean(), rms_std(fake), rms_std(real)])


def rms_std(images: Tensor) -> Tensor:
    """Return the root mean square over pixels of their std over a batch (batch, ...)."""
    return images.detach().var(dim=0).mean().sqrt()


def check_thresholds(**thresholds: float | None) -> None:
    """Raise ValueError for the first threshold that is neither positive nor None."""
    for name, value in thresholds.items():
        if value is not None and not value > 0:
            raise ValueError(f"{name} must be positive, got {value}; null turns it off")
