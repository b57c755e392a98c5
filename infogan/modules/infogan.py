"""InfoGAN (equation 3) and its variants: which images Q reads, and who receives the gradient."""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from infogan.errors import check_at_least
from infogan.latents import CategoricalCode, LatentCode
from infogan.metrics.codes import CodeScores
from infogan.modules.gan import GANModule
from infogan.objectives import Information, clustering_loss, code_information
from infogan.regularizers import mixed_difference_penalty

Receiver = Literal["generator", "trunk", "head"]


class InfoGANModule(GANModule):
    """InfoGAN: V(D, G) - mi_weight * L_I(G, Q), equation 3 with g = G(z, c).

    Args:
        codes: The latent codes c that Q reads back; at least one.
        mi_weight: lambda of equation 3.
        mi_gradient_to: Who receives the gradient of the information term: `generator`, the shared
            `trunk`, Q's `head`. The original gives it to all three.
        **kwargs: See GANModule.
    """

    def __init__(
        self,
        codes: list[LatentCode],
        mi_weight: float = 1.0,
        mi_gradient_to: tuple[Receiver, ...] = ("generator", "trunk", "head"),
        **kwargs: Any,
    ) -> None:
        super().__init__(codes=codes, **kwargs)
        check_at_least(mi_weight=(mi_weight, 0))
        if not codes:
            raise ValueError(
                f"codes is empty with mi_weight={mi_weight}: Q has nothing to read; "
                "add a code such as CategoricalCode, or use VanillaGANModule"
            )
        if not set(mi_gradient_to) <= set(get_args(Receiver)):
            raise ValueError(
                f"mi_gradient_to={mi_gradient_to!r} must hold only {', '.join(get_args(Receiver))}"
            )
        self.mi_weight = mi_weight
        self.mi_gradient_to = frozenset(mi_gradient_to)
        self.recognition_head = self.networks.recognition_head(
            self.discriminator.trunk.feature_dim, self.latents.num_parameters
        )
        self.recognition_head.requires_grad_("head" in self.mi_gradient_to)
        self.code_scores: CodeScores | None = None

    def setup(self, stage: str) -> None:
        """Prepare the scores of the categorical codes against the data's discrete factors."""
        factors = getattr(getattr(self.trainer, "datamodule", None), "factors", ())
        categories = {
            i: code.num_categories
            for i, code in enumerate(self.latents.codes)
            if isinstance(code, CategoricalCode)
        }
        classes = {
            i: (factor.name, factor.num_values)
            for i, factor in enumerate(factors)
            if factor.num_values is not None
        }
        self.code_scores = CodeScores(categories, classes) if categories and classes else None

    @property
    def category_meanings(self) -> dict[int, list[str]]:
        """Return, by position of the code, the class that each of its categories names."""
        return {} if self.code_scores is None else self.code_scores.meanings

    def recognize(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return Q's posterior parameters by code, (batch, code.num_parameters) each."""
        (features,) = self.discriminator.trunk(images)
        return self.recognize_features(features)

    def recognize_features(self, features: Tensor) -> tuple[Tensor, ...]:
        """Return what `recognize` does, from the trunk's features of the images."""
        return self.latents.split_parameters(self.recognition_head(features))

    def posterior_modes(self, parameters: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return the most probable value of every code, (batch, code.dim) each."""
        codes = zip(self.latents.codes, parameters, strict=True)
        return tuple(code.posterior_mode(of_code) for code, of_code in codes)

    # ---- the information term ------------------------------------------------------------------

    def discriminator_parameters(self) -> Iterator[torch.nn.Parameter]:
        """Add Q's head, where it learns, to what D's optimizer updates."""
        head = self.recognition_head.parameters() if "head" in self.mi_gradient_to else ()
        return chain(self.discriminator.parameters(), head)

    def discriminator_information_loss(
        self, latent: Tensor, real_features: Tensor, fake_features: Tensor, *view_features: Tensor
    ) -> Tensor:
        """Return -lambda L_I(G, Q), for Q's head and, if it is a receiver, the trunk."""
        return self.information_loss(latent, self.for_trunk(fake_features))

    def generator_information_loss(self, latent: Tensor, fake_features: Tensor) -> Tensor | float:
        """Return -lambda L_I(G, Q), for the generator."""
        if "generator" not in self.mi_gradient_to:
            return 0.0
        return self.information_loss(latent, fake_features)

    def for_trunk(self, features: Tensor) -> Tensor:
        """Cut the gradient into the trunk unless it is a receiver."""
        return features if "trunk" in self.mi_gradient_to else features.detach()

    def information_loss(self, latent: Tensor, features: Tensor) -> Tensor:
        """Return -lambda times the bound on I(c; g), with Q reading g's features."""
        parameters = self.recognition_head(features)
        information = code_information(self.latents, latent, parameters)
        self.record_information(information)
        return self.mi_weight * self.information_objective(information)

    def information_objective(self, information: Information) -> Tensor:
        """Return what is minimised: minus the lower bound, equation 3."""
        return -information.lower_bound.sum()

    def record_information(self, information: Information) -> None:
        """Record equation 4: total, by kind of code, and as the original estimates it."""
        discrete, bound = self.is_discrete, information.lower_bound.detach()
        self.record(
            mi=bound.sum(),
            mi_categorical=bound[discrete].sum(),
            mi_continuous=bound[~discrete].sum(),
            mi_gaussian_prior=information.gaussian_prior_estimate.sum(),
            code_entropy=information.entropy.sum(),
            cross_entropy=information.cross_entropy.sum(),
        )

    @property
    def is_discrete(self) -> Tensor:
        """Return which codes are discrete, (codes,)."""
        return torch.tensor([code.is_discrete for code in self.latents.codes])

    # ---- evaluation ----------------------------------------------------------------------------

    def score_codes(self, stage: str, features: Tensor, factors: Tensor) -> None:
        """Collect the categories that Q reads from real images."""
        if self.code_scores is None:
            return
        parameters = self.recognize_features(features)
        self.code_scores.to(self.device).update([p.argmax(dim=1) for p in parameters], factors)

    def on_validation_epoch_end(self) -> None:
        """Log the codes' scores on the validation images."""
        super().on_validation_epoch_end()
        self.log_scores("val")

    def on_test_epoch_end(self) -> None:
        """Log the codes' scores on the test images."""
        self.log_scores("test")

    def log_scores(self, stage: str) -> None:
        """Log and reset the codes' scores."""
        if self.code_scores is None:
            return
        scores = {f"{stage}/{name}": value for name, value in self.code_scores.compute().items()}
        self.code_scores.reset()
        self.log_dict(scores)

    def predict_step(self, batch: Any, batch_idx: int) -> tuple[Tensor, ...]:
        """Return the most probable value of every code, (batch, code.dim) each."""
        images = batch[0] if isinstance(batch, tuple | list) else batch
        return self.posterior_modes(self.recognize(images))


class EncoderLossModule(InfoGANModule):
    """Appendix C: minimise Q's loss -log Q(c|g) in place of maximising the bound.

    The two differ by the constant H(c), so the gradient is the same.
    """

    def information_objective(self, information: Information) -> Tensor:
        """Return Q's cross entropy."""
        return information.cross_entropy.sum()


class ThoughtExperimentModule(InfoGANModule):
    """Section 5.4: I(c; x), with Q reading the code from real images, g = x.

    The codes and the real images are independent, so no Q can lift the bound above 0, and the
    generator, which has no part in x, receives nothing.
    """

    def discriminator_information_loss(
        self, latent: Tensor, real_features: Tensor, fake_features: Tensor, *view_features: Tensor
    ) -> Tensor:
        """Return -lambda times the bound on I(c; x), read from the real images."""
        return self.information_loss(latent, self.for_trunk(real_features))

    def generator_information_loss(self, latent: Tensor, fake_features: Tensor) -> float:
        """Return 0: x does not depend on the generator."""
        return 0.0

    def score_codes(self, stage: str, features: Tensor, factors: Tensor) -> None:
        """Log the bound on I(c; x) in nats, for codes drawn beside held-out images."""
        super().score_codes(stage, features, factors)
        latent = self.latents.sample(len(features), self.device)
        bound = code_information(self.latents, latent, self.recognition_head(features)).lower_bound
        scores = {"mi_real": bound.sum(), "mi_real_categorical": bound[self.is_discrete].sum()}
        scores = {f"{stage}/{name}": value for name, value in scores.items()}
        self.log_dict(scores, batch_size=len(features), sync_dist=True)


class ClusteringInfoGANModule(InfoGANModule):
    """InfoGAN whose Q also clusters the real images by its categorical codes.

    InfoGAN trains Q on generated images alone, and hopes that real ones are read likewise. Here the
    real images, too, must be read with confidence, in equal shares, and alike in two augmented
    views (Krause et al. 2010; Hu et al. 2017). It is what I(c; x) of section 5.4 can mean: c read
    from x. The prior knowledge is that classes are equally frequent and survive the augmentation.

    Args:
        codes: The latent codes c that Q reads back; at least one categorical.
        clustering_weight: Weight of the clustering loss.
        balance_weight: Weight, within it, of the entropy of the mean reading.
        **kwargs: See InfoGANModule.
    """

    def __init__(
        self,
        codes: list[LatentCode],
        clustering_weight: float = 0.3,
        balance_weight: float = 2.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(codes=codes, **kwargs)
        check_at_least(clustering_weight=(clustering_weight, 0), balance_weight=(balance_weight, 0))
        self.categorical = [i for i, c in enumerate(codes) if isinstance(c, CategoricalCode)]
        if not self.categorical:
            raise ValueError(
                "codes has no CategoricalCode to cluster by; add one or use InfoGANModule"
            )
        self.clustering_weight = clustering_weight
        self.balance_weight = balance_weight

    def further_views(self, real: Tensor) -> tuple[Tensor, ...]:
        """Show the first half of the batch a second time: half the cost, the same direction."""
        return (real[: (len(real) + 1) // 2],)

    def discriminator_information_loss(
        self, latent: Tensor, real_features: Tensor, fake_features: Tensor, *view_features: Tensor
    ) -> Tensor:
        """Return -lambda L_I(G, Q) and the weighted clustering loss of the real images."""
        first, second = (
            self.latents.split_parameters(self.recognition_head(self.for_trunk(features)))
            for features in (real_features, view_features[0])
        )
        clustering = torch.stack(
            [clustering_loss(first[i], second[i], self.balance_weight) for i in self.categorical]
        ).sum()
        self.record(clustering_loss=clustering)
        information = super().discriminator_information_loss(latent, real_features, fake_features)
        return information + self.clustering_weight * clustering


class HessianPenaltyInfoGANModule(InfoGANModule):
    """InfoGAN whose codes each change the image in a way that does not depend on the others.

    Mutual information alone lets two codes number the cells of a table jointly: any permutation of
    the cells has the same I(c; g). Here the mixed differences of G in two codes are driven to 0
    (after the Hessian penalty of Peebles et al. 2020), so that the effects of the codes add.

    Args:
        codes: The latent codes c that Q reads back; at least two.
        hessian_penalty_weight: Weight of the penalty in the generator's loss.
        **kwargs: See InfoGANModule.
    """

    def __init__(
        self, codes: list[LatentCode], hessian_penalty_weight: float = 10.0, **kwargs: Any
    ) -> None:
        super().__init__(codes=codes, **kwargs)
        check_at_least(hessian_penalty_weight=(hessian_penalty_weight, 0))
        if len(codes) < 2:
            raise ValueError(
                f"codes holds {len(codes)} code and the Hessian penalty compares two; "
                "add a code or use InfoGANModule"
            )
        self.hessian_penalty_weight = hessian_penalty_weight

    def generator_information_loss(self, latent: Tensor, fake_features: Tensor) -> Tensor:
        """Return -lambda L_I(G, Q) and the weighted penalty, on a quarter of the latents."""
        penalty = mixed_difference_penalty(*self.generate_crossed(latent[: (len(latent) + 3) // 4]))
        self.record(hessian_penalty=penalty)
        information = super().generator_information_loss(latent, fake_features)
        return information + self.hessian_penalty_weight * penalty

    def generate_crossed(self, latent: Tensor) -> tuple[Tensor, ...]:
        """Return G of the latents, and with one, the other and both of two codes drawn anew."""
        first, second = torch.randperm(len(self.latents.codes))[:2].tolist()
        corners = latent.repeat(4, 1, 1)
        for index, changed in ((first, [1, 3]), (second, [2, 3])):
            drawn = self.latents.codes[index].sample(len(latent), latent.device).to(latent)
            corners[changed, :, self.latents.columns(index)] = drawn
        return self.generator(corners.flatten(0, 1)).chunk(4)
