"""Draw a labelled matrix as a picture: a confusion matrix, or codes against factors."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Num, UInt8
from PIL import Image, ImageDraw, ImageFont

from infogan.pictures.grids import FONT_SIZE, INK, PAPER

# From paper to full ink, in RGB: blue is told from white by every reader.
FULL = np.array([8, 64, 129])
PAD = 8


def confusion_matrix_picture(
    matrix: Num[np.ndarray, "rows columns"],
    row_labels: Sequence[str],
    column_labels: Sequence[str],
    title: str = "",
    row_axis: str = "",
    column_axis: str = "",
    cell: int = 44,
) -> UInt8[np.ndarray, "h w 3"]:
    """Draw a matrix with its numbers, the darker the greater; any matrix that is nowhere negative.

    Args:
        matrix: Counts are written as integers, other numbers with two decimals; NaN as a dash.
        row_labels: A label a row, written on its left.
        column_labels: A label a column, written above it; on end where it is wider than a cell.
        title: Written above everything.
        row_axis: What the rows are.
        column_axis: What the columns are.
        cell: Side of a cell in screen pixels.

    Raises:
        ValueError: If the labels do not fit the matrix, or it has a negative entry.
    """
    if matrix.shape != (len(row_labels), len(column_labels)) or 0 in matrix.shape:
        raise ValueError(
            f"matrix has shape {matrix.shape}, which must be the numbers of row_labels "
            f"({len(row_labels)}) and of column_labels ({len(column_labels)})"
        )
    if np.nanmin(matrix, initial=0) < 0:
        raise ValueError(f"matrix must be nowhere negative, but has {np.nanmin(matrix)}")
    font = ImageFont.load_default(FONT_SIZE)
    upright = max(font.getlength(label) for label in column_labels) <= cell - 4
    header = FONT_SIZE if upright else int(max(map(font.getlength, column_labels)))
    left = PAD + int(max(font.getlength(text) for text in (*row_labels, row_axis))) + PAD
    lines = sum(map(bool, (title, column_axis)))
    top = PAD + lines * (FONT_SIZE + PAD) + header + PAD
    rows, columns = matrix.shape
    right = max(left + columns * cell, *(left + font.getlength(t) for t in (title, column_axis)))
    canvas = Image.new("RGB", (int(right) + PAD, top + rows * cell + PAD), (PAPER,) * 3)
    draw = ImageDraw.Draw(canvas)
    for line, text in enumerate(filter(None, (title, column_axis))):
        draw.text((left, PAD + line * (FONT_SIZE + PAD)), text, fill=(INK,) * 3, font=font)
    draw.text((left - PAD, top - PAD), row_axis, fill=(INK,) * 3, font=font, anchor="rs")
    for row, label in enumerate(row_labels):
        centre = (left - PAD, top + (row + 0.5) * cell)
        draw.text(centre, label, fill=(INK,) * 3, font=font, anchor="rm")
    for column, label in enumerate(column_labels):
        _write_column_label(canvas, label, left + (column + 0.5) * cell, top - PAD, upright)
    _draw_cells(draw, matrix, (left, top), cell)
    return np.asarray(canvas)


def _write_column_label(
    canvas: Image.Image, label: str, centre: float, bottom: int, upright: bool
) -> None:
    """Write a label above its column, on end unless upright."""
    font = ImageFont.load_default(FONT_SIZE)
    if upright:
        draw = ImageDraw.Draw(canvas)
        draw.text((centre, bottom), label, fill=(INK,) * 3, font=font, anchor="ms")
        return
    strip = Image.new("RGB", (int(font.getlength(label)) + 2, FONT_SIZE + 4), (PAPER,) * 3)
    ImageDraw.Draw(strip).text((0, 0), label, fill=(INK,) * 3, font=font)
    turned = strip.rotate(90, expand=True)
    canvas.paste(turned, (int(centre) - turned.width // 2, bottom - turned.height))


def _draw_cells(
    draw: ImageDraw.ImageDraw, matrix: np.ndarray, corner: tuple[int, int], cell: int
) -> None:
    """Shade every cell by its share of the greatest entry and write its number."""
    whole = np.issubdtype(matrix.dtype, np.integer)
    greatest = max(float(np.nanmax(matrix, initial=0)), np.finfo(float).tiny)
    texts = [
        ["-" if np.isnan(value) else str(value) if whole else f"{value:.2f}" for value in row]
        for row in matrix
    ]
    size = FONT_SIZE
    longest = max((text for row in texts for text in row), key=len)
    while size > 8 and ImageFont.load_default(size).getlength(longest) > cell - 6:
        size -= 1
    font = ImageFont.load_default(size)
    for row, column in np.ndindex(matrix.shape):
        share = float(np.nan_to_num(matrix[row, column])) / greatest
        shade = tuple(int(x) for x in np.rint(PAPER + share * (FULL - PAPER)))
        x, y = corner[0] + column * cell, corner[1] + row * cell
        draw.rectangle((x, y, x + cell - 2, y + cell - 2), fill=shade)
        # An empty cell stays readable as one, without drowning the others in zeros.
        ink = (PAPER,) * 3 if share > 0.45 else (INK,) * 3 if share > 0 else (140,) * 3
        text = texts[row][column]
        draw.text((x + cell / 2 - 1, y + cell / 2 - 1), text, fill=ink, font=font, anchor="mm")
