"""Matrices as pictures: every number in its place, the greatest the darkest."""

import numpy as np
import pytest

from infogan.callbacks.confusion import ConfusionMatrix
from infogan.data import DataFactor
from infogan.pictures.grids import PAPER
from infogan.pictures.matrix import FULL, confusion_matrix_picture


def corner_shades(picture: np.ndarray, shape: tuple[int, int], cell: int) -> np.ndarray:
    """Return the colour just inside the upper left corner of every cell: (rows, columns, 3)."""
    bottom, right = picture.shape[0] - 8, picture.shape[1] - 8
    top, left = bottom - shape[0] * cell, right - shape[1] * cell
    return picture[top + 1 : bottom : cell, left + 1 : right : cell]


@pytest.mark.parametrize("dtype", [int, float])
def test_shades_grow_with_the_entries(dtype: type) -> None:
    matrix: np.ndarray = np.array([[0, 10, 5], [20, 1, 0]], dtype=dtype)
    picture = confusion_matrix_picture(matrix, ["a", "b"], ["x", "y", "z"], cell=40)
    shades = corner_shades(picture, (2, 3), 40).astype(int)
    assert (shades[1, 0] == FULL).all() and (shades[0, 0] == PAPER).all()
    assert np.argsort(-shades.sum(axis=2).ravel()[[0, 4, 2, 1, 3]]).tolist() == [0, 1, 2, 3, 4]


def test_a_matrix_of_zeros_or_nan_is_drawn() -> None:
    empty = np.zeros((2, 2))
    matrices: list[np.ndarray] = [empty, empty + np.nan, empty.astype(int)]
    for matrix in matrices:
        picture = confusion_matrix_picture(matrix, ["a", "b"], ["x", "y"])
        assert (corner_shades(picture, (2, 2), 44) == PAPER).all()


def test_long_labels_stand_on_end_and_make_room() -> None:
    matrix = np.eye(2)
    short = confusion_matrix_picture(matrix, ["a", "b"], ["x", "y"])
    tall = confusion_matrix_picture(matrix, ["a", "b"], ["foreground_noise", "y"])
    assert tall.shape[0] > short.shape[0] + 50 and tall.shape[1] == short.shape[1]


@pytest.mark.parametrize(
    ("matrix", "said"),
    [
        (np.zeros((2, 3)), r"shape \(2, 3\).*row_labels \(2\) and of column_labels \(2\)"),
        (np.array([[0.0, 1.0], [-1.0, 0.0]]), "nowhere negative, but has -1.0"),
    ],
)
def test_what_cannot_be_drawn_is_refused(matrix: np.ndarray, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        confusion_matrix_picture(matrix, ["a", "b"], ["x", "y"])


def test_rows_of_a_confusion_come_in_the_order_of_the_classes() -> None:
    counts = np.array([[0, 0, 7], [9, 0, 0], [0, 8, 0], [5, 0, 1]])
    picture = ConfusionMatrix(cell=30).picture(
        counts, ["2", "0", "1", "0"], "categorical0", DataFactor("digit", 3)
    )
    rows = picture[picture.shape[0] - 8 - 4 * 30 + 1 :: 30][:4].astype(int)
    shaded = rows[..., 2] > rows[..., 0]
    left = np.flatnonzero(shaded.any(axis=0))[0]
    first = [(np.flatnonzero(row)[0] - left) // 30 for row in shaded]
    assert first == [0, 0, 1, 2]


def test_a_cell_of_negative_size_is_refused() -> None:
    with pytest.raises(ValueError, match="cell must be at least 0, got -1"):
        ConfusionMatrix(cell=-1)
