"""The panels that draw pictures of the place that the controls name, one a tab."""

from abc import ABC, abstractmethod
from typing import Any

import gradio as gr

from infogan.commands.explore.markup import grid
from infogan.commands.explore.studio import NUM_DRAWS, Place, Studio

NOISE_DRAWS = "noise draws"
# Every handler answers in milliseconds: no queue, no spinner, and no entry in an API page.
QUIET: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}


class Panel(ABC):
    """One tab: what it draws from the place of the controls and from its own inputs.

    `lay_out` sets `inputs`, which a person changes, `states`, which the panel's own handlers
    change, and `events`, after which the panel is to be drawn again.

    Args:
        studio: Draws the pictures.
    """

    title: str

    def __init__(self, studio: Studio) -> None:
        self.studio = studio
        self.inputs: list[Any] = []
        self.states: list[Any] = []
        self.events: list[Any] = []
        self.output = gr.HTML(render=False)

    @abstractmethod
    def lay_out(self) -> None:
        """Place the inputs and the output on the page."""

    @abstractmethod
    def draw(self, place: Place, *values: Any) -> str:
        """Return the HTML for a place and the values of inputs and states."""


class DrawsPanel(Panel):
    """The same codes on other noise."""

    title = "Other noise"

    def lay_out(self) -> None:
        same = "The same codes on" if self.studio.controls else "The pictures of"
        gr.HTML(f'<p class="note">{same} {NUM_DRAWS - 1} other draws of the noise.</p>')
        self.output.render()

    def draw(self, place: Place, *values: Any) -> str:
        return grid(self.studio.draws(place), "the same codes on other noise", "draws.png")


class TraversalPanel(Panel):
    """One code changes down the rows; noise, or another code, across."""

    title = "Traversal"

    def lay_out(self) -> None:
        names = [control.name for control in self.studio.controls]
        codes = [(name, i) for i, name in enumerate(names)]
        columns = [(NOISE_DRAWS, -1), *codes] if self.studio.has_noise else codes[::-1]
        with gr.Row():
            down = gr.Dropdown(codes, value=0, label="Rows", elem_id="down")
            across = gr.Dropdown(columns, value=columns[0][1], label="Columns", elem_id="across")
            values = gr.Slider(2, 20, 10, step=1, label="Steps")
        self.output.render()
        self.inputs = [down, across, values]

    def draw(self, place: Place, *values: Any) -> str:
        down, across, num_values = (int(value) for value in values)
        other = None if across in (-1, down) else across
        picture = self.studio.traversal(place, down, other, num_values)
        name = self.studio.controls[down].name
        return grid(picture, f"traversal of {name}", f"traversal_{name}.png")


class InterpolationPanel(Panel):
    """A row of pictures from one place to another."""

    title = "Interpolation"

    def __init__(self, studio: Studio) -> None:
        super().__init__(studio)
        start, end = (Place(tuple(studio.draw_positions(seed)), seed) for seed in (1, 2))
        self.states = [gr.State(start, render=False), gr.State(end, render=False)]
        self.take = [
            gr.Button("Start from this picture", size="md", elem_id="start", render=False),
            gr.Button("End at this picture", size="md", elem_id="end", render=False),
        ]

    def lay_out(self) -> None:
        gr.HTML(
            '<p class="note">Codes and noise go from one picture to another. Set the controls and '
            "start from their picture; set them anew and end at it.</p>"
        )
        with gr.Row():
            for component in (*self.states, *self.take):
                component.render()
            self.inputs = [gr.Slider(2, 24, 8, step=1, label="Pictures")]
        self.output.render()

    def draw(self, place: Place, *values: Any) -> str:
        num_steps, start, end = values
        picture = self.studio.interpolation(start, end, int(num_steps))
        return grid(picture, "interpolation", "interpolation.png")
