"""Receivers of events beside the broker: `use` of a table `[[sinks]]` selects one.

A receiver answers each delivery, so it needs no connection that stays. Each has its own cursor in the outbox, and its
own thread: one that is away stops no other.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from ...clock import Clock
from ...config.configuration import Config
from ...errors import locate_errors
from ...plugin_tables import load_plugin
from ..event import Event, SystemEvent
from ..outbox import Outbox, SequencedEvent
from ..sinks import Acknowledgement
from ..topics import Topics

RECEIVERS = {"webhook": ".webhook:WebhookReceiver", "smtp": ".mail:MailReceiver"}
MAX_RETRY_AFTER_SECONDS = 3600.0
_MAX_REASON = 500


class DeliveryFailed(ConnectionError):
    """The receiver did not take a delivery, which is tried again.

    Args:
        reason: in words; a receiver's own are made one printable line
        retry_after: seconds that the receiver asks to wait
        answered: True if the receiver was there, and answered
    """

    def __init__(self, reason: str, retry_after: float = 0.0, answered: bool = False) -> None:
        super().__init__(one_line(reason))
        self.retry_after, self.answered = min(max(retry_after, 0.0), MAX_RETRY_AFTER_SECONDS), answered


class ReceiverContext(msgspec.Struct, frozen=True):
    """What a receiver knows about the device and the camera."""

    device: str
    camera: str
    source: str
    """The CloudEvents source of the device."""
    timezone: str
    """Empty: the machine's."""
    evidence: Path
    """Folder of the camera's thumbnails."""
    epoch: str
    """Of the outbox."""
    clock: Clock


class Receiver(Protocol):
    """Collects events, and delivers them. All methods are called by one thread."""

    interval: float
    """Seconds between two deliveries."""

    def wants(self, record: Event | SystemEvent) -> bool:
        """Whether an event is to be delivered at all."""

    def add(self, row: SequencedEvent) -> bool:
        """Adds an event to the next delivery; False: that is full, or was tried already."""

    def deliver(self) -> list[Acknowledgement]:
        """Delivers what was added, and returns the answer for each; raises DeliveryFailed if all of it must wait."""

    def clear(self) -> None:
        """Forgets what was added."""

    def check(self) -> None:
        """Connects, and logs in where there is a login; delivers nothing. Raises DeliveryFailed."""

    def close(self) -> None:
        """Closes the connection, if there is one. Never raises."""


def load_receivers(settings: Config, outbox: Outbox | None) -> list[tuple[str, Receiver]]:
    """Makes the receivers of all `[[sinks]]`, each with the name of its sink.

    Args:
        settings: configuration of the camera
        outbox: whose events they get; None: they are only checked

    Raises:
        ConfigProblem: a secret or a certificate cannot be read.
    """
    clock, epoch = (outbox.clock, outbox.epoch) if outbox is not None else (Clock(), "")
    device, camera = settings.device, settings.camera
    evidence = settings.evidence.store_folder(camera, settings.state_folder)
    source = Topics.from_config(settings).source
    context = ReceiverContext(device.name, camera, source, device.timezone, evidence, epoch, clock)
    receivers = []
    for sink in settings.sinks:
        with locate_errors(settings.device_file):
            use = str(sink.__struct_config__.tag)
            receivers.append((sink.name, load_plugin(__package__, RECEIVERS, use, "sinks.use")(sink, context)))
    return receivers


def one_line(text: str) -> str:
    """What a receiver says as one line of a log: at most 500 characters, and none that a terminal would obey."""
    return " ".join("".join(each if each.isprintable() else " " for each in text[: 4 * _MAX_REASON]).split())[
        :_MAX_REASON
    ]


def is_wanted(record: Event | SystemEvent, rules: Sequence[str]) -> bool:
    """Whether an event is one of `rules`, if there are any."""
    return not rules or record.rule in rules
