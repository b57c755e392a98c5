"""InfoGAN (equation 3) and its variants: which images Q reads, and who receives the gradient."""

from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from infogan.data import data_of
from infogan.errors import check_at_least
from infogan.latents import CategoricalCode, CodeReading, LatentCode, posterior_probabilities
from infogan.metrics.codes import CodeScores
from infogan.modules.gan import GANModule
from infogan.objectives import Information, code_information
from infogan.terms import Clustering, CodeTerm, HessianPenalty, RealReadings, SeenView, View

Receiver = Literal["generator", "trunk", "head"]


class InfoGANModule(GANModule):
    """InfoGAN: V(D, G) - mi_weight * L_I(G, Q), equation 3 with g = G(z, c).

    Args:
        codes: The latent codes c that Q reads back; at least one.
        mi_weight: lambda of equation 3.
        mi_gradient_to: Who receives the gradient of the information term: `generator`, the shared
            `trunk`, Q's `head`. The original gives it to all three.
        terms: Further terms of the losses, such as Clustering; they combine.
        **kwargs: See GANModule.

    Raises:
        ValueError: If there is no code, an option is out of range or a term does not fit the codes.
    """

    def __init__(
        self,
        codes: list[LatentCode],
        mi_weight: float = 1.0,
        mi_gradient_to: tuple[Receiver, ...] = ("generator", "trunk", "head"),
        terms: list[CodeTerm] | None = None,
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
        self.terms = tuple(terms or ())
        for term in self.terms:
            term.check(self.latents)
        self.mi_weight = mi_weight
        self.mi_gradient_to = frozenset(mi_gradient_to)
        self.recognition_head = self.networks.recognition_head(
            self.discriminator.trunk.feature_dim, self.latents.num_parameters
        )
        self.recognition_head.requires_grad_("head" in self.mi_gradient_to)
        discrete = torch.tensor([code.is_discrete for code in codes])
        # On the device, so that no step copies it there.
        self.is_discrete: Tensor
        self.register_buffer("is_discrete", discrete, persistent=False)

    def setup(self, stage: str) -> None:
        """Prepare the scores of the categorical codes against the data's discrete factors."""
        categories = {
            i: code.num_categories
            for i, code in enumerate(self.latents.codes)
            if isinstance(code, CategoricalCode)
        }
        classes = data_of(self.trainer).discrete_factors
        self.code_scores = CodeScores(categories, classes) if categories and classes else None

    def recognize(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return Q's posterior parameters by code, (batch, code.num_parameters) each."""
        (features,) = self.discriminator.trunk(images.to(self.dtype))
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

    def further_views(self, real: Tensor, fake: Tensor) -> tuple[View, ...]:
        """Return the views of all terms, one after the other."""
        return tuple(chain.from_iterable(term.views(real, fake) for term in self.terms))

    def discriminator_information_loss(
        self, latent: Tensor, real_features: Tensor, fake_features: Tensor, *views: SeenView
    ) -> Tensor:
        """Return -lambda L_I(G, Q) and the terms, for Q's head and, if a receiver, the trunk."""
        readings, rest = RealReadings(self, latent, real_features), iter(views)
        further = [
            term.discriminator_loss(readings, list(islice(rest, term.num_views)))
            for term in self.terms
        ]
        return self.code_loss(latent, real_features, fake_features) + sum(further)

    def code_loss(self, latent: Tensor, real_features: Tensor, fake_features: Tensor) -> Tensor:
        """Return -lambda L_I(G, Q) for D's update: g = G(z, c)."""
        return self.information_loss(latent, self.limit_to_receivers(fake_features))

    def generator_information_loss(self, latent: Tensor, fake_features: Tensor) -> Tensor | float:
        """Return -lambda L_I(G, Q), if the generator is a receiver, and the terms."""
        further = sum(term.generator_loss(self, latent) for term in self.terms)
        if "generator" not in self.mi_gradient_to:
            return further
        return self.information_loss(latent, fake_features) + further

    def read(self, features: Tensor) -> tuple[Tensor, ...]:
        """Return Q's posterior parameters by code, for the update of D and Q."""
        return self.recognize_features(self.limit_to_receivers(features))

    def limit_to_receivers(self, features: Tensor) -> Tensor:
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
        bound = information.lower_bound.detach()
        self.record(
            mi=bound.sum(),
            mi_categorical=bound.where(self.is_discrete, 0.0).sum(),
            mi_continuous=bound.where(~self.is_discrete, 0.0).sum(),
            mi_gaussian_prior=information.gaussian_prior_estimate.sum(),
            code_entropy=information.entropy.sum(),
            cross_entropy=information.cross_entropy.sum(),
        )

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

    def predict_step(self, batch: Any, batch_idx: int) -> CodeReading:
        """Return what Q reads from each image of a batch, with or without factors."""
        images, _ = self.delivered(batch, batch_idx)
        parameters = self.recognize(images)
        probabilities = (
            posterior_probabilities(code, of_code) if code.is_discrete else None
            for code, of_code in zip(self.latents.codes, parameters, strict=True)
        )
        return CodeReading(self.posterior_modes(parameters), tuple(probabilities))


class EncoderLossModule(InfoGANModule):
    """Appendix C: minimise Q's loss -log Q(c|g) in place of maximising the bound.

    The two differ by the constant H(c), so the gradient is the same.
    """

    def information_objective(self, information: Information) -> Tensor:
        """Return Q's cross entropy."""
        return information.cross_entropy.sum()


class ThoughtExperimentModule(InfoGANModule):
    """Section 5.4: I(c; x), with Q reading the code from real images, g = x.

    The codes and the real images are independent, so no Q can lift the bound above 0 in
    expectation. The generator has no part in x, and receives no gradient from it.
    """

    def code_loss(self, latent: Tensor, real_features: Tensor, fake_features: Tensor) -> Tensor:
        """Return -lambda times the bound on I(c; x), read from the real images."""
        return self.information_loss(latent, self.limit_to_receivers(real_features))

    def generator_information_loss(self, latent: Tensor, fake_features: Tensor) -> Tensor | float:
        """Return the terms alone: x does not depend on the generator."""
        return sum(term.generator_loss(self, latent) for term in self.terms)

    def score_codes(self, stage: str, features: Tensor, factors: Tensor) -> None:
        """Log the bound on I(c; x) in nats, for codes drawn beside held-out images."""
        super().score_codes(stage, features, factors)
        latent = self.latents.sample(len(features), self.device)
        bound = code_information(self.latents, latent, self.recognition_head(features)).lower_bound
        scores = {
            "mi_real": bound.sum(),
            "mi_real_categorical": bound.where(self.is_discrete, 0.0).sum(),
        }
        scores = {f"{stage}/{name}": value for name, value in scores.items()}
        self.log_dict(scores, batch_size=len(features), sync_dist=True)


class ClusteringInfoGANModule(InfoGANModule):
    """InfoGAN with the term Clustering.

    Args:
        codes: The latent codes c that Q reads back; at least one categorical.
        clustering_weight: Weight of the clustering loss.
        balance_weight: Weight, within it, of the entropy of the mean reading.
        terms: Further terms of the losses.
        **kwargs: See InfoGANModule.
    """

    def __init__(
        self,
        codes: list[LatentCode],
        clustering_weight: float = 0.3,
        balance_weight: float = 2.0,
        terms: list[CodeTerm] | None = None,
        **kwargs: Any,
    ) -> None:
        clustering = Clustering(clustering_weight, balance_weight)
        super().__init__(codes=codes, terms=[clustering, *(terms or [])], **kwargs)


class HessianPenaltyInfoGANModule(InfoGANModule):
    """InfoGAN with the term HessianPenalty.

    Args:
        codes: The latent codes c that Q reads back; at least two.
        hessian_penalty_weight: Weight of the penalty in the generator's loss.
        terms: Further terms of the losses.
        **kwargs: See InfoGANModule.
    """

    def __init__(
        self,
        codes: list[LatentCode],
        hessian_penalty_weight: float = 10.0,
        terms: list[CodeTerm] | None = None,
        **kwargs: Any,
    ) -> None:
        penalty = HessianPenalty(hessian_penalty_weight)
        super().__init__(codes=codes, terms=[penalty, *(terms or [])], **kwargs)
