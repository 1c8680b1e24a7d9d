"""The health gate of a rollout: whether a box does well with its new release.

The box itself has tried the golden outputs before it installed, and watches speed, decisions and starts on probation.
Seen from outside: is it there, does its connection die, do events flood.
"""

from __future__ import annotations

import time
from typing import NamedTuple

from .inventory import FleetBox
from .rollout_record import BoxRecord, Rollout

FLOOD_FACTOR = 10.0
FLOOD_EVENTS = 30.0
"""Events a minute: fewer are no flood, however few there were before."""
MAX_LOSSES = 3
"""Connections that may die."""


class Limits(NamedTuple):
    """How long the gate waits, in seconds."""

    order: float = 1800.0
    """For the outcome of an order."""
    offline: float = 180.0
    """For a camera that is offline."""
    settle: float = 60.0
    """Watched at least, where there is no probation."""
    accept: float = 900.0
    """For the probation, beyond its minutes."""
    leave: float = 900.0
    """For the way back."""
    retry: float = 20.0
    """Until an order is sent again that was not answered; then twice as long, up to eight times."""


def judge(box: FleetBox, record: BoxRecord, rollout: Rollout, limits: Limits, now: float) -> tuple[bool | None, str]:
    """Whether a box passes; None: it is not decided yet.

    Args:
        box: what the box says
        record: the box in the rollout, in the state `installed`
        rollout: the rollout
        limits: how long to wait
        now: seconds since 1970

    Returns:
        the verdict, and why it fails
    """
    if reason := _find_fault(box, record, rollout, limits):
        return False, reason
    product = box.products.get(rollout.product)
    is_there = bool(rollout.part) or (product is not None and product.current == rollout.release)
    is_online = all(camera in box.cameras and box.cameras[camera].availability == "online" for camera in record.cameras)
    on_probation = product is not None and product.release == rollout.release and product.probation == "running"
    waited = now - record.since
    if is_there and is_online and not on_probation and (_was_accepted(box, rollout) or waited >= limits.settle):
        return True, ""
    if waited > 60 * rollout.minutes + limits.accept:
        return False, f"not accepted in {waited / 60:.0f} minutes"
    return None, ""


def _was_accepted(box: FleetBox, rollout: Rollout) -> bool:
    product = box.products.get(rollout.product)
    return product is not None and product.release == rollout.release and product.probation == "accepted"


def _find_fault(box: FleetBox, record: BoxRecord, rollout: Rollout, limits: Limits) -> str:
    product = box.products.get(rollout.product)
    if product is not None and product.release == rollout.release and product.probation == "rolled back":
        return f"it rolled back: {product.reason or 'no reason given'}"
    losses = sum(camera.losses for camera in box.cameras.values()) - record.losses
    if losses > MAX_LOSSES:
        return f"its connections died {losses} times"
    for name in record.cameras:
        camera = box.cameras.get(name)
        if camera is None:  # its retained messages have not come yet
            continue
        if camera.availability != "online" and time.monotonic() - camera.changed > limits.offline:
            return f"{name} is {camera.availability} for more than {limits.offline:.0f} s"
        rate, before = camera.events_per_minute, record.events_per_minute.get(name, 0.0)
        is_new = bool(rollout.part) or camera.model.split(":")[:2] == [rollout.product, str(rollout.release)]
        if rate is not None and is_new and rate > max(FLOOD_FACTOR * before, FLOOD_EVENTS):
            return f"{name} records {rate:.0f} events a minute, before it were {before:.1f}"
    return ""
