"""What a device publishes beside its events: periodic messages, and answers to commands."""

from __future__ import annotations

from typing import Protocol

from .sinks import Command, Message


class PeriodicMessages(Protocol):
    """Messages that the device publishes periodically, beside its events."""

    def reset(self) -> None:
        """Makes all messages pending again: a restarted broker may have lost its retained messages."""

    def pending_messages(self) -> list[Message]:
        """The messages to publish now."""


class CommandHandler(PeriodicMessages, Protocol):
    """Handles commands other than replays; `pending_messages` has its answers."""

    def take(self, command: Command) -> None:
        """Takes a command. Never blocks, never raises."""

    def close(self) -> None:
        """Ends what runs in the background, without waiting for it."""
