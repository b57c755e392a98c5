"""Descriptions of factors that no column can fit."""

import pytest

from datamodules import Factor


@pytest.mark.parametrize(
    ("name", "num_values", "low", "high", "message"),
    [
        ("", 3, 0.0, 2.0, "name='' of a Factor is empty"),
        ("digit", 0, 0.0, 0.0, "num_values=0 of the factor 'digit' must be at least 1"),
        (
            "digit",
            10,
            0.0,
            10.0,
            "low=0.0, high=10.0 of the discrete factor 'digit' must be 0 and 9",
        ),
        ("angle", None, 1.0, 1.0, "low=1.0 of the continuous factor 'angle' must be below"),
    ],
)
def test_a_wrong_factor_is_refused(
    name: str, num_values: int | None, low: float, high: float, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Factor(name, num_values, low, high)


def test_names_that_do_not_fit_the_values_are_refused() -> None:
    with pytest.raises(ValueError, match="of the factor 'animal' must be 3 names"):
        Factor("animal", 3, 0, 2, ("cat", "dog"))


def test_right_factors_are_equal_by_value() -> None:
    assert Factor("angle", None, -1.0, 1.0) == Factor("angle", None, -1.0, 1.0)
    assert Factor("constant", 1, 0.0, 0.0).num_values == 1
