"""The page: controls and their picture on the left, one panel a tab on the right."""

import html
import random
from typing import Any

import gradio as gr

from infogan.commands.explore import markup
from infogan.commands.explore.controls import Control
from infogan.commands.explore.held_out import HeldOut
from infogan.commands.explore.panels import (
    QUIET,
    DrawsPanel,
    InterpolationPanel,
    Panel,
    TraversalPanel,
)
from infogan.commands.explore.read_panel import ReadPanel
from infogan.commands.explore.studio import Place, Studio

PICTURE_WIDTH = 196
MAX_BUTTONS = 20
MAX_SEED = 2**31 - 1


class Page:
    """The explorer's page for one model.

    Args:
        studio: Draws and reads.
        held_out: Held-out images; None for none.
        description: What is explored, in one line.
    """

    def __init__(self, studio: Studio, held_out: HeldOut | None, description: str) -> None:
        self.studio = studio
        self.held_out = held_out
        self.description = description

    def build(self) -> gr.Blocks:
        """Return the page with everything on it connected."""
        # Files that Gradio keeps for the page, such as uploads, are deleted after ten minutes.
        with gr.Blocks(
            title="InfoGAN explorer", analytics_enabled=False, delete_cache=(600, 600)
        ) as page:
            gr.HTML(
                '<div class="heading"><h1>InfoGAN explorer</h1>'
                f"<p>{html.escape(self.description)}</p></div>"
            )
            self.active = gr.State(0)
            self.panels = self.make_panels()
            with gr.Row():
                with gr.Column(scale=1, min_width=330):
                    self.lay_out_controls()
                with gr.Column(scale=2, min_width=520), gr.Tabs():
                    self.tabs = [self.lay_out_panel(panel) for panel in self.panels]
            self.connect(page)
        return page

    def make_panels(self) -> list[Panel]:
        """Return the panels that this model has something for."""
        panels: list[Panel] = []
        if self.studio.controls:
            panels.append(TraversalPanel(self.studio))
        if self.studio.has_noise:
            panels.append(DrawsPanel(self.studio))
        if self.studio.has_recognition:
            panels.append(ReadPanel(self.studio, self.held_out))
        return [*panels, InterpolationPanel(self.studio)]

    # ---- layout --------------------------------------------------------------------------------

    def lay_out_panel(self, panel: Panel) -> gr.Tab:
        """Place a panel in a tab of its own."""
        with gr.Tab(panel.title) as tab:
            panel.lay_out()
        return tab

    def lay_out_controls(self) -> None:
        """Place the picture, the noise beside it, and under it a control a code."""
        with gr.Row():
            with gr.Column(scale=0, min_width=PICTURE_WIDTH + 2):
                self.picture = gr.HTML(elem_classes="picture", elem_id="picture")
            with gr.Column(min_width=110):
                self.random_codes = gr.Button(
                    "Random codes",
                    visible=bool(self.studio.controls),
                    size="md",
                    elem_id="random-codes",
                )
                self.resample = gr.Button(
                    "New noise", visible=self.studio.has_noise, size="md", elem_id="resample"
                )
                self.seed = gr.Number(
                    0,
                    label="Noise seed",
                    precision=0,
                    minimum=0,
                    maximum=MAX_SEED,
                    visible=self.studio.has_noise,
                    elem_id="seed",
                )
        self.controls = [self.lay_out_control(i, c) for i, c in enumerate(self.studio.controls)]

    def lay_out_control(self, index: int, control: Control) -> Any:
        """Place what moves one code: buttons, a list, or a slider."""
        common: dict[str, Any] = {"label": control.name, "elem_id": control.name}
        choices = [(label, i) for i, label in enumerate(self.studio.choices(index))]
        if index in self.studio.meanings:
            common["info"] = "In brackets: the class that it names on the held-out images."
        if control.name in self.studio.module.code_captions:
            sets = self.studio.module.code_captions[control.name]
            common["info"] = f"Sets most, on samples: {sets}."
        if not control.choices:
            step = 10.0**-control.digits
            return gr.Slider(control.low, control.high, control.middle, step=step, **common)
        if len(choices) > MAX_BUTTONS:
            return gr.Dropdown(choices, value=0, **common)
        return gr.Radio(choices, value=0, **common)

    # ---- behaviour -----------------------------------------------------------------------------

    def connect(self, page: gr.Blocks) -> None:
        """Connect every control, tab and button."""
        place = [self.seed, *self.controls]
        inputs = [self.active, *place]
        for panel in self.panels:
            inputs += panel.inputs + panel.states
        outputs = [panel.output for panel in self.panels]
        live = QUIET | {"trigger_mode": "always_last"}
        moves = [page.load, *(component.change for component in place)]
        settings = [component.change for panel in self.panels for component in panel.inputs]
        # Apart from the panels, so that the picture does not wait for a large grid.
        gr.on(moves, self.draw_picture, place, self.picture, **live)
        gr.on([*moves, *settings], self.draw_panel, inputs, outputs, **live)

        def then_draw(event: Any) -> None:
            event.then(self.draw_panel, inputs, outputs, **live)

        self.random_codes.click(self.draw_codes, None, self.controls, **QUIET)
        self.resample.click(draw_seed, None, self.seed, **QUIET)
        for number, (tab, panel) in enumerate(zip(self.tabs, self.panels, strict=True)):
            then_draw(tab.select(lambda number=number: number, None, self.active, **QUIET))
            for event in panel.events:
                then_draw(event)
            if isinstance(panel, ReadPanel):
                panel.take_over.click(panel.positions, panel.image, self.controls, **QUIET)
            if isinstance(panel, InterpolationPanel):
                for button, end in zip(panel.take, panel.states, strict=True):
                    then_draw(button.click(place_of, place, end, **QUIET))

    def draw_picture(self, seed: float | None, *positions: float) -> str:
        """Draw the picture, with the values of its codes as the text for those who cannot see."""
        place = place_of(seed, *positions)
        names = [
            f"{control.name} = {control.label(position)}"
            for control, position in zip(self.studio.controls, positions, strict=True)
        ]
        alt = ", ".join(["generated image", *names])
        return markup.image(self.studio.picture(place), alt, PICTURE_WIDTH)

    def draw_panel(self, active: int, seed: float | None, *values: Any) -> list[Any]:
        """Draw the panel that is looked at, and leave the others alone."""
        number = len(self.controls)
        place, values = place_of(seed, *values[:number]), values[number:]
        answers: list[Any] = []
        for index, panel in enumerate(self.panels):
            size = len(panel.inputs) + len(panel.states)
            own, values = values[:size], values[size:]
            answers.append(panel.draw(place, *own) if index == active else gr.skip())
        return answers

    def draw_codes(self) -> list[float]:
        """Draw every code from its prior."""
        return self.studio.draw_positions(random.randrange(MAX_SEED))


def place_of(seed: float | None, *positions: float) -> Place:
    """Return the place that the controls name; an empty seed counts as 0."""
    return Place(tuple(positions), int(seed or 0))


def draw_seed() -> int:
    """Return a seed that is short enough to write down."""
    return random.randrange(10_000)
