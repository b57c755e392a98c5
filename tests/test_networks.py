"""The reference networks: shapes, sizes, batch statistics, normalisation and initialisation."""

import copy
from functools import partial

import jaxtyping
import pytest
import torch
from torch import Tensor, nn

from infogan.networks import (
    Discriminator,
    Generator,
    ReferenceNetworks,
    Trunk,
    check_image_shape,
)

SHAPES = [(channels, side, side) for channels in (1, 3) for side in (8, 28, 32)]


def size(module: nn.Module) -> int:
    """Return the number of parameters."""
    return sum(p.numel() for p in module.parameters())


# ---- shapes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("spectral_normalization", [False, True])
def test_shapes(shape: tuple[int, int, int], spectral_normalization: bool) -> None:
    """G, D and Q fit each other for gray and RGB images of several sides."""
    networks = ReferenceNetworks(spectral_normalization=spectral_normalization)
    generator = networks.generator(7, shape)
    discriminator = networks.discriminator(shape)
    head = networks.recognition_head(discriminator.trunk.feature_dim, 12)
    images = generator(torch.randn(3, 7))
    assert images.shape == (3, *shape)
    assert ((images > 0) & (images < 1)).all()
    (features,) = discriminator.trunk(images)
    assert features.shape == (3, 1024)
    assert discriminator(images).shape == (3, 1)
    assert head(features).shape == (3, 12)


def test_reference_sizes() -> None:
    """At 28x28, with 62 noise dimensions and the paper's codes, the networks have their sizes."""
    networks = ReferenceNetworks()
    generator = networks.generator(62 + 10 + 2, (1, 28, 28))
    dense = 74 * 1024 + 2 * 1024 + 1024 * 7 * 7 * 128 + 2 * 7 * 7 * 128
    assert size(generator) == dense + 128 * 64 * 16 + 2 * 64 + 64 * 16 + 1
    discriminator = networks.discriminator((1, 28, 28))
    trunk = (64 * 16 + 64) + (64 * 128 * 16 + 2 * 128) + (7 * 7 * 128 * 1024 + 2 * 1024)
    assert size(discriminator.trunk) == trunk
    assert size(discriminator) == trunk + 1024 + 1
    head = networks.recognition_head(1024, 10 + 2)
    assert size(head) == 1024 * 128 + 2 * 128 + 128 * 12 + 12


def test_leaky_slope_reaches_the_trunk_and_the_head() -> None:
    """The slope is the factor of negative inputs, in D and in Q."""
    for slope in (0.01, 0.1):
        networks = ReferenceNetworks(leaky_slope=slope)
        trunk = networks.discriminator((1, 8, 8)).trunk.eval()
        with torch.no_grad():
            for name in ("norm2", "norm3"):
                trunk.get_parameter(f"{name}.weight").zero_()
                trunk.get_parameter(f"{name}.bias").fill_(-1.0)
        torch.testing.assert_close(trunk(torch.rand(2, 1, 8, 8))[0], torch.full((2, 1024), -slope))
        head = networks.recognition_head(4, 3).eval()
        with torch.no_grad():
            head.norm.weight.zero_()
            head.norm.bias.fill_(-1.0)
            head.parameters_layer.weight.fill_(1.0)
        torch.testing.assert_close(head(torch.rand(2, 4)), torch.full((2, 3), -128 * slope))


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((0, 28, 28), ("image_channels", "0")),
        ((1, 28, 32), ("image_size", "28")),
        ((1, 30, 30), ("image_size", "30", "28 or 32")),
        ((1, 2, 2), ("image_size", "2")),
        ((1, 0, 0), ("image_size", "0")),
        ((1, -4, -4), ("image_size", "-4")),
    ],
)
def test_bad_shapes_are_refused(shape: tuple[int, int, int], words: tuple[str, ...]) -> None:
    """One line names the argument and its value, in all that take a shape."""
    networks = ReferenceNetworks()
    for make in (
        lambda: check_image_shape(shape),
        lambda: networks.generator(5, shape),
        lambda: networks.discriminator(shape),
    ):
        with pytest.raises(ValueError) as error:
            make()
        message = str(error.value)
        assert "\n" not in message
        assert all(word in message for word in words)


def test_an_unknown_output_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A misspelt output does not pass for a sigmoid, where no type checker runs."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    unknown: dict = {"generator_output": "binry"}
    with pytest.raises(ValueError, match="generator_output must be .*'binary', got 'binry'"):
        ReferenceNetworks(**unknown)


# ---- the trunk on several batches ------------------------------------------------------------


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("sizes", [(6, 6), (5, 3, 4)])
def test_one_pass_equals_separate_passes(normalize: bool, sizes: tuple[int, ...]) -> None:
    """Batches that go together give the features, gradients and statistics of each alone."""
    together = Trunk((1, 8, 8), normalize=normalize).double()
    alone = copy.deepcopy(together)
    batches = [
        (scale * torch.rand(n, 1, 8, 8, dtype=torch.float64)).requires_grad_()
        for scale, n in enumerate(sizes, start=1)
    ]
    copies = [batch.detach().clone().requires_grad_() for batch in batches]
    joint = together(*batches)
    separate = [alone(batch)[0] for batch in copies]
    weights = [torch.randn_like(features) for features in joint]
    sum((f * w).sum() for f, w in zip(joint, weights, strict=True)).backward()
    sum((f * w).sum() for f, w in zip(separate, weights, strict=True)).backward()
    close = partial(torch.testing.assert_close, rtol=1e-9, atol=1e-10)
    for one, other in zip(joint, separate, strict=True):
        close(one, other)
    for batch, copied in zip(batches, copies, strict=True):
        close(batch.grad, copied.grad)
    for one, other in zip(together.parameters(), alone.parameters(), strict=True):
        close(one.grad, other.grad)
    close(together.state_dict(), alone.state_dict())


def test_batch_statistics_do_not_mix() -> None:
    """A batch's features do not depend on the batch beside it; joined as one batch they would."""
    trunk = Trunk((1, 8, 8))
    real, fake = torch.rand(8, 1, 8, 8), 0.1 * torch.rand(8, 1, 8, 8)
    torch.testing.assert_close(trunk(real, fake)[0], trunk(real, 1 - fake)[0])
    (mixed,) = trunk(torch.cat([real, fake]))
    assert (mixed[:8] - trunk(real, fake)[0]).abs().max() > 0.1


def test_inputs_are_not_changed() -> None:
    """The networks' in-place activations leave images, features and latents as they were."""
    networks = ReferenceNetworks()
    discriminator, head = networks.discriminator((1, 8, 8)), networks.recognition_head(1024, 3)
    images, latent, features = torch.rand(4, 1, 8, 8), torch.randn(4, 6), torch.randn(4, 1024)
    before = [x.clone() for x in (images, latent, features)]
    discriminator.trunk(images)
    discriminator.trunk(images, images)
    networks.generator(6, (1, 8, 8))(latent)
    head(features)
    discriminator.logits(features)
    for now, was in zip((images, latent, features), before, strict=True):
        assert torch.equal(now, was)


# ---- spectral normalisation ------------------------------------------------------------------


def test_spectral_normalization_bounds_every_layer() -> None:
    """Each weight's largest singular value is 1, and D is without batch normalisation."""
    discriminator = Discriminator((1, 8, 8), spectral_normalization=True)
    for _ in range(30):  # power iterations
        discriminator(torch.rand(4, 1, 8, 8))
    layers = [m for m in discriminator.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(layers) == 4
    for layer in layers:
        largest = torch.linalg.matrix_norm(layer.weight.flatten(1), 2)
        assert largest.item() == pytest.approx(1, abs=0.01)
    assert not any(isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d) for m in discriminator.modules())
    plain = Discriminator((1, 8, 8)).trunk.conv1.weight.flatten(1)
    assert torch.linalg.matrix_norm(plain, 2) < 0.5


def test_gradients_pass_spectral_normalization_of_a_single_batch() -> None:
    """The generator's update, one batch through D, works without batch normalisation too."""
    discriminator = Discriminator((1, 8, 8), spectral_normalization=True)
    images = torch.rand(4, 1, 8, 8, requires_grad=True)
    discriminator(images).sum().backward()
    assert images.grad is not None
    assert images.grad.abs().max() > 0


# ---- binary output ---------------------------------------------------------------------------


def test_binary_pixels_are_exact_and_have_the_sigmoids_gradient() -> None:
    """Pixels are exactly 0 or 1: the rounded sigmoid, with the gradient of the unrounded one."""
    smooth = Generator(5, (1, 8, 8))
    with torch.no_grad():
        smooth.get_parameter("upsample.3.weight").mul_(50)
    binary = Generator(5, (1, 8, 8), output="binary")
    binary.load_state_dict(smooth.state_dict())
    latent, weight = torch.randn(6, 5), torch.randn(6, 1, 8, 8)
    gradients: list[list[Tensor]] = []
    images = []
    for generator in (smooth, binary):
        pixels = generator(latent)
        images.append(pixels.detach())
        loss = (weight * pixels).sum()
        gradients.append(list(torch.autograd.grad(loss, list(generator.parameters()))))
    assert images[1].unique().tolist() == [0.0, 1.0]
    assert torch.equal(images[1], (images[0] > 0.5).float())
    for one, other in zip(*gradients, strict=True):
        assert torch.equal(one, other)
        assert one.abs().max() > 0


# ---- initialisation --------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["generator", "discriminator", "recognition_head"])
def test_initialization(name: str) -> None:
    """Weights are N(0, 0.02), batch-norm scales N(1, 0.02), biases 0."""
    networks = ReferenceNetworks()
    module = {
        "generator": networks.generator(74, (1, 28, 28)),
        "discriminator": networks.discriminator((1, 28, 28)),
        "recognition_head": networks.recognition_head(1024, 12),
    }[name]
    scales = []
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            num = layer.weight.numel()
            assert layer.weight.std().item() == pytest.approx(0.02, rel=4 / num**0.5)
            assert abs(layer.weight.mean().item()) < 5 * 0.02 / num**0.5
        elif isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            scales.append(layer.weight.detach())
        bias = getattr(layer, "bias", None)
        assert bias is None or not bias.any()
    joined = torch.cat(scales)
    assert joined.mean().item() == pytest.approx(1, abs=0.005)
    assert joined.std().item() == pytest.approx(0.02, rel=0.25)


# ---- dtypes ----------------------------------------------------------------------------------


def test_outputs_are_float32_under_autocast_and_keep_float64() -> None:
    """Losses see at least float32: half precision is widened, double precision kept."""
    networks = ReferenceNetworks()
    for double in (False, True):
        dtype = torch.float64 if double else torch.float32
        generator = networks.generator(5, (1, 8, 8)).to(dtype)
        discriminator = networks.discriminator((1, 8, 8)).to(dtype)
        head = networks.recognition_head(1024, 3).to(dtype)
        with torch.autocast("cpu", torch.bfloat16, enabled=not double):
            images = generator(torch.randn(4, 5, dtype=dtype))
            (features,) = discriminator.trunk(images)
            outputs = images, discriminator.logits(features), head(features)
        assert [x.dtype for x in outputs] == [dtype] * 3
        assert features.dtype == (dtype if double else torch.bfloat16)
