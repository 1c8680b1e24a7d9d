"""Numbers on the page have no exponent."""

from __future__ import annotations

import pytest

from vedette.runtime.page.health_words import format_bytes
from vedette.runtime.page.plain_number import format_plain


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (150.0, 2, "150"),
        (223.4, 2, "220"),
        (0.0123, 2, "0.012"),
        (6.149, 3, "6.15"),
        (99.96, 3, "100"),
        (12_346.0, 4, "12350"),
        (-3.5, 3, "-3.5"),
        (2.0, 3, "2"),
        (0.0, 3, "0"),
        (0.0000004, 2, "0.0000004"),
        (float("-inf"), 3, "-inf"),
    ],
)
def test_plain_number(value: float, digits: int, text: str) -> None:
    assert format_plain(value, digits) == text


def test_bytes_just_below_a_unit() -> None:
    assert format_bytes(999_600.0) == "1000 kB"
