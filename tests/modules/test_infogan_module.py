"""The information term: who receives it, its variants, and what is read back."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import chain, combinations
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor

from infogan.latents import BernoulliCode, CategoricalCode, NormalCode, UniformCode
from infogan.modules import (
    EncoderLossModule,
    InfoGANModule,
    ThoughtExperimentModule,
    VanillaGANModule,
)

Build = Callable[..., InfoGANModule]
Batches = Callable[..., list[Tensor]]
Gradients = dict[str, Tensor]
Train = Callable[..., list[Gradients]]

RECEIVERS = {
    "generator": "generator.",
    "trunk": "discriminator.trunk.",
    "head": "recognition_head.",
}
SUBSETS = list(chain.from_iterable(combinations(RECEIVERS, size) for size in range(4)))


def still(module_arguments: dict[str, Any]) -> dict[str, Any]:
    """Keep the weights where they are, so that both updates' gradients can be compared."""
    stay = partial(torch.optim.SGD, lr=1e-300)
    return {"discriminator_optimizer": stay, "generator_optimizer": stay, **module_arguments}


@pytest.fixture
def one_batch(build: Build, batches: Batches, gradients: Train) -> Callable[..., Gradients]:
    """Return a function that gives the gradients of one batch's two updates, in float64."""

    def run(kind: type = InfoGANModule, **arguments: Any) -> Gradients:
        module = build(kind, **still(arguments))
        discriminator, generator = gradients(module, batches(), precision="64-true")
        return discriminator | generator

    return run


def received(one: Gradients, other: Gradients) -> set[str]:
    """Return the names of the parameters whose gradients differ."""
    return {
        n for n in one.keys() | other.keys() if n not in one or not torch.equal(one[n], other[n])
    }


# ---- who receives the gradient ---------------------------------------------------------------


@pytest.mark.parametrize("kind", [InfoGANModule, EncoderLossModule])
@pytest.mark.parametrize("subset", SUBSETS, ids=lambda s: "+".join(s) or "none")
def test_receivers(
    kind: type, subset: tuple[str, ...], one_batch: Callable[..., Gradients]
) -> None:
    """Exactly the named networks' gradients differ from those without the information term.

    A head that does not receive it does not train at all, and is no part of the optimizer.
    """
    informed = one_batch(kind, mi_gradient_to=subset, mi_weight=1.0)
    plain = one_batch(kind, mi_gradient_to=("generator", "trunk", "head"), mi_weight=0.0)
    heads = {name for name in plain if name.startswith(RECEIVERS["head"])}
    if "head" not in subset:
        assert not heads & informed.keys()
        plain = {name: gradient for name, gradient in plain.items() if name not in heads}
    expected = {n for n in plain if any(n.startswith(RECEIVERS[receiver]) for receiver in subset)}
    assert received(informed, plain) == expected
    assert all(name in plain for name in informed)


def test_weight_zero_is_a_vanilla_gan(one_batch: Callable[..., Gradients]) -> None:
    """With mi_weight 0, D and G have the vanilla gradients, bit for bit, and Q none."""
    plain, weightless = one_batch(VanillaGANModule), one_batch(mi_weight=0.0)
    assert plain.keys() < weightless.keys()
    for name, gradient in weightless.items():
        expected = plain.get(name, torch.zeros_like(gradient))
        assert torch.equal(gradient, expected), name


@pytest.mark.parametrize("weight", [0.1, 3.0])
def test_weight_scales_the_information_term(
    weight: float, one_batch: Callable[..., Gradients]
) -> None:
    """Gradients are linear in mi_weight."""
    none, unit, scaled = (one_batch(mi_weight=w) for w in (0.0, 1.0, weight))
    for name in none:
        expected = none[name] + weight * (unit[name] - none[name])
        torch.testing.assert_close(scaled[name], expected, rtol=0, atol=1e-10)


def test_encoder_loss_has_the_bounds_gradient(one_batch: Callable[..., Gradients]) -> None:
    """Appendix C: the losses differ by a constant, so their gradients are equal."""
    codes = [CategoricalCode(3), UniformCode(learn_std=True), BernoulliCode(0.2), NormalCode()]
    assert not received(one_batch(codes=codes), one_batch(EncoderLossModule, codes=codes))


def test_encoder_loss_is_the_bound_less_the_entropy(build: Build) -> None:
    """Appendix C: -log Q(c|g) exceeds the negated bound by H(c)."""
    latent, features = None, torch.randn(8, 1024)
    losses = []
    for kind in (InfoGANModule, EncoderLossModule):
        module = build(kind, mi_weight=0.5)
        latent = module.latents.sample(8) if latent is None else latent
        losses.append(module.information_loss(latent, features).item())
        entropy = module.latents.entropy
    assert losses[1] - losses[0] == pytest.approx(0.5 * entropy, abs=1e-5)


def test_thought_experiment_gives_the_generator_nothing(
    one_batch: Callable[..., Gradients],
) -> None:
    """Section 5.4: the generator's gradient is the vanilla one; the trunk's and Q's is not."""
    thought, plain = one_batch(ThoughtExperimentModule), one_batch(mi_weight=0.0)
    assert received(thought, plain) == {n for n in plain if not n.startswith("generator.")} - {
        "discriminator.head.weight",
        "discriminator.head.bias",
    }
    assert received(thought, one_batch())


def test_thought_experiment_reads_real_images(build: Build) -> None:
    """Q sees the real features, InfoGAN's the generated ones."""
    latent = build().latents.sample(8)
    real, fake, other = torch.randn(3, 8, 1024)

    def loss(kind: type[InfoGANModule], real: Tensor, fake: Tensor) -> float:
        module = build(kind)
        assert isinstance(module, InfoGANModule)
        return module.discriminator_information_loss(latent, real, fake).item()

    assert loss(ThoughtExperimentModule, real, fake) == loss(ThoughtExperimentModule, real, other)
    assert loss(ThoughtExperimentModule, real, fake) != loss(ThoughtExperimentModule, other, fake)
    assert loss(InfoGANModule, real, fake) == loss(InfoGANModule, other, fake)
    assert loss(InfoGANModule, real, fake) != loss(InfoGANModule, real, other)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"codes": []}, ("codes is empty", "mi_weight=1.0", "VanillaGANModule")),
        ({"mi_weight": -1.0}, ("mi_weight", "-1.0")),
        ({"mi_weight": float("nan")}, ("mi_weight", "nan")),
        ({"mi_gradient_to": ("genrator",)}, ("mi_gradient_to", "genrator", "generator, trunk")),
        ({"mi_gradient_to": "head"}, ("mi_gradient_to", "'head'")),
    ],
)
def test_impossible_settings_are_refused(
    arguments: dict[str, Any], words: tuple[str, ...], build: Build
) -> None:
    """One line names the argument and its value."""
    with pytest.raises(ValueError) as error:
        build(**arguments)
    message = str(error.value)
    assert "\n" not in message
    assert all(word in message for word in words)


# ---- what is read back -----------------------------------------------------------------------

CODES = [CategoricalCode(4), UniformCode(learn_std=True), BernoulliCode(), NormalCode()]


def test_recognize_gives_the_parameters_by_code(build: Build, batches: Batches) -> None:
    """Q's output for images is that of its head on the trunk's features, split by code."""
    module = build(codes=CODES).eval()
    (images,) = batches()
    parts = module.recognize(images)
    assert [tuple(part.shape) for part in parts] == [(16, 4), (16, 2), (16, 1), (16, 1)]
    trunk: Any = module.get_submodule("discriminator.trunk")
    expected = module.recognition_head(trunk(images)[0])
    assert torch.equal(torch.cat(parts, dim=1), expected)


@pytest.mark.filterwarnings("ignore:.*num_workers")
@pytest.mark.parametrize("with_factors", [False, True])
def test_predict_reads_every_code(
    with_factors: bool, build: Build, batches: Batches, trainer: Callable[..., pl.Trainer]
) -> None:
    """`predict` gives the most probable code values, with or without factors in the batch.

    Of discrete codes it gives all values' probabilities, too.
    """
    module = build(codes=CODES)
    images = batches(2)
    loader: Any = [(x, torch.zeros(16, 1)) if with_factors else x for x in images]
    results = trainer().predict(module, torch.utils.data.DataLoader(loader, batch_size=None))
    assert results is not None
    module.eval()
    for x, reading in zip(images, results, strict=True):
        values = reading.modes
        assert [tuple(value.shape) for value in values] == [(16, 4), (16, 1), (16, 1), (16, 1)]
        for code, value, parameters in zip(CODES, values, module.recognize(x), strict=True):
            assert torch.equal(value, code.posterior_mode(parameters))
        for code, value, shares in zip(CODES, values, reading.probabilities, strict=True):
            assert (shares is not None) == code.is_discrete
            if shares is not None:
                torch.testing.assert_close(shares.sum(dim=1), torch.ones(16))
                best = code.traverse(2)[shares.argmax(dim=1)]
                assert torch.equal(best, value)


def test_generate_gives_images(build: Build) -> None:
    """Calling the module and `generate` are G(z, c)."""
    module = build().eval()
    latent = module.latents.sample(5)
    images = module.generate(latent)
    assert images.shape == (5, 1, 8, 8)
    assert torch.equal(images, module(latent))
    assert torch.equal(images, module.generator(latent))


# ---- scores ----------------------------------------------------------------------------------


@dataclass
class Factor:
    """What a datamodule says about one factor."""

    name: str
    num_values: int | None


class Labelled(pl.LightningDataModule):
    """Images whose mean gray is their class, with a continuous factor beside it."""

    factors = (Factor("gray", None), Factor("class", 4))

    def __init__(self) -> None:
        super().__init__()
        self.classes = torch.arange(64) % 4
        self.images = (self.classes / 4)[:, None, None, None].expand(-1, 1, 8, 8)

    def val_dataloader(self) -> Any:
        """Return batches of images and factors."""
        factors = torch.stack([self.classes / 4, self.classes.float()], dim=1)
        dataset = torch.utils.data.TensorDataset(self.images, factors)
        return torch.utils.data.DataLoader(dataset, batch_size=16)

    test_dataloader = val_dataloader


class GrayReader(torch.nn.Module):
    """Stands for a trained Q: reads the class from the first feature."""

    def forward(self, features: Tensor) -> Tensor:
        """Return confident logits of a permuted class, and a continuous code."""
        category = (4 * features[:, 0]).round().long()
        logits = 9.0 * torch.nn.functional.one_hot((category + 1) % 4, 4)
        return torch.cat([logits, features[:, :1]], dim=1)


class GrayTrunk(torch.nn.Module):
    """Stands for a trained trunk: the mean gray."""

    def forward(self, *batches: Tensor) -> tuple[Tensor, ...]:
        """Return the mean gray in every feature."""
        return tuple(x.mean(dim=(1, 2, 3))[:, None].expand(-1, 1024) for x in batches)


@pytest.mark.filterwarnings("ignore:.*num_workers")
def test_codes_are_scored_against_discrete_factors(
    build: Build, trainer: Callable[..., pl.Trainer]
) -> None:
    """Validation and test score the categorical code against the discrete factor's column."""
    module = build()
    module.discriminator.add_module("trunk", GrayTrunk())
    module.recognition_head = GrayReader()
    for stage, run in (("val", trainer().validate), ("test", trainer().test)):
        (scores,) = run(module, datamodule=Labelled(), verbose=False)
        names = ["code_accuracy", "majority_accuracy", "nmi", "ari"]
        assert [scores[f"{stage}/{name}"] for name in names] == pytest.approx([1, 1, 1, 1])
        assert 0 < scores[f"{stage}/d_real"] < 1
        assert module.code_scores is not None
        assert module.code_scores.update_count == 0  # the next scores start afresh


@pytest.mark.filterwarnings("ignore:.*num_workers")
def test_the_thought_experiments_bound_is_taken_on_held_out_images(
    build: Build, trainer: Callable[..., pl.Trainer]
) -> None:
    """Section 5.4: a Q that ignores x reaches I(c; x) = 0; one that claims to know is below."""
    module = build(ThoughtExperimentModule, codes=[CategoricalCode(4), UniformCode()])
    layer: Any = module.recognition_head.parameters_layer
    torch.nn.init.zeros_(layer.weight)
    (scores,) = trainer().validate(module, datamodule=Labelled(), verbose=False)
    assert scores["val/mi_real_categorical"] == pytest.approx(0, abs=1e-5)
    assert scores["val/mi_real"] < -0.1
    with torch.no_grad():
        layer.bias[0] = 2
    (sure,) = trainer().test(module, datamodule=Labelled(), verbose=False)
    assert sure["test/mi_real_categorical"] < -0.1


@pytest.mark.filterwarnings("ignore:.*num_workers")
@pytest.mark.parametrize("codes", [[UniformCode()], [CategoricalCode(4)]])
@pytest.mark.parametrize("discrete", [False, True])
def test_scores_need_a_categorical_code_and_a_discrete_factor(
    codes: list, discrete: bool, build: Build, trainer: Callable[..., pl.Trainer]
) -> None:
    """Without either there are no scores, only D's mean probability."""
    data: Any = Labelled()
    if not discrete:
        data.factors = (Factor("gray", None), Factor("class", None))
    (scores,) = trainer().validate(build(codes=codes), datamodule=data, verbose=False)
    scored = discrete and isinstance(codes[0], CategoricalCode)
    assert ("val/code_accuracy" in scores) == scored
    assert "val/d_real" in scores


@pytest.mark.filterwarnings("ignore:.*num_workers")
def test_a_vanilla_gan_is_scored_without_codes(
    build: Build, trainer: Callable[..., pl.Trainer]
) -> None:
    """A GAN that reads no codes logs D's mean probability and the step alone."""
    module = build(VanillaGANModule)
    (scores,) = trainer().validate(module, datamodule=Labelled(), verbose=False)
    assert scores.keys() == {"val/d_real", "step"}
