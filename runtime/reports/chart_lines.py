"""Lines of a chart as coordinates of an SVG picture."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 640.0, 200.0, 60.0, 12.0, 172.0  # of the picture, and edges of the plot in it


class ChartDot(msgspec.Struct, frozen=True):
    """A point of the chart."""

    x: float
    y: float
    signal: bool
    text: str


class ChartLines(msgspec.Struct, frozen=True):
    """The lines of a chart, for the macro `chart` of the templates."""

    line: str
    """`points` of a polyline."""
    dots: tuple[ChartDot, ...]
    low: str
    high: str
    """`points` of the limits; empty: there are none."""
    center: float | None
    levels: tuple[tuple[float, str], ...]
    """Height and text of the marks of the axis."""
    ticks: tuple[tuple[float, str], ...]


def draw_lines(
    times: Sequence[str],
    values: Sequence[float],
    limits: tuple[Sequence[float], Sequence[float]] | None,
    center: float | None,
    signals: Sequence[bool],
    as_percent: bool = False,
) -> ChartLines:
    """Draws a chart.

    Args:
        times: labels of the points, N, as `06:15`
        values: N
        limits: lowest and highest value without a signal, N each
        center: the value of the reference
        signals: N
        as_percent: the values are shares
    """
    shown = [*values, *([*limits[0], *limits[1]] if limits else []), *([] if center is None else [center])]
    lowest, highest = min(shown), max(shown)
    margin = 0.05 * (highest - lowest) or abs(highest) * 0.1 or 1.0
    lowest, highest = (max(lowest - margin, 0.0) if as_percent else lowest - margin), highest + margin

    def x(number: int) -> float:
        return round(LEFT + (WIDTH - LEFT - 10) * (number + 0.5) / len(values), 1)

    def y(value: float) -> float:
        return round(BOTTOM - (BOTTOM - TOP) * (value - lowest) / (highest - lowest), 1)

    def join(series: Sequence[float]) -> str:
        return " ".join(f"{x(number)},{y(value)}" for number, value in enumerate(series))

    def label(value: float) -> str:
        return f"{100 * value:.2g} %" if as_percent else f"{value:.3g}"

    step = max(1, len(times) // 8)
    return ChartLines(
        line=join(values),
        dots=tuple(
            ChartDot(x(number), y(value), signal, f"{time}: {label(value)}")
            for number, (time, value, signal) in enumerate(zip(times, values, signals, strict=True))
        ),
        low=join(limits[0]) if limits else "",
        high=join(limits[1]) if limits else "",
        center=None if center is None else y(center),
        levels=tuple((y(value), label(value)) for value in (lowest, (lowest + highest) / 2, highest)),
        ticks=tuple((x(number), times[number]) for number in range(0, len(times), step)),
    )
