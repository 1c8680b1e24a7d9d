"""Several handlers of commands as one: each takes those that it knows."""

from __future__ import annotations

from .periodic_messages import CommandHandler
from .sinks import Command, Message


class CommandHandlers:
    """Hands each command to all handlers.

    Args:
        handlers: more can be added until the forwarder starts
    """

    def __init__(self, *handlers: CommandHandler) -> None:
        self.handlers = list(handlers)

    def add(self, handler: CommandHandler) -> None:
        """Adds a handler."""
        self.handlers.append(handler)

    def take(self, command: Command) -> None:
        """See CommandHandler."""
        for handler in self.handlers:
            handler.take(command)

    def reset(self) -> None:
        """See PeriodicMessages."""
        for handler in self.handlers:
            handler.reset()

    def pending_messages(self) -> list[Message]:
        """See PeriodicMessages."""
        return [message for handler in self.handlers for message in handler.pending_messages()]

    def close(self) -> None:
        """See CommandHandler."""
        for handler in self.handlers:
            handler.close()
