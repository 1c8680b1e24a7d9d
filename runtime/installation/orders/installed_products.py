"""What the message `info` says about installed products: releases, and how the last probation went."""

from __future__ import annotations

import msgspec

from ...events.mqtt_identity import CameraInfo
from ..model_store import InstalledModel, ModelStore
from ..probation_record import Probation, ProbationRecord


class InstalledProduct(msgspec.Struct, frozen=True, omit_defaults=True):
    """One product of the store."""

    current: int | None
    previous: int | None = None
    probation: str = ""
    """`running`, `accepted` or `rolled back`; empty: there was none that says anything about the current release."""
    release: int | None = None
    """The release whose probation it was."""
    reason: str = ""
    """Why it was rolled back."""


class ProductInfo(CameraInfo, frozen=True, kw_only=True):
    """Payload of the retained MQTT topic `info`, with what the device installed and the camera runs with."""

    products: dict[str, InstalledProduct] | msgspec.UnsetType = msgspec.UNSET
    """By name; absent: none is installed."""
    configuration: str | msgspec.UnsetType = msgspec.UNSET
    """SHA-256 of the camera's file, as the daemon read it at its start."""


def describe_products(store: ModelStore) -> dict[str, InstalledProduct]:
    """The installed products by name."""
    return {
        model.name: _describe(model, ProbationRecord(store, model.name).read_as_it_stands())
        for model in store.list_models()
    }


def _describe(model: InstalledModel, probation: Probation | None) -> InstalledProduct:
    if probation is None:
        return InstalledProduct(model.current, model.previous)
    return InstalledProduct(model.current, model.previous, probation.outcome, probation.release, probation.reason[:200])
