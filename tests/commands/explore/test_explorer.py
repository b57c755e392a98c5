"""The explorer without a browser: its pictures, what it makes of any file, what it refuses."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from infogan.commands.explore import markup
from infogan.commands.explore.controls import Control
from infogan.commands.explore.studio import NUM_DRAWS, Place, Studio
from infogan.latents import (
    BernoulliCode,
    CategoricalCode,
    LatentCode,
    NormalCode,
    UniformCode,
)
from infogan.modules import GANModule, InfoGANModule, VanillaGANModule
from infogan.pictures.grids import to_bytes

Build = Callable[..., Any]


class AngleCode(LatentCode):
    """A user's code on a circle: two values for the generator, neither discrete nor scalar."""

    is_discrete = False
    dim = 2
    num_parameters = 2
    entropy = float(np.log(2 * np.pi))

    def sample(self, num_samples: int, device: torch.device | str = "cpu") -> Tensor:
        return self.at(torch.rand(num_samples, device=device))

    def log_prob(self, value: Tensor) -> Tensor:
        return value.new_full((len(value),), -self.entropy)

    def posterior_log_prob(self, value: Tensor, parameters: Tensor) -> Tensor:
        return (value * parameters).sum(dim=1)

    def posterior_mode(self, parameters: Tensor) -> Tensor:
        return torch.nn.functional.normalize(parameters, dim=1)

    def traverse(self, num_values: int) -> Tensor:
        return self.at(torch.linspace(0, 1, num_values))

    def label(self, value: Tensor) -> str:
        return f"{torch.rad2deg(torch.atan2(value[1], value[0])).item():.0f}°"

    @staticmethod
    def at(turns: Tensor) -> Tensor:
        angles = 2 * torch.pi * turns
        return torch.stack([angles.cos(), angles.sin()], dim=1)


CODES: list[LatentCode] = [
    CategoricalCode(4),
    UniformCode(low=-2, high=3),
    NormalCode(mean=1, std=0.5),
    BernoulliCode(0.3),
    AngleCode(),
]


@pytest.fixture
def studio(build: Build) -> Studio:
    """Return a studio of a module with every kind of code."""
    return Studio(build(codes=CODES))


def recorded(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """Keep the latents of all pictures that the studio draws from now on."""
    seen: list[Tensor] = []
    generate = studio.generate

    def record(latents: Tensor) -> np.ndarray:
        seen.append(latents)
        return generate(latents)

    monkeypatch.setattr(studio, "generate", record)
    return seen


PLACE = Place((2, 1.5, 0.25, 1, 25), 5)


# ---- controls ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "low", "high", "choices"),
    [
        (CategoricalCode(3), 0, 2, ["0", "1", "2"]),
        (BernoulliCode(), 0, 1, ["0", "1"]),
        (UniformCode(low=-2, high=3), -2, 3, []),
        (NormalCode(mean=1, std=0.5), 0, 2, []),
        (AngleCode(), 0, 100, []),
    ],
)
def test_a_control_spans_its_code(
    code: LatentCode, low: float, high: float, choices: list[str]
) -> None:
    control = Control("code", code)
    assert (control.low, control.high, control.choices) == (low, high, choices)
    for position in (low, control.middle, high):
        assert control.position(control.value(position)) == position
    assert control.clip(high + 5) == high and control.clip(low - 5) == low
    with pytest.raises(ValueError, match="position=nan of code is not a number"):
        control.value(float("nan"))


def test_positions_name_values() -> None:
    assert Control("c", CategoricalCode(3)).value(2).tolist() == [0, 0, 1]
    assert Control("c", UniformCode()).value(0.3).tolist() == pytest.approx([0.3])
    torch.testing.assert_close(Control("c", AngleCode()).value(25), torch.tensor([0.0, 1.0]))
    assert Control("c", AngleCode()).label(25) == "90°"


# ---- pictures ----------------------------------------------------------------------------------


def test_the_picture_is_what_the_generator_makes_of_the_place(studio: Studio) -> None:
    latents = studio.latents(PLACE)
    assert latents.shape == (NUM_DRAWS, studio.module.latents.dim)
    values = [code[0].tolist() for code in studio.module.latents.split_codes(latents)]
    assert values == [[0, 0, 1, 0], [1.5], [0.25], [1], pytest.approx([0, 1], abs=1e-6)]
    with torch.no_grad():
        expected = to_bytes(studio.module.generate(latents[:1]))[0]
    assert np.array_equal(studio.picture(PLACE), expected)


def test_a_seed_gives_the_same_noise_and_leaves_the_streams_alone(studio: Studio) -> None:
    before = torch.get_rng_state()
    first = studio.noise(3)
    studio.draw_positions(3)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(studio.noise(3), first)
    assert not torch.equal(studio.noise(4), first)
    assert len({tuple(row) for row in first.tolist()}) == NUM_DRAWS


def test_a_traversal_changes_one_code_down_and_noise_or_another_code_across(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = recorded(studio, monkeypatch)
    spec = studio.module.latents
    grid = studio.traversal(PLACE, 1, None, 6)
    assert seen[0].shape == (6, 6, spec.dim)
    noise, codes = seen[0][..., : spec.noise_dim], seen[0][..., spec.noise_dim :]
    assert torch.equal(noise[0], noise[5]) and not torch.equal(noise[:, 0], noise[:, 1])
    assert codes[:, 0, 4].tolist() == [-2, -1, 0, 1, 2, 3]
    assert torch.equal(codes[:, :, 5:], codes[:1, :1, 5:].expand(6, 6, -1))
    assert grid.shape[0] > 6 * 8 * 4 and grid.dtype == np.uint8
    studio.traversal(PLACE, 0, 3)
    assert seen[1].shape == (4, 2, spec.dim)
    assert torch.equal(
        seen[1][0, 0, : spec.noise_dim], spec_noise := seen[1][3, 1, : spec.noise_dim]
    )
    assert torch.equal(spec_noise, studio.noise(PLACE.seed)[0])
    assert seen[1][:, 0, 3:7].tolist() == torch.eye(4).tolist()


@pytest.mark.parametrize("distribution", ["uniform", "normal"])
def test_an_interpolation_goes_from_one_picture_to_the_other(
    build: Build, distribution: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio = Studio(build(noise_dim=50, noise_distribution=distribution))
    seen = recorded(studio, monkeypatch)
    start, end = Place((0, -1), 1), Place((3, 1), 2)
    studio.interpolation(start, end, 5)
    path = seen[0][0]
    torch.testing.assert_close(path[0], studio.latents(start)[0])
    torch.testing.assert_close(path[4], studio.latents(end)[0])
    assert path[:, 54].tolist() == [-1, -0.5, 0, 0.5, 1]
    ends, middle = path[[0, 4], :50].norm(dim=1), path[2, :50].norm()
    # The straight way passes much nearer to the origin than any draw lies.
    assert (middle > 0.9 * ends.min()) == (distribution == "normal")


def test_an_interpolation_from_a_place_to_itself_stays() -> None:
    torch.manual_seed(0)
    module = VanillaGANModule(codes=[], noise_dim=8, noise_distribution="normal", image_size=8)
    studio = Studio(module)
    place = Place((), 3)
    row = studio.interpolation(place, place, 2)
    assert np.array_equal(row[:, :32], row[:, -32:])


def test_uploads_are_prepared_like_real_images_where_there_are_some(build: Build) -> None:
    """An early generator is gray all over, which says nothing about the data's background."""
    real = torch.zeros(6, 1, 8, 8)
    real[:, :, 3:5, 3:5] = 1
    module = build(image_size=8)
    assert Studio(module, real=real).paper == 0 and Studio(module).paper > 0.2
    assert Studio(module, real=real).is_centred
    assert not Studio(module, real=real.roll(2, dims=3)).is_centred


def test_a_generator_without_noise_or_codes_is_drawn(build: Build) -> None:
    only_codes = Studio(build(noise_dim=0))
    assert not only_codes.has_noise
    assert only_codes.traversal(Place((0, 0.0), 9), 0).shape[0] > 4 * 8
    only_noise = Studio(build(VanillaGANModule, codes=[]))
    assert not only_noise.has_recognition and only_noise.controls == []
    assert only_noise.draws(Place((), 0)).shape == (3 * 34 - 2, 8 * 34 - 2, 3)


# ---- Q -----------------------------------------------------------------------------------------


def test_a_reading_is_the_posterior_over_the_codes_values(studio: Studio) -> None:
    image = torch.rand(1, 8, 8)
    readings = studio.read(image)
    assert isinstance(studio.module, InfoGANModule)
    with torch.no_grad():
        parameters = studio.module.recognize(image[None])
    assert [r.control.name for r in readings] == [c.name for c in studio.controls]
    categorical, uniform, _, bernoulli, angle = readings
    torch.testing.assert_close(torch.tensor(categorical.weights), parameters[0][0].softmax(0))
    one = parameters[3].sigmoid().item()
    assert bernoulli.weights == pytest.approx([1 - one, one], abs=1e-6)
    assert categorical.position == int(parameters[0].argmax())
    assert uniform.position == pytest.approx(parameters[1].item(), abs=0.005)
    assert len(uniform.weights) == 61 == len(uniform.labels)
    stops = torch.linspace(-2, 3, 61)
    assert stops[int(np.argmax(uniform.weights))] == pytest.approx(uniform.position, abs=0.05)
    best = angle.control.value(angle.position)
    torch.testing.assert_close(
        best, AngleCode().posterior_mode(parameters[4])[0], atol=0.04, rtol=0
    )


def test_readings_are_shown_for_every_code(studio: Studio) -> None:
    text = markup.readings(studio.read(torch.rand(1, 8, 8)), {0: ["a", "<b>", "c", "d"]})
    assert text.count('class="reading"') == 5 and text.count("<svg") == 3
    assert "1 (&lt;b&gt;)" in text and "nan" not in text


def test_of_many_categories_the_most_probable_are_shown(build: Build) -> None:
    studio = Studio(build(codes=[CategoricalCode(30)]))
    reading = studio.read(torch.rand(1, 8, 8))
    assert markup.readings(reading, {}).count('class="bar') == 10
    assert f"<span>{int(reading[0].position)}</span>" in markup.readings(reading, {})


# ---- the page and its guard --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "arguments", "titles"),
    [
        (InfoGANModule, {}, ["Traversal", "Other noise", "Read an image", "Interpolation"]),
        (InfoGANModule, {"noise_dim": 0}, ["Traversal", "Read an image", "Interpolation"]),
        (VanillaGANModule, {}, ["Traversal", "Other noise", "Interpolation"]),
        (VanillaGANModule, {"codes": []}, ["Other noise", "Interpolation"]),
        (
            InfoGANModule,
            {"codes": [CategoricalCode(30), *CODES[1:]], "image_channels": 3},
            ["Traversal", "Other noise", "Read an image", "Interpolation"],
        ),
    ],
)
def test_a_page_has_the_panels_that_its_model_fills(
    build: Build, kind: type[GANModule], arguments: dict[str, Any], titles: list[str]
) -> None:
    from infogan.commands.explore.page import Page

    page = Page(Studio(build(kind, **arguments)), None, "a model")
    page.build()
    assert [panel.title for panel in page.panels] == titles
    middle = [control.middle for control in page.studio.controls]
    values: list[Any] = []
    for panel in page.panels:
        values += [c.value for c in panel.inputs + panel.states]
    picture = page.draw_picture(None, *middle)
    assert "data:image/png;base64," in picture and 'alt="generated image' in picture
    for active, title in enumerate(titles):
        outputs = page.draw_panel(active, None, *middle, *values)
        drawn = [isinstance(output, str) for output in outputs]
        assert drawn == [number == active for number in range(len(titles))], title


def test_a_slider_tells_what_its_code_sets(build: Build) -> None:
    from infogan.commands.explore.page import Page

    module = build(codes=[UniformCode(), UniformCode()])
    module.code_captions = {"uniform1": "slant, r = 0.94"}
    page = Page(Studio(module), None, "a model")
    page.build()
    assert [control.info for control in page.controls] == [
        None,
        "Sets most, on samples: slant, r = 0.94.",
    ]


@pytest.mark.parametrize(
    ("method", "headers", "code"),
    [
        ("GET", {"host": "127.0.0.1:7860"}, None),
        ("GET", {"host": "localhost:7860"}, None),
        ("GET", {"host": "[::1]:7860"}, None),
        ("GET", {"host": "attacker.example:7860"}, 400),
        ("GET", {}, 400),
        ("POST", {"host": "localhost", "content-length": "9"}, None),
        ("POST", {"host": "localhost", "content-length": "9", "origin": "http://localhost"}, None),
        ("POST", {"host": "localhost", "content-length": "9", "origin": "http://other"}, 403),
        ("POST", {"host": "localhost", "content-length": "9", "origin": "null"}, 403),
        ("POST", {"host": "localhost", "content-length": "9999999"}, 413),
        ("POST", {"host": "localhost", "content-length": "-1"}, 411),
        ("POST", {"host": "localhost"}, 411),
    ],
)
def test_the_guard_lets_through_what_the_page_asks(
    method: str, headers: dict[str, str], code: int | None
) -> None:
    from starlette.datastructures import Headers

    from infogan.commands.explore.server import Guard

    guard: Any = Guard(None, local=True)  # type: ignore[arg-type]
    refusal = guard.refusal(method, Headers(headers))
    assert (refusal and refusal[0]) == code
