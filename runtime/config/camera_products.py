"""A camera with several products, taken apart: all code but the line itself sees a camera with one bundle."""

from __future__ import annotations

import msgspec

from .configuration import Config
from .product_table import CameraProduct


def list_product_settings(settings: Config) -> tuple[Config, ...]:
    """The settings that a camera would have with each of its products alone; without `[[products]]` those it has."""
    return tuple(_settings_with(settings, each) for each in settings.products) or (settings,)


def product_index(settings: Config) -> int:
    """The index, for the line, of the product of such settings; 0: they have none."""
    return (settings.trigger.product_index or 0) if settings.trigger is not None else 0


def list_installed(settings: Config) -> frozenset[str]:
    """The products of the store of installed models that a camera runs."""
    return frozenset(each.installed for each in list_product_settings(settings) if each.installed)


def _settings_with(settings: Config, product: CameraProduct) -> Config:
    own, trigger = product.settings, settings.trigger
    assert trigger is not None
    changes = {"product": own.name, "product_index": own.index, "threshold": own.threshold, "warn": own.warn}
    return msgspec.structs.replace(
        settings,
        products=(),
        trigger=msgspec.structs.replace(trigger, **changes),
        bundle=product.bundle,
        installed=product.installed,
    )
