"""The fast training step against the two updates written out plainly from the paper."""

import copy
from collections.abc import Callable, Iterable
from functools import partial
from itertools import chain, combinations
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.distributions import Bernoulli, Distribution, Independent, Normal, OneHotCategorical

from infogan.differentiable_augmentation import RandomAffine
from infogan.latents import (
    BernoulliCode,
    CategoricalCode,
    ContinuousCode,
    LatentCode,
    NormalCode,
    UniformCode,
)
from infogan.modules import (
    ClusteringInfoGANModule,
    EncoderLossModule,
    GANModule,
    HessianPenaltyInfoGANModule,
    InfoGANModule,
    ThoughtExperimentModule,
    VanillaGANModule,
)
from infogan.terms import Clustering, CodeTerm, HessianPenalty, OrthogonalJacobian

SEED = 7  # as in conftest
RATE = 0.01
Gradients = dict[str, Tensor]

ALL_CODES = [CategoricalCode(4), UniformCode(), BernoulliCode(0.3), NormalCode(posterior_std=0.5)]
SHEARED = RandomAffine(degrees=0, shear=0.5)
LEARNED_STD = [CategoricalCode(3), UniformCode(learn_std=True, min_std=0.99, max_std=1.02)]
RECEIVERS = ("generator", "trunk", "head")
SUBSETS = list(chain.from_iterable(combinations(RECEIVERS, size) for size in range(4)))


def q(code: LatentCode, parameters: Tensor) -> Distribution:
    """Return Q(c|x) as a distribution over (batch, dim)."""
    if isinstance(code, CategoricalCode):
        return OneHotCategorical(logits=parameters)
    if isinstance(code, BernoulliCode):
        return Independent(Bernoulli(logits=parameters), 1)
    assert isinstance(code, ContinuousCode)
    std = torch.full_like(parameters[:, :1], code.posterior_std)
    if code.learn_std:
        std = parameters[:, 1:].exp().clamp(code.min_std, code.max_std)
    return Independent(Normal(parameters[:, :1], std), 1)


class PaperTraining:
    """Both updates, with probabilities, one pass a batch of images, and plain gradient descent."""

    def __init__(self, module: GANModule) -> None:
        self.module = copy.deepcopy(module).double().train()
        self.discriminator: Any = self.module.discriminator
        self.recognition_head: Any = getattr(self.module, "recognition_head", None)
        self.terms: tuple[CodeTerm, ...] = getattr(self.module, "terms", ())
        self.gradients: list[Gradients] = []

    def train(self, batches: Iterable[Tensor]) -> None:
        """Run the updates of every batch, each from the random state of its step."""
        for step, images in enumerate(batches):
            seed = np.random.SeedSequence([SEED, 0, step]).generate_state(1)[0]
            torch.manual_seed(int(seed))
            steps = self.module.instance_noise_steps
            left = max(0, 1 - step / steps) if steps else 1
            self.noise_std = self.module.instance_noise_std * left
            for _ in range(self.module.num_discriminator_updates):
                self.update_discriminator(images.double())
            for _ in range(self.module.num_generator_updates):
                self.update_generator(len(images))

    def noisy(self, images: Tensor) -> Tensor:
        """Return D's input."""
        if self.module.discriminator_augmentation is not None:
            images = self.module.discriminator_augmentation(images)
        if self.noise_std == 0:
            return images
        return images + self.noise_std * torch.randn_like(images)

    def probability(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return D(x), and the features that it saw."""
        (features,) = self.discriminator.trunk(images)
        return self.discriminator.head(features).sigmoid(), features

    def bound(self, latent: Tensor, features: Tensor) -> Tensor:
        """Return L_I(G, Q) less the constant H(c): E[log Q(c|x)]."""
        assert isinstance(self.module, InfoGANModule)
        parameters = self.module.recognition_head(features)
        total = torch.zeros(())
        latent = latent[:, self.module.latents.noise_dim :]
        for code in self.module.latents.codes:
            c, latent = latent[:, : code.dim], latent[:, code.dim :]
            own, parameters = (
                parameters[:, : code.num_parameters],
                parameters[:, code.num_parameters :],
            )
            total = total + q(code, own).log_prob(c).mean()
        return total

    def clustering(self, term: Clustering, features: Tensor, view_features: Tensor) -> Tensor:
        """Return the clustering loss of a single categorical code that comes first."""
        num_categories = self.module.latents.codes[0].dim
        p, view = (
            self.recognition_head(f)[:, :num_categories].softmax(dim=1)
            for f in (features, view_features)
        )
        agreement = -(p[: len(view)].detach() * view.log()).sum(dim=1).mean()
        uncertainty = -(p * p.log()).sum(dim=1).mean()
        balance = -(p.mean(dim=0) * p.mean(dim=0).log()).sum()
        return term.weight * (agreement + uncertainty - term.balance_weight * balance)

    def crossing(self, term: HessianPenalty, latent: Tensor) -> Tensor:
        """Return the weighted mean square of G's mixed differences in two codes."""
        codes = self.module.latents.codes
        latent = latent[: len(latent) // 4]
        drawn = [code.sample(len(latent), "cpu") for code in codes]
        ranks = torch.rand(len(codes)).argsort().tolist()
        corners = [latent.clone() for _ in range(4)]
        for index, changed in ((ranks.index(0), (1, 3)), (ranks.index(1), (2, 3))):
            columns = self.module.latents.columns(index)
            for corner in changed:
                corners[corner][:, columns] = drawn[index]
        g = self.module.generator(torch.cat(corners)).unflatten(0, (4, len(latent)))
        return term.weight * (g[0] - g[1] - g[2] + g[3]).pow(2).mean()

    def jacobian(self, term: OrthogonalJacobian, latent: Tensor) -> Tensor:
        """Return the weighted squared cosine of G's changes by each pair of continuous codes."""
        codes = self.module.latents.codes
        latent = latent[: len(latent) // 4]
        columns = [
            self.module.latents.columns(i).start
            for i, code in enumerate(codes)
            if isinstance(code, ContinuousCode)
        ]
        moved = [latent.clone() for _ in columns]
        for one, column in zip(moved, columns, strict=True):
            towards_0 = torch.where(one[:, column] > 0, -term.step, term.step)
            one[:, column] += towards_0
        start, *ends = self.module.generator(torch.cat([latent, *moved])).chunk(len(moved) + 1)
        cosines = [
            torch.cosine_similarity((a - start).flatten(1), (b - start).flatten(1))
            for a, b in combinations(ends, 2)
        ]
        return term.weight * torch.stack(cosines).pow(2).mean()

    def information_gradients(self, bound: Tensor, receiver: str) -> Gradients:
        """Return the gradient of -lambda L_I for one receiver's parameters."""
        assert isinstance(self.module, InfoGANModule)
        prefix = {"trunk": "discriminator.trunk.", "head": "recognition_head."}.get(
            receiver, "generator."
        )
        loss = -self.module.mi_weight * bound
        return self.gradients_of(loss, prefix)

    def gradients_of(self, loss: Tensor, prefix: str) -> Gradients:
        """Return the gradients of the parameters whose name starts so."""
        named = {n: p for n, p in self.module.named_parameters() if n.startswith(prefix)}
        grads = torch.autograd.grad(loss, list(named.values()), retain_graph=True)
        return dict(zip(named, grads, strict=True))

    def update_discriminator(self, real: Tensor) -> None:
        """Ascend V(D, G) of equation 1 for D, and L_I for the trunk and Q."""
        module = self.module
        latent = module.latents.sample(len(real))
        fake = module.generator(latent).detach()
        views: dict[CodeTerm, Tensor] = {}
        for term in self.terms:
            if isinstance(term, Clustering):
                half = real[: len(real) // 2]
                views[term] = term.augmentation(half) if term.augmentation else half
        real = self.noisy(real).requires_grad_()
        fake = self.noisy(fake)
        d_real, real_features = self.probability(real)
        d_fake, fake_features = self.probability(fake)
        a = 1 - module.label_smoothing
        loss = -(a * d_real.log() + (1 - a) * (1 - d_real).log()).mean()
        loss = loss - (1 - d_fake).log().mean()
        if module.r1_weight:
            logit = (d_real / (1 - d_real)).log()
            (slope,) = torch.autograd.grad(logit.sum(), real, create_graph=True)
            loss = loss + module.r1_weight / 2 * slope.pow(2).sum(dim=(1, 2, 3)).mean()
        gradients = self.gradients_of(loss, "discriminator.")
        for term, view in views.items():
            assert isinstance(term, Clustering)
            view_features = self.probability(self.noisy(view))[1]
            clustering = self.clustering(term, real_features, view_features)
            for prefix in ("discriminator.trunk.", "recognition_head."):
                for name, gradient in self.gradients_of(clustering, prefix).items():
                    gradients[name] = gradients.get(name, 0) + gradient
        if isinstance(module, InfoGANModule):
            thought = isinstance(module, ThoughtExperimentModule)
            bound = self.bound(latent, real_features if thought else fake_features)
            for receiver in module.mi_gradient_to & {"trunk", "head"}:
                for name, gradient in self.information_gradients(bound, receiver).items():
                    gradients[name] = gradients.get(name, 0) + gradient
        self.descend(gradients)

    def update_generator(self, num_images: int) -> None:
        """Descend the generator's loss, less L_I."""
        module = self.module
        latent = module.latents.sample(num_images)
        d_fake, features = self.probability(self.noisy(module.generator(latent)))
        minimax = module.hparams["generator_loss"] == "minimax"
        loss = (1 - d_fake).log().mean() if minimax else -d_fake.log().mean()
        gradients = self.gradients_of(loss, "generator.")
        for term in self.terms:
            if isinstance(term, HessianPenalty):
                loss = self.crossing(term, latent)
            elif isinstance(term, OrthogonalJacobian):
                loss = self.jacobian(term, latent)
            else:
                continue
            for name, gradient in self.gradients_of(loss, "generator.").items():
                gradients[name] = gradients[name] + gradient
        informed = isinstance(module, InfoGANModule) and "generator" in module.mi_gradient_to
        if informed and not isinstance(module, ThoughtExperimentModule):
            bound = self.bound(latent, features)
            for name, gradient in self.information_gradients(bound, "generator").items():
                gradients[name] = gradients[name] + gradient
        self.descend(gradients)

    def descend(self, gradients: Gradients) -> None:
        """Take one step of gradient descent."""
        self.gradients.append(gradients)
        with torch.no_grad():
            for name, gradient in gradients.items():
                self.module.get_parameter(name).sub_(RATE * gradient)


CASES: dict[str, tuple[type[GANModule], dict[str, Any]]] = {
    "default": (InfoGANModule, {}),
    "vanilla": (VanillaGANModule, {}),
    "all kinds of codes": (InfoGANModule, {"codes": ALL_CODES, "mi_weight": 0.3}),
    "no noise dimensions": (InfoGANModule, {"codes": [CategoricalCode(8)], "noise_dim": 0}),
    "RGB": (InfoGANModule, {"image_channels": 3}),
    "label smoothing": (InfoGANModule, {"label_smoothing": 0.1}),
    "R1": (InfoGANModule, {"r1_weight": 10.0}),
    "instance noise": (InfoGANModule, {"instance_noise_std": 0.2}),
    "annealed noise": (
        InfoGANModule,
        {"instance_noise_std": 0.2, "instance_noise_steps": 4, "r1_weight": 0.5},
    ),
    "augmentation": (
        InfoGANModule,
        {"discriminator_augmentation": RandomAffine(), "instance_noise_std": 0.1},
    ),
    "clustering": (
        ClusteringInfoGANModule,
        {"discriminator_augmentation": RandomAffine(), "clustering_weight": 0.7},
    ),
    "Hessian penalty": (
        HessianPenaltyInfoGANModule,
        {"codes": ALL_CODES, "hessian_penalty_weight": 20.0, "instance_noise_std": 0.1},
    ),
    "orthogonal Jacobian": (
        InfoGANModule,
        {"codes": [*ALL_CODES, UniformCode()], "terms": [OrthogonalJacobian(2.0, 0.1)]},
    ),
    "terms together": (
        InfoGANModule,
        {
            "codes": ALL_CODES,
            "terms": [HessianPenalty(20.0), OrthogonalJacobian(), Clustering(0.2, 1, SHEARED)],
            "discriminator_augmentation": RandomAffine(degrees=0),
        },
    ),
    "minimax": (InfoGANModule, {"generator_loss": "minimax"}),
    "several updates": (
        InfoGANModule,
        {"num_discriminator_updates": 2, "num_generator_updates": 3},
    ),
    "encoder loss": (EncoderLossModule, {"codes": ALL_CODES}),
    "thought experiment": (ThoughtExperimentModule, {}),
    "learned std": (InfoGANModule, {"codes": LEARNED_STD}),
    **{
        f"information for {' and '.join(subset) or 'none'}": (
            InfoGANModule,
            {"mi_gradient_to": subset, "mi_weight": 2.0},
        )
        for subset in SUBSETS
    },
}


@pytest.mark.parametrize("name", CASES)
def test_training_equals_the_papers(
    name: str,
    float64: None,
    build: Callable[..., GANModule],
    batches: Callable[..., list[Tensor]],
    gradients: Callable[..., list[Gradients]],
) -> None:
    """In two batches every update's gradients, and all weights and statistics, are the paper's."""
    kind, arguments = CASES[name]
    descend = partial(torch.optim.SGD, lr=RATE)
    module = build(kind, discriminator_optimizer=descend, generator_optimizer=descend, **arguments)
    images = batches(2, size=8, shape=module.image_shape)
    paper = PaperTraining(module)
    paper.train(images)
    found = gradients(module, images, precision="64-true")
    assert len(found) == len(paper.gradients)
    for update, expected in zip(found, paper.gradients, strict=True):
        assert update.keys() == expected.keys()
        for parameter, gradient in expected.items():
            error = (update[parameter] - gradient).abs().max()
            assert error < 1e-10, parameter
    torch.testing.assert_close(module.state_dict(), paper.module.state_dict(), rtol=0, atol=1e-10)
