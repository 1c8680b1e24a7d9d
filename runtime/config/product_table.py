"""The tables `[[products]]` of a camera's file: the products that one camera inspects (docs/line.md)."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated

import msgspec

from .trigger_table import Score, TriggerSettings

NO_PRODUCT = 65535
"""In place of an index: the line has selected no product."""


class ProductSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One of `[[products]]`."""

    name: Annotated[str, msgspec.Meta(min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]+\Z")]
    """Name in the events."""
    index: Annotated[int, msgspec.Meta(ge=0, lt=NO_PRODUCT)]
    """Its number for the line."""
    bundle: str
    """Path of a bundle, or `installed:NAME`."""
    threshold: Score | None = None
    """A part is rejected at this score; None: the bundle's threshold."""
    warn: Score | None = None
    """A part gets the verdict `warn` from this score on; None: never."""
    codes: tuple[str, ...] = ()
    """What codes in the picture its parts have, with `*` for any characters; needs `[trigger.code]`."""

    def __post_init__(self) -> None:
        if self.warn is not None and self.threshold is not None and self.warn >= self.threshold:
            raise ValueError(f"warn: {self.warn:g} must be below threshold, {self.threshold:g}; nothing would warn")


class CameraProduct(msgspec.Struct, frozen=True):
    """A product with the place of its bundle."""

    settings: ProductSettings
    bundle: Path
    installed: str
    """As of `Config`."""


def check_products(
    products: Sequence[ProductSettings], trigger: TriggerSettings | None, bundle: str, golden: bool
) -> str:
    """What is wrong with the products of a camera's file, and with its key `bundle`; empty: nothing.

    `golden`: whether the file has `[golden_parts]`.
    """
    if not products or bundle:
        error = "bundle: each of [[products]] has its own; remove this key"
        return error if products else "" if bundle else "Object missing required field `bundle`"
    if trigger is None:
        return "products: they need the table [trigger], by which the line selects one"
    if reads_product(products) and trigger.code is None:
        return "products: codes need the table [trigger.code]"
    if reads_product(products) and golden:
        return "golden_parts: the line has to select the product; take products.codes out"
    for what in ("name", "index"):
        values = [getattr(each, what) for each in products]
        if double := [value for value in values if values.count(value) > 1]:
            return f"products: two have the {what} {double[0]!r}"
    if own := [key for key in ("threshold", "warn", "product") if getattr(trigger, key) not in (None, "")]:
        return f"trigger.{own[0]}: write it into [[products]]"
    known = trigger.product_index in (None, *(each.index for each in products))
    return "" if known else f"trigger.product_index: {trigger.product_index} is no index of [[products]]"


def reads_product(products: Sequence[ProductSettings]) -> bool:
    """Whether the code on a part, and not the line, says which product it is."""
    return any(each.codes for each in products)


def find_product(products: Sequence[ProductSettings], code: str) -> int:
    """The index of the product whose parts have such a code; `NO_PRODUCT` if none has, or several."""
    found = {each.index for each in products if any(fnmatchcase(code, pattern) for pattern in each.codes)}
    return found.pop() if len(found) == 1 else NO_PRODUCT
