"""Which lost connections the messages of integrations may have caused: then they pause, and events go on alone."""

from __future__ import annotations

import logging
import time

from ..events.sinks import MessageRefused, SessionTakenOver

log = logging.getLogger(__name__)

SUSPECT_SECONDS = 5.0
"""A connection that is lost so soon after a message of an integration may be lost because of it."""
MAX_LOSSES = 3  # in a row; fewer than make an event a dead letter
PAUSE_SECONDS = 600.0


class LossCounter:
    """Counts connections that were lost soon after a message of an integration."""

    def __init__(self) -> None:
        self.losses = 0
        self.last_message = self.paused_until = float("-inf")
        self.sequence: int | None = None
        """The event before which the last messages were sent."""

    def is_suspended(self) -> bool:
        """Whether integrations must not send now."""
        return time.monotonic() < self.paused_until

    def count_message(self, sequence: int | None) -> None:
        """Counts a message that was sent, before the event with this number or on its own."""
        self.last_message = time.monotonic()
        self.sequence = sequence if sequence is not None else self.sequence

    def count_acknowledgement(self, sequence: int) -> None:
        """The broker answered to an event: it took all that was sent before."""
        if sequence == self.sequence:
            self.losses, self.last_message = 0, float("-inf")

    def count_loss(self, error: ConnectionError) -> bool:
        """Counts a lost connection; returns whether a message of an integration may be the cause."""
        if time.monotonic() - self.last_message > SUSPECT_SECONDS or isinstance(error, SessionTakenOver):
            return False
        self.last_message = float("-inf")
        self.losses += 1
        if self.losses >= MAX_LOSSES or isinstance(error, MessageRefused):
            self.losses, self.paused_until = 0, time.monotonic() + PAUSE_SECONDS
            log.error("the broker seems not to take messages of integrations, they pause for %.0f s", PAUSE_SECONDS)
        return True
