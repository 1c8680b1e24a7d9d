"""Numbers as people write them: 150, never 1.5e+02."""

from __future__ import annotations

from math import floor, isfinite, log10


def format_plain(value: float, digits: int = 3) -> str:
    """A number rounded to `digits` significant digits, without an exponent and without trailing zeros."""
    if not value or not isfinite(value):
        return f"{value:g}"
    decimals = digits - 1 - floor(log10(abs(value)))
    text = f"{round(value, decimals):.{max(decimals, 0)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
