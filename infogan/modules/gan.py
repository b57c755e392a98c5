"""The adversarial game of equation 1 as a LightningModule with manual optimization."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Literal, final

import torch
from pytorch_lightning.cli import OptimizerCallable
from torch import Tensor, nn

from infogan.data import Evaluated, data_of
from infogan.differentiable_augmentation import DifferentiableAugmentation
from infogan.errors import check_at_least, check_choice, check_range, names_sizes
from infogan.latents import LatentCode, LatentSpec
from infogan.metrics.codes import CodeScores
from infogan.modules.batches import check_data, images_and_factors
from infogan.modules.manual import ManualModule
from infogan.modules.optimizers import adam, usable
from infogan.modules.update_graph import UpdateGraph, graph_of
from infogan.networks import Discriminator, NetworkFactory, ReferenceNetworks
from infogan.objectives import GENERATOR_LOSSES, discriminator_loss, jensen_shannon_estimate
from infogan.regularizers import add_instance_noise, linear_decay, r1_penalty
from infogan.terms import SeenView, View


class GANModule(ManualModule, ABC):
    """The GAN of equation 1; subclasses add an information term through hooks.

    A batch is one discriminator update, then one generator update on fresh latents.
    `trainer.global_step` counts batches. Images are (batch, channels, side, side) in [0, 1].

    Args:
        codes: The latent codes c; may be empty.
        noise_dim: Number of noise dimensions z; 0 for none.
        noise_distribution: `uniform` on [-1, 1] or standard `normal`.
        image_channels: 1 for gray images, 3 for RGB.
        image_size: Side of the square images in pixels, divisible by 4.
        networks: The networks' factory; None for the paper's.
        discriminator_optimizer: Optimizer of D and Q; None for Adam(2e-4, betas=(0.5, 0.999)).
        generator_optimizer: Optimizer of G; None for Adam(1e-3, betas=(0.5, 0.999)).
        generator_loss: `non_saturating`, or `minimax` as in equation 1.
        discriminator_augmentation: Random transformation of what D and Q see, real and generated;
            None for none.
        label_smoothing: One-sided label smoothing: D's target on real images is 1 less this.
        instance_noise_std: Std of Gaussian noise on D's input, real and generated (pixels of
            [0, 1]).
        instance_noise_steps: Batches over which the instance noise falls linearly to 0; 0 keeps it.
        r1_weight: Weight of the R1 gradient penalty on real images.
        num_discriminator_updates: Discriminator updates a batch.
        num_generator_updates: Generator updates a batch.
        gradient_clip_norm: Largest norm of each network's gradient; None for no clipping.
        learning_rate_decay_steps: Batches, the last of the training, over which both learning rates
            fall linearly to 0; 0 for none. A training of less than twice as many has none.
        cuda_graph: Whether to run a batch's updates as one CUDA graph, to the same numbers. None:
            where possible, on one GPU with fused optimizers, no scaler, no callback in an update.

    Raises:
        ValueError: If an option is out of range.
    """

    graph: UpdateGraph | None = None
    noise_std: Tensor

    def __init__(
        self,
        codes: list[LatentCode],
        noise_dim: int = 62,
        noise_distribution: Literal["uniform", "normal"] = "uniform",
        image_channels: int = 1,
        image_size: int = 28,
        networks: NetworkFactory | None = None,
        discriminator_optimizer: OptimizerCallable | None = None,
        generator_optimizer: OptimizerCallable | None = None,
        generator_loss: Literal["non_saturating", "minimax"] = "non_saturating",
        discriminator_augmentation: DifferentiableAugmentation | None = None,
        label_smoothing: float = 0.0,
        instance_noise_std: float = 0.0,
        instance_noise_steps: int = 0,
        r1_weight: float = 0.0,
        num_discriminator_updates: int = 1,
        num_generator_updates: int = 1,
        gradient_clip_norm: float | None = None,
        learning_rate_decay_steps: int = 0,
        cuda_graph: bool | None = None,
    ) -> None:
        super().__init__(gradient_clip_norm, learning_rate_decay_steps)
        self.save_hyperparameters(ignore=["discriminator_optimizer", "generator_optimizer"])
        check_range(label_smoothing=(label_smoothing, 0.0, 1.0))
        check_at_least(
            instance_noise_std=(instance_noise_std, 0),
            instance_noise_steps=(instance_noise_steps, 0),
            r1_weight=(r1_weight, 0),
            num_discriminator_updates=(num_discriminator_updates, 1),
            num_generator_updates=(num_generator_updates, 1),
        )
        check_choice(generator_loss=(generator_loss, GENERATOR_LOSSES))
        # Of categories against classes; and what Morphometrics says of continuous codes.
        self.code_scores: CodeScores | None = None
        self.code_captions: dict[str, str] = {}
        self.latents = LatentSpec(noise_dim, tuple(codes), noise_distribution)
        self.image_shape = (image_channels, image_size, image_size)
        self.networks = networks or ReferenceNetworks()
        of_d, of_g = discriminator_optimizer or adam(2e-4), generator_optimizer or adam(1e-3)
        self.discriminator_optimizer = usable("discriminator_optimizer", of_d)
        self.generator_optimizer = usable("generator_optimizer", of_g)
        self.adversarial_generator_loss = GENERATOR_LOSSES[generator_loss]
        self.discriminator_augmentation = discriminator_augmentation
        self.label_smoothing, self.r1_weight = label_smoothing, r1_weight
        self.instance_noise_std = instance_noise_std
        self.instance_noise_steps = instance_noise_steps
        self.num_discriminator_updates = num_discriminator_updates
        self.num_generator_updates = num_generator_updates
        self.cuda_graph = cuda_graph
        sizes = {"image_channels": image_channels, "image_size": image_size, "noise_dim": noise_dim}
        with names_sizes(**sizes, codes=[code.dim for code in codes]):
            self.generator: nn.Module = self.networks.generator(self.latents.dim, self.image_shape)
            self.discriminator: Discriminator = self.networks.discriminator(self.image_shape)
        # A tensor, since a captured graph would keep a number of the batch it was captured in.
        self.register_buffer("noise_std", torch.tensor(float(instance_noise_std)), persistent=False)
        self.has_instance_noise = instance_noise_std > 0
        # For speed alone: convolutions then need no copy in another order of the pixels.
        self.to(memory_format=torch.channels_last)

    # ---- hooks ---------------------------------------------------------------------------------

    def further_views(self, real: Tensor, fake: Tensor) -> tuple[View, ...]:
        """Return more images for the trunk to see, for the information term alone."""
        return ()

    @abstractmethod
    def discriminator_information_loss(
        self, latent: Tensor, real_features: Tensor, fake_features: Tensor, *views: SeenView
    ) -> Tensor | float:
        """Return the information term of D's and Q's loss; views are those of `further_views`."""

    @abstractmethod
    def generator_information_loss(self, latent: Tensor, fake_features: Tensor) -> Tensor | float:
        """Return the information term of the generator's loss."""

    def discriminator_parameters(self) -> Iterator[torch.nn.Parameter]:
        """Return what the discriminator's optimizer updates."""
        return self.discriminator.parameters()

    @property
    def category_order(self) -> dict[int, list[int]]:
        """Return, by position of the code, its categories in the order of their classes."""
        return {} if self.code_scores is None else self.code_scores.order

    @property
    def category_meanings(self) -> dict[int, list[str]]:
        """Return, by position of the code, the class that each of its categories names."""
        return {} if self.code_scores is None else self.code_scores.meanings

    def score_codes(self, stage: str, features: Tensor, factors: Tensor) -> None:  # noqa: B027
        """Compare the codes that Q reads from held-out images to their true factors."""

    # ---- the game ------------------------------------------------------------------------------

    @final
    def training_step(self, batch: Tensor | Sequence[Tensor], batch_idx: int) -> None:
        """Update D (with Q), then G, on one batch of real images in [0, 1]."""
        real, _ = self.delivered(batch, batch_idx)
        if self.instance_noise_std > 0:
            std = linear_decay(self.instance_noise_std, self.global_step, self.instance_noise_steps)
            self.noise_std.fill_(std)
            self.has_instance_noise = std > 0
        if self.graph is None:
            self.update_both(real)
        else:
            self.scalars = dict(self.graph.run(real, key=self.has_instance_noise))
        self.advance_global_step()
        self.log_scalars(len(real))

    @final
    def update_both(self, real: Tensor) -> dict[str, Tensor]:
        """Run a batch's updates; return what they record, by name."""
        discriminator_optimizer, generator_optimizer = self.trainer.optimizers
        for _ in range(self.num_discriminator_updates):
            with self.update(discriminator_optimizer) as minimize:
                minimize(self.discriminator_objective(real))
        for _ in range(self.num_generator_updates):
            with self.update(generator_optimizer) as minimize:
                minimize(self.generator_objective(len(real)))
        return self.scalars

    @final
    def discriminator_objective(self, real: Tensor) -> Tensor:
        """Return D's loss on one batch: -V(D, G) of equation 1 and the information term."""
        latent = self.latents.sample(len(real), self.device)
        with torch.no_grad():
            fake = self.generator(latent)
        views = self.further_views(real, fake)
        # Detached, so that the penalty's gradient does not stay on the loader's own tensor.
        real = self.perturb(real).detach().requires_grad_(self.r1_weight > 0)
        seen = [real, self.perturb(fake), *(self.perturb(view.images) for view in views)]
        real_features, fake_features, *view_features = self.discriminator.trunk(*seen)
        logits = self.discriminator.logits(torch.cat([real_features, fake_features]))
        real_logits, fake_logits = logits.split(len(real))
        adversarial = discriminator_loss(real_logits, fake_logits, self.label_smoothing)
        self.record(
            discriminator_loss=adversarial,
            d_real=real_logits.sigmoid().mean(),
            d_fake=fake_logits.sigmoid().mean(),
            jsd=jensen_shannon_estimate(real_logits, fake_logits),
        )
        penalty = self.r1_weight * r1_penalty(real_logits, real) if self.r1_weight > 0 else 0.0
        seen_views = map(SeenView, view_features, (view.amounts for view in views))
        information = self.discriminator_information_loss(
            latent, real_features, fake_features, *seen_views
        )
        return adversarial + penalty + information

    @final
    def generator_objective(self, num_images: int) -> Tensor:
        """Return G's loss on fresh latents: its side of equation 1 and the information term."""
        latent = self.latents.sample(num_images, self.device)
        (fake_features,) = self.discriminator.trunk(self.perturb(self.generator(latent)))
        adversarial = self.adversarial_generator_loss(self.discriminator.logits(fake_features))
        self.record(generator_loss=adversarial)
        return adversarial + self.generator_information_loss(latent, fake_features)

    @final
    def perturb(self, images: Tensor) -> Tensor:
        """Return D's input: the images, augmented, with the instance noise of the current step."""
        if self.discriminator_augmentation is not None:
            images = self.discriminator_augmentation(images)
        return add_instance_noise(images, self.noise_std) if self.has_instance_noise else images

    # ---- manual optimization -------------------------------------------------------------------

    @final
    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        """Return D's optimizer (with Q's parameters), then G's."""
        of_discriminator = self.discriminator_optimizer(self.discriminator_parameters())
        return [of_discriminator, self.generator_optimizer(self.generator.parameters())]

    def on_fit_start(self) -> None:
        """Fix the run's seed and check that the data fits the networks."""
        super().on_fit_start()
        check_data(data_of(self.trainer), self.image_shape)
        # For speed alone: everything works, slower, without that folder.
        if self.device.type == "cpu" and find_spec("infogan.kernels") is not None:
            import_module("infogan.kernels").accelerate(self)

    def on_train_start(self) -> None:
        """Decide whether the updates are captured, now that the optimizers are there."""
        super().on_train_start()
        self.graph = graph_of(self.update_both, self.cuda_graph, self.trainer, self.device)

    def on_train_end(self) -> None:
        """Let the graph go, and with it the memory that it holds."""
        self.graph = None

    # ---- evaluation and logs -------------------------------------------------------------------

    @final
    def validation_step(self, batch: Sequence[Tensor], batch_idx: int) -> Evaluated:
        """Score held-out images, and hand the trunk's features of them to the callbacks."""
        return self.evaluate("val", *self.delivered(batch, batch_idx))

    @final
    def test_step(self, batch: Sequence[Tensor], batch_idx: int) -> Evaluated:
        """Score the test images as in validation."""
        return self.evaluate("test", *self.delivered(batch, batch_idx))

    def delivered(self, batch: Tensor | Sequence[Tensor], batch_idx: int) -> tuple[Tensor, Tensor]:
        """Return the images and factors of a loader's batch; the first one of many is checked."""
        images, factors = images_and_factors(batch, self.image_shape if batch_idx == 0 else None)
        return images.to(self.dtype), factors

    def evaluate(self, stage: str, images: Tensor, factors: Tensor) -> Evaluated:
        """Log D's mean probability on held-out images, score the codes, return the features."""
        (features,) = self.discriminator.trunk(images)
        d_real = self.discriminator.logits(features).sigmoid().mean()
        self.log(f"{stage}/d_real", d_real, batch_size=len(images), sync_dist=True)
        self.score_codes(stage, features, factors)
        # Callbacks run outside of autocast.
        return Evaluated(features=features.to(self.dtype))

    def generate(self, latent: Tensor) -> Tensor:
        """Return G(z, c): images (batch, channels, side, side) in [0, 1]."""
        return self.generator(latent.to(self.device).to(self.dtype))

    forward = generate


class VanillaGANModule(GANModule):
    """A GAN without an information term; codes only widen G's input (sections 5.5 and 5.6)."""

    def discriminator_information_loss(
        self, latent: Tensor, real_features: Tensor, fake_features: Tensor, *views: SeenView
    ) -> float:
        return 0.0

    def generator_information_loss(self, latent: Tensor, fake_features: Tensor) -> float:
        return 0.0
