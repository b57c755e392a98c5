"""The panel in which Q reads a real, drawn or uploaded image, and G answers."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image
from torch import Tensor

from infogan.commands.explore import markup
from infogan.commands.explore.held_out import HeldOut
from infogan.commands.explore.panels import QUIET, Panel
from infogan.commands.explore.preparation import Preparation, prepare
from infogan.commands.explore.studio import Place, Studio, positions_of
from infogan.commands.explore.uploads import (
    FORMATS,
    MAX_BYTES,
    UploadError,
    decode,
    decode_data_url,
)
from infogan.pictures.grids import to_bytes

NUM_THUMBNAILS = 24
PAD_SIDE = 280
SEEN_WIDTH = 140
# The codes read, on so many other draws of the noise.
NUM_OTHERS, OTHERS_WIDTH = 6, 360

# What every source gives: an image for Q, the picture it was made from, and a message.
Chosen = tuple[Tensor | None, Image.Image | None, str]


class ReadPanel(Panel):
    """What Q reads from an image, and what G makes of these codes.

    Args:
        studio: Draws and reads.
        held_out: Held-out images to choose from; None for none.
    """

    title = "Read an image"

    def __init__(self, studio: Studio, held_out: HeldOut | None) -> None:
        super().__init__(studio)
        self.held_out = held_out
        self.image = gr.State(None, render=False)
        self.picture = gr.State(None, render=False)
        self.message = gr.HTML("", render=False)
        self.take_over = gr.Button(
            "Set the controls to these codes", size="md", elem_id="take-over", render=False
        )

    @property
    def chosen(self) -> list[Any]:
        """The components that a `Chosen` goes to."""
        return [self.image, self.picture, self.message]

    # ---- layout --------------------------------------------------------------------------------

    def lay_out(self) -> None:
        self.image.render()
        self.picture.render()
        with gr.Row():
            with gr.Column(min_width=280):
                with gr.Tabs():
                    if self.held_out is not None:
                        with gr.Tab("Held-out"):
                            self.lay_out_held_out(self.held_out)
                    with gr.Tab("Draw"):
                        pad = self.lay_out_pad()
                    with gr.Tab("Upload"):
                        file = gr.File(
                            label=f"{', '.join(FORMATS.values())}; at most {MAX_BYTES >> 20} MB",
                            type="binary",
                            file_types=["image"],
                            height=150,
                            elem_id="upload",
                        )
                self.message.render()
                self.lay_out_options(pad, file)
            with gr.Column(min_width=280):
                self.take_over.render()
                self.output.render()
        self.states = [self.image]

    def lay_out_held_out(self, held_out: HeldOut) -> None:
        """Place some real images; a click reads one."""

        def show() -> str:
            numbers = range(len(held_out.images))
            picked = random.sample(numbers, min(NUM_THUMBNAILS, len(numbers)))
            captions = held_out.captions or [f"image {i}" for i in numbers]
            return markup.thumbnails(
                {i: (to_bytes(held_out.images[i]), captions[i]) for i in picked}
            )

        def choose(event: gr.SelectData) -> Chosen:
            return held_out.images[int(event.index)], None, ""

        gallery = gr.HTML(show(), js_on_load=script("thumbnails.js"), elem_id="held-out")
        more = gr.Button("Show others", size="sm")
        more.click(show, None, gallery, **QUIET)
        self.events.append(gallery.select(choose, None, self.chosen, **QUIET))

    def lay_out_pad(self) -> gr.HTML:
        """Place a sheet to draw on, in the colours of the model's images."""
        light = self.studio.paper > 0.5
        paper, ink = ("#ffffff", "#000000") if light else ("#000000", "#ffffff")
        colour = f'<input type="color" aria-label="colour" value="{ink}">'
        return gr.HTML(
            "",
            html_template=(
                f'<canvas width="{PAD_SIDE}" height="{PAD_SIDE}" data-paper="{paper}" '
                f'data-ink="{ink}" aria-label="sheet to draw on"></canvas>'
                '<button type="button">Clear</button>'
                + (colour if self.studio.module.image_shape[0] > 1 else "")
            ),
            js_on_load=script("pad.js"),
            elem_classes="pad",
            elem_id="pad",
        )

    def lay_out_options(self, pad: gr.HTML, file: gr.File) -> None:
        """Place the options of drawings and uploads, and connect what they change."""
        with gr.Accordion("How drawings and uploads are prepared", open=False):
            centre = gr.Checkbox(
                self.studio.is_centred,
                label="Cut the figure out and centre it, as MNIST was made",
                elem_id="centre",
            )
            invert = gr.Checkbox(
                True,
                label="Exchange dark and light where the background is the opposite",
                visible=self.studio.module.image_shape[0] == 1,
            )
        options = [centre, invert]
        again = self.accepting(lambda picture: picture)
        self.events += [
            pad.input(self.accepting(decode_data_url), [pad, *options], self.chosen, **QUIET),
            file.upload(self.accepting(decode), [file, *options], self.chosen, **QUIET),
            gr.on(
                [option.input for option in options],
                again,
                [self.picture, *options],
                self.chosen,
                **QUIET,
            ),
        ]
        # The sheet for files is ready for the next one at once.
        file.upload(lambda: None, None, file, **QUIET)

    def accepting(self, load: Callable[[Any], Image.Image]) -> Callable[..., Any]:
        """Return a handler that makes Q's input of what a source gives, or a message.

        Args:
            load: Makes a picture of the source's value; raises UploadError.
        """

        def accept(value: Any, centre: bool, invert: bool) -> Any:
            if value is None or value == "":
                return [gr.skip()] * 3
            how = Preparation(self.studio.module.image_shape, self.studio.paper, invert, centre)
            try:
                picture = load(value)
                return prepare(picture, how), picture, ""
            except UploadError as error:
                return None, None, markup.message(str(error))

        return accept

    # ---- reading -------------------------------------------------------------------------------

    def draw(self, place: Place, *values: Any) -> str:
        (image,) = values
        if image is None:
            return '<p class="note">Choose, draw or upload an image for Q to read.</p>'
        results = self.studio.read(image)
        there = Place(positions_of(results), place.seed)
        seen = "".join(
            f"<figure><figcaption>{caption}</figcaption>"
            f"{markup.image(picture, caption, SEEN_WIDTH)}</figure>"
            for caption, picture in (
                ("x, as Q sees it", to_bytes(image)),
                ("G(z, codes read)", self.studio.picture(there)),
            )
        )
        parts = [f'<div class="seen">{seen}</div>']
        if self.studio.has_noise:
            others = self.studio.draws(there, 1, NUM_OTHERS, OTHERS_WIDTH)
            parts.append(markup.image(others, "the codes read on other noise"))
        return "".join([*parts, markup.readings(results, self.studio.meanings)])

    def positions(self, image: Tensor | None) -> list[Any]:
        """Return the positions that Q reads, or leave the controls alone without an image."""
        if image is None:
            return [gr.skip()] * len(self.studio.controls)
        return list(positions_of(self.studio.read(image)))


def script(name: str) -> str:
    """Return a script that lies beside this file."""
    return Path(__file__).with_name(name).read_text()
