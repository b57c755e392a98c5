"""The parts of the page that are pictures: PNGs inside HTML, so that no file is written."""

import base64
import html
import io
import time

import numpy as np
from PIL import Image

from infogan.commands.explore.studio import Reading

# Of a code with more values than this, only the most probable ones are listed.
MAX_BARS = 10
THUMBNAIL_WIDTH = 56
CHART_WIDTH, CHART_HEIGHT = 220, 36


def png_url(picture: np.ndarray) -> str:
    """Return a picture (height, width, 3) of bytes as a URL that holds it."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG", compress_level=1)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def image(picture: np.ndarray, alt: str, width: int | None = None) -> str:
    """Return a picture with its pixels kept sharp.

    Args:
        picture: Bytes, (height, width, 3).
        alt: What the picture shows, for those who cannot see it.
        width: Width on the screen; None for the picture's own.
    """
    pixels = picture.shape[1] if width is None else width
    return (
        f'<img class="pixels" src="{png_url(picture)}" alt="{html.escape(alt)}" '
        f'style="width: {pixels}px">'
    )


def grid(picture: np.ndarray, alt: str, filename: str) -> str:
    """Return a picture with a link that saves it."""
    # The link takes the image's own bytes when it is clicked: they travel once.
    take = "this.href = this.parentNode.querySelector('img').src"
    return (
        f'<figure class="grid">{image(picture, alt)}'
        f'<a class="download" download="{html.escape(filename)}" href="#" onclick="{take}">'
        "Download PNG</a></figure>"
    )


def thumbnails(pictures: dict[int, tuple[np.ndarray, str]]) -> str:
    """Return a button for each picture, by its number, with its caption."""
    buttons = (
        f'<button type="button" data-index="{number}">{image(picture, text, THUMBNAIL_WIDTH)}'
        f"<span>{html.escape(text)}</span></button>"
        for number, (picture, text) in pictures.items()
    )
    return f'<div class="thumbnails">{"".join(buttons)}</div>'


def message(text: str) -> str:
    """Return a message that screen readers announce, also if it is the same as before."""
    now = time.monotonic_ns()
    return f'<p class="message" role="alert" data-time="{now}">{html.escape(text)}</p>'


def readings(results: list[Reading], meanings: dict[int, list[str]]) -> str:
    """Return what Q reads: bars for discrete codes, the density for others.

    Args:
        results: The readings by code.
        meanings: By position of a code, the class that each of its categories names.
    """
    parts = []
    for index, reading in enumerate(results):
        name = html.escape(reading.control.name)
        if reading.control.code.is_discrete:
            body = bars(reading, meanings.get(index))
            best = ""
        else:
            body = density(reading)
            best = f" {html.escape(reading.control.label(reading.position))}"
        parts.append(f'<section class="reading"><h4>{name}{best}</h4>{body}</section>')
    return "".join(parts)


def bars(reading: Reading, meanings: list[str] | None) -> str:
    """Return a bar a value of a discrete code, the most probable ones if there are many."""
    order = list(range(len(reading.weights)))
    if len(order) > MAX_BARS:
        order = sorted(order, key=lambda i: -reading.weights[i])[:MAX_BARS]
    rows = []
    for i in order:
        label = reading.labels[i] + (f" ({meanings[i]})" if meanings else "")
        best = " best" if i == int(reading.position) else ""
        percent = 100 * reading.weights[i]
        rows.append(
            f'<div class="bar{best}"><span>{html.escape(label)}</span>'
            f'<i><b style="width: {percent:.1f}%"></b></i><span>{percent:.0f} %</span></div>'
        )
    return "".join(rows)


def density(reading: Reading) -> str:
    """Return Q's density over the range of a continuous code, its peak marked."""
    control = reading.control
    top = max(reading.weights) or 1.0
    step = CHART_WIDTH / (len(reading.weights) - 1)
    heights = (CHART_HEIGHT * (1 - weight / top) for weight in reading.weights)
    points = " ".join(f"{i * step:.1f},{height:.1f}" for i, height in enumerate(heights))
    peak = CHART_WIDTH * (reading.position - control.low) / (control.high - control.low)
    low, high = (html.escape(control.label(end)) for end in (control.low, control.high))
    return (
        f'<svg viewBox="0 0 {CHART_WIDTH} {CHART_HEIGHT}" preserveAspectRatio="none" '
        f'role="img" aria-label="density of {html.escape(control.name)}">'
        f'<polygon points="0,{CHART_HEIGHT} {points} {CHART_WIDTH},{CHART_HEIGHT}"/>'
        f'<line x1="{peak:.1f}" x2="{peak:.1f}" y1="0" y2="{CHART_HEIGHT}"/></svg>'
        f'<div class="range"><span>{low}</span><span>{high}</span></div>'
    )
