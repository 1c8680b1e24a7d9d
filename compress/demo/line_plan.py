"""The plan of the demonstration of a line: when which product comes, and which picture it has.

The line changes the product: twice after a row of parts, then between every two parts, and once it selects an index
that no product has. That is before the other faults, because each part takes the next picture of the recording: after a
part without a picture the cells would no longer be those of the product.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from ..build import BuildResult
from ..data.split import Split
from .solar_cells import MONO, POLY

FIRST, SECOND, UNKNOWN = 1, 2, 9
"""Product indices."""
NAMES = {FIRST: MONO.name, SECOND: POLY.name}
JAM, HANG, OUTAGE_BEGINS, OUTAGE_ENDS = 0.25, 0.5, 0.6, 0.8
"""Shares of the parts at which something happens."""
_SECOND_BEGINS, _FIRST_AGAIN, _EACH_PART, _ONE_PRODUCT, _WRONG_INDEX = 0.05, 0.1, 0.12, 0.2, 0.22
_JAM_SECONDS, BUNCH, _BUNCH_GAP = 1.5, 10, 0.005


class PlannedPicture(msgspec.Struct, frozen=True):
    """What a part looks like."""

    path: Path
    product: int
    is_defective: bool


def plan_products(count: int) -> list[int]:
    """The product index of each part."""
    return [_product_of(number / count, number, int(_WRONG_INDEX * count)) for number in range(count)]


def _product_of(share: float, number: int, wrong: int) -> int:
    if number == wrong:
        return UNKNOWN
    if _SECOND_BEGINS <= share < _FIRST_AGAIN:
        return SECOND
    if _EACH_PART <= share < _ONE_PRODUCT:
        return SECOND if number % 2 else FIRST
    return FIRST


def plan_pictures(products: list[int], builds: dict[int, BuildResult]) -> list[PlannedPicture]:
    """The pictures in the order in which the parts take them: unseen cells of each product, in file order.

    Args:
        products: of `plan_products`
        builds: the bundle of each product, and its images
    """
    cells = {index: _list_cells(index, built) for index, built in builds.items()}
    return [next(cells[each]) for each in products if each in cells]


def count_cells(built: BuildResult) -> int:
    """How many cells no model was fitted to."""
    return len(built.split.test) + len(_defective(built))


def plan_moments(count: int, rate: float) -> list[float]:
    """When the parts arrive, seconds after the start: evenly, but for a jam and the bunch behind it."""
    moments, now, jam = [], 1.0, int(JAM * count)
    for number in range(count):
        if number == jam:
            now += _JAM_SECONDS
        elif number:
            now += _BUNCH_GAP if jam < number < jam + BUNCH else 1 / rate
        moments.append(now)
    return moments


def _list_cells(index: int, built: BuildResult) -> Iterator[PlannedPicture]:
    defective = set(_defective(built))
    for path in sorted([*built.split.test, *defective], key=lambda path: path.name):
        yield PlannedPicture(path, index, path in defective)


def _defective(built: BuildResult) -> list[Path]:
    return built.split.defect if isinstance(built.split, Split) else []
