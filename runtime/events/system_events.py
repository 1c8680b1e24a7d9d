"""Events about the device itself: what `data` holds for each type (docs/events.md).

The parts that record these events give their facts as dictionaries. This table is what consumers may rely on: the JSON
Schemas are made from it, and the tests hold every message against them.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from .camera_events import CameraFault, CameraRecovered, LostView, MovedView, RecoveredView
from .event import Attachment
from .golden_parts import GoldenPartResult
from .part_verdict import PartVerdict


class _Facts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    pass


class OmittedFacts(_Facts, frozen=True):
    """In place of facts that are too large for the outbox."""

    truncated: int
    """Their size in bytes."""


class EvictedEvents(_Facts, frozen=True):
    """A tombstone: the outbox was full, and these events were not delivered."""

    first: int
    """Sequence number."""
    last: int
    count: int
    """How many of the events from `first` to `last`."""
    sinks: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET
    """Sinks that miss one of them, if there are `[[sinks]]`; `broker` is the broker."""


class RecoveredOutbox(_Facts, frozen=True):
    """The outbox was corrupt; a new one has its readable events."""

    reason: str
    set_aside: str
    """Name of the corrupt file."""
    saved: int
    """Number of events that follow in a new `epoch`."""


class TruncatedEvent(_Facts, frozen=True):
    """An event was too large, and lost the predictions of the lowest scores."""

    sequence: int
    bytes: int
    """Size of the whole event."""


class VolatileOutbox(_Facts, frozen=True):
    """Events wait in memory: a power cut loses them."""

    reason: str


class EvidenceClip(Attachment, frozen=True, kw_only=True):
    """The clip of an event is written."""

    event: str
    """`data.event` of the event."""


class RefusedEvent(_Facts, frozen=True):
    """The broker refuses an event for good."""

    sequence: int
    reason: str


class RefusedBySink(RefusedEvent, frozen=True, kw_only=True):
    """A sink beside the broker refuses an event for good."""

    sink: str
    """Its name."""


class DuplicateIdentity(_Facts, frozen=True):
    """Another client seems to have the same name at the broker."""


class AcceptedRelease(_Facts, frozen=True):
    """An installed release kept to its probation."""

    release: int
    previous: int | None


class RolledBackRelease(_Facts, frozen=True):
    """An installed release failed its probation, and the one before runs again."""

    release: int | None
    left: int
    """The release that failed."""
    reason: str


class ScoreDrift(_Facts, frozen=True):
    """The scores of good parts have left the band in which they lay in the workshop, or lie there again."""

    drifted: bool
    """True: they left it; false: they are back."""
    model: str
    """The bundle: name, release and digest."""
    samples: int
    """Scores since the start of the daemon."""
    share_above: float
    """Share of the last scores above the band; about 0.1 is usual."""
    share_below: float
    product: str
    """Of a camera with several: the product whose scores they are; else empty."""


class Temperature(_Facts, frozen=True):
    """The machine is hot and processes fewer frames, or has cooled down."""

    temperature: float | None
    """Degrees Celsius; null: unknown."""
    slowness: float
    """Interval between frames, as a multiple of the usual one."""


class Undervoltage(_Facts, frozen=True):
    """The power supply is too weak."""

    boot: str


class FleetOrder(_Facts, frozen=True):
    """An order of the fleet is taken, or has ended."""

    order: str
    """Its nonce."""
    action: Literal["install", "rollback"]
    product: str
    release: int
    current: int | msgspec.UnsetType | None = msgspec.UNSET
    """The release that is current now; absent while the order is obeyed."""
    detail: str | msgspec.UnsetType = msgspec.UNSET


class ConfigurationRequest(_Facts, frozen=True):
    """A request to change the camera's file has ended."""

    request: str
    """Its ID; for an order of the fleet its nonce."""
    origin: str
    """`page` or `fleet`; empty: the request was malformed."""
    by: str
    """The user of the page, or the ID of the key that signed the order."""
    digest: str
    """SHA-256 of the camera's file now."""
    changed: list[str] | msgspec.UnsetType = msgspec.UNSET
    """Keys of the camera's file that differ, if it was applied."""
    reason: str | msgspec.UnsetType = msgspec.UNSET
    """Why it was refused or rolled back."""


class RefusedOrders(_Facts, frozen=True):
    """Orders are refused."""

    hint: str


SYSTEM_EVENTS: dict[str, type[msgspec.Struct]] = {
    "part.verdict": PartVerdict,
    "golden_part.locked": GoldenPartResult,
    "golden_part.begun": GoldenPartResult,
    "golden_part.passed": GoldenPartResult,
    "golden_part.failed": GoldenPartResult,
    "golden_part.acknowledged": GoldenPartResult,
    "outbox.evicted": EvictedEvents,
    "outbox.recovered": RecoveredOutbox,
    "outbox.truncated": TruncatedEvent,
    "outbox.volatile": VolatileOutbox,
    "evidence.clip": EvidenceClip,
    "broker.refused": RefusedEvent,
    "broker.duplicate_identity": DuplicateIdentity,
    "sink.refused": RefusedBySink,
    "camera.stalled": CameraFault,
    "camera.frozen": CameraFault,
    "camera.dark": CameraFault,
    "camera.bright": CameraFault,
    "camera.blurred": CameraFault,
    "camera.moved": CameraFault,
    "camera.recovered": CameraRecovered,
    "camera.view_moved": MovedView,
    "camera.view_lost": LostView,
    "camera.view_back": RecoveredView,
    "model.accepted": AcceptedRelease,
    "model.rolled_back": RolledBackRelease,
    "model.drift": ScoreDrift,
    "device.hot": Temperature,
    "device.cool": Temperature,
    "device.undervoltage": Undervoltage,
    "fleet.accepted": FleetOrder,
    "fleet.installed": FleetOrder,
    "fleet.rolled_back": FleetOrder,
    "fleet.failed": FleetOrder,
    "fleet.refused": RefusedOrders,
    "config.applied": ConfigurationRequest,
    "config.refused": ConfigurationRequest,
    "config.rolled_back": ConfigurationRequest,
}
"""Type of `data` by RULE.KIND, the type of the event without `vedette.`."""
