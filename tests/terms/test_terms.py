"""Terms that join the losses: what each looks at, moves and refuses, alone and together."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from infogan.differentiable_augmentation import RandomAffine
from infogan.latents import CategoricalCode, NormalCode, UniformCode
from infogan.modules import (
    ClusteringInfoGANModule,
    HessianPenaltyInfoGANModule,
    InfoGANModule,
)
from infogan.terms import (
    Clustering,
    CodeTerm,
    Equivariance,
    HessianPenalty,
    OrthogonalJacobian,
    RealReadings,
    SeenView,
)
from infogan.transformations import Shear, StrokeWidth

Build = Callable[..., InfoGANModule]
Gradients = dict[str, Tensor]

CODES = [CategoricalCode(4), UniformCode(), NormalCode()]
TERMS: list[CodeTerm] = [
    Clustering(0.7, 1.5, RandomAffine()),
    HessianPenalty(5.0),
    OrthogonalJacobian(0.5),
    Equivariance({2: Shear(0.2), 1: StrokeWidth(1.0)}),
]


# ---- what moves ----------------------------------------------------------------------------------


@pytest.mark.parametrize("term", TERMS, ids=lambda term: type(term).__name__)
def test_a_term_moves_one_side_alone(
    term: CodeTerm,
    build: Build,
    batches: Callable[..., list[Tensor]],
    gradients: Callable[..., list[Gradients]],
) -> None:
    """Terms on readings move the trunk and Q; terms on images G, and none of them D's head."""

    def received(**arguments: Any) -> list[Gradients]:
        module = build(codes=CODES, **arguments)
        return gradients(module, batches(), precision="64-true")

    (of_d, of_g), (plain_d, plain_g) = received(terms=[term]), received()
    moved = {name for name in of_d if not torch.equal(of_d[name], plain_d[name])}
    if term.num_views:
        assert moved == {n for n in of_d if not n.startswith("discriminator.head.")}
    else:
        assert not moved
        assert any(not torch.equal(of_g[name], plain_g[name]) for name in of_g)


def test_all_terms_are_logged(build: Build, fit: Any, batches: Any) -> None:
    module = build(codes=CODES, terms=TERMS)
    fit(module, batches())
    names = ("clustering_loss", "hessian_penalty", "squared_cosine", "equivariance_loss")
    assert all(module.scalars[name].isfinite() for name in names)


def test_real_images_are_read_once_for_all_terms(build: Build) -> None:
    module = build(codes=CODES, terms=[TERMS[0], TERMS[3], TERMS[0]])
    seen: list[int] = []
    module.recognition_head.register_forward_pre_hook(lambda _, args: seen.append(len(args[0])))
    module.discriminator_objective(torch.rand(16, 1, 8, 8))
    # The real images, then the terms' views, then the generated images.
    assert seen == [16, 8, 8, 8, 8, 16]


# ---- the generator's terms -----------------------------------------------------------------------


def test_crossed_latents_differ_in_one_code_in_the_other_and_in_both(build: Build) -> None:
    """Noise and further codes stay; what two codes change is drawn anew, the same for both."""
    latents = build(codes=[UniformCode() for _ in range(3)]).latents
    latent = latents.sample(5)
    pairs = set()
    for _ in range(30):
        base, first, second, both = HessianPenalty.cross(latents, latent)
        assert torch.equal(base, latent)
        changed = [
            (part != base).any(dim=0).nonzero().flatten().tolist() for part in (first, second)
        ]
        assert all(len(columns) == 1 for columns in changed)
        assert changed[0] != changed[1]
        assert min(changed[0] + changed[1]) >= latents.noise_dim
        expected = base.clone()
        expected[:, changed[0]] = first[:, changed[0]]
        expected[:, changed[1]] = second[:, changed[1]]
        assert torch.equal(both, expected)
        pairs.add((changed[0][0], changed[1][0]))
    # Every pair is drawn at some time, in either order.
    assert len(pairs) == 6


# ---- equivariance --------------------------------------------------------------------------------


class Leaning(InfoGANModule):
    """A Q that reads from the pixels: the slope of a digit, and its ink."""

    def read(self, features: Tensor) -> tuple[Tensor, ...]:
        rows = torch.linspace(-1, 1, 16, dtype=features.dtype)[:, None]
        images = features.unflatten(1, (16, 16))
        ink = images.sum(dim=(1, 2))
        x, y = (images * rows.T).sum(dim=(1, 2)) / ink, (images * rows).sum(dim=(1, 2)) / ink
        dx, dy = rows.T - x[:, None, None], rows - y[:, None, None]
        slope = -(images * dx * dy).sum(dim=(1, 2)) / (images * dy**2).sum(dim=(1, 2))
        return features[:, :4], slope[:, None], 0 * slope[:, None]


def bar() -> Tensor:
    """Return images of an upright bar, (8, 1, 16, 16)."""
    image = torch.zeros(8, 1, 16, 16)
    image[:, :, 3:13, 6:10] = 1
    return image


def test_equivariance_is_zero_for_a_reading_that_follows(build: Build) -> None:
    """A reading of the slope follows the shear; it fails to follow one twice as strong."""
    module = build(Leaning, codes=CODES, image_size=16)
    latent = torch.zeros(8, module.latents.dim)  # of upright bars

    def loss(term: Equivariance) -> float:
        torch.manual_seed(1)
        views = [SeenView(v.images.flatten(1), v.amounts) for v in term.views(bar(), bar())]
        readings = RealReadings(module, latent, bar().flatten(1))
        return float(term.discriminator_loss(readings, views))

    assert loss(Equivariance({1: Shear(1.0)}, largest=0.2)) < 2e-4
    # Half of what each image should have risen by is missing: the mean of (amount / 2)^2.
    expected = (0.2 * (2 * torch.rand(8, 1, generator=torch.Generator().manual_seed(1)) - 1)) / 2
    assert loss(Equivariance({1: Shear(0.5)}, largest=0.2)) == pytest.approx(
        float(expected.square().mean()), rel=0.5
    )
    assert loss(Equivariance({2: Shear(1.0)}, largest=0.2)) > 0.01


class Drawn(torch.nn.Module):
    """A generator of bars that lean as the first continuous code says."""

    def __init__(self, slope: float) -> None:
        super().__init__()
        self.shear = Shear(slope)

    def forward(self, latent: Tensor) -> Tensor:
        return self.shear(bar()[:1].expand(len(latent), -1, -1, -1), latent[:, -2])


def test_a_generator_that_follows_loses_nothing(build: Build) -> None:
    """Changed codes give the transformed image, but for what the second shear blurs."""
    module = build(codes=CODES, image_size=16)
    latent = module.latents.sample(32)

    def loss(slope: float) -> float:
        module.generator = Drawn(slope)
        term = Equivariance({1: Shear(0.3)}, generator_weight=2.0)
        loss = float(term.generator_loss(module, latent))
        assert loss == pytest.approx(2 * float(module.scalars["equivariance_of_generator"]))
        return loss

    assert loss(0.3) < 0.2 * min(loss(0.0), loss(-0.3))
    assert Equivariance({1: Shear(0.3)}).generator_loss(module, latent) == 0.0


# ---- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: HessianPenalty(-1.0), "hessian_penalty_weight must be at least 0, got -1.0"),
        (lambda: Clustering(-1.0), "clustering_weight must be at least 0, got -1.0"),
        (lambda: OrthogonalJacobian(step=0), "step must be positive, got 0"),
        (lambda: Equivariance({}), "transformations is empty; give one"),
        (lambda: Equivariance({1: Shear()}, largest=0), "largest must be positive, got 0"),
    ],
)
def test_wrong_settings_are_refused(make: Callable[[], CodeTerm], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("term", "codes", "message"),
    [
        (Clustering(), [UniformCode()], "no CategoricalCode to cluster by"),
        (HessianPenalty(), [CategoricalCode(3)], "codes holds 1 code .* leave HessianPenalty out"),
        (OrthogonalJacobian(), CODES[:2], "codes holds 1 continuous .* add a UniformCode"),
        (Equivariance({0: Shear()}), CODES, r"names code 0, .* continuous codes are \[1, 2\]"),
    ],
)
def test_a_term_that_does_not_fit_the_codes_is_refused(
    term: CodeTerm, codes: list[Any], message: str, build: Build
) -> None:
    with pytest.raises(ValueError, match=message):
        build(codes=codes, terms=[term])


# ---- classes and checkpoints ---------------------------------------------------------------------


def test_the_old_classes_are_infogan_with_a_term(build: Build) -> None:
    penalty = build(HessianPenaltyInfoGANModule, codes=CODES, hessian_penalty_weight=3.0)
    assert penalty.terms == (HessianPenalty(3.0),)
    clustering = build(ClusteringInfoGANModule, codes=CODES, terms=TERMS[1:])
    assert clustering.terms == (Clustering(), *TERMS[1:])
    assert clustering.state_dict().keys() == build(codes=CODES).state_dict().keys()


@pytest.mark.parametrize(
    ("kind", "terms"),
    [(InfoGANModule, TERMS), (ClusteringInfoGANModule, None), (ClusteringInfoGANModule, TERMS[1:])],
)
def test_checkpoints_hold_the_terms(
    kind: type[InfoGANModule],
    terms: list[CodeTerm] | None,
    build: Build,
    fit: Any,
    batches: Any,
    tmp_path: Path,
) -> None:
    module = build(kind, codes=CODES, terms=terms)
    fit(module, batches()).save_checkpoint(tmp_path / "a.ckpt")
    loaded = kind.load_from_checkpoint(tmp_path / "a.ckpt", map_location="cpu")
    assert loaded.terms == module.terms
    torch.testing.assert_close(loaded.state_dict(), module.state_dict())
