"""Commands about reference parts over MQTT: `cmd/golden-part`, if `[golden_parts] mqtt` allows them.

    {"camera": "door", "action": "acknowledge", "by": "Kim"}

Whoever may publish commands at the broker may then unlock the line, so it is off unless the camera's file says so.
The answer goes to the response topic of the command, below the device's `res/`. Retained commands are ignored.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable

import msgspec

from ..config.configuration import Config
from ..errors import UNREADABLE
from ..events.commands import CommandLimit, make_answer
from ..events.sinks import Command, Message
from ..events.topics import Topics
from .golden_messages import GoldenCommand, GoldenStatus

log = logging.getLogger(__name__)

MAX_COMMANDS = 5  # a second; more are ignored
_MAX_PAYLOAD = 1024


class GoldenCommands:
    """Takes the commands of one camera.

    Args:
        settings: configuration of the camera
        obey: obeys a command
        wake: called when an answer waits
    """

    def __init__(
        self, settings: Config, obey: Callable[[GoldenCommand], GoldenStatus], wake: Callable[[], None]
    ) -> None:
        self.camera, self.topics, self.obey, self.wake = settings.camera, Topics.from_config(settings), obey, wake
        self.limit = CommandLimit(MAX_COMMANDS)
        self.messages = deque[Message](maxlen=16)

    def take(self, command: Command) -> None:
        """Takes a command. Never raises."""
        if command.topic != self.topics.command("golden-part") or command.retained:
            return
        try:
            if len(command.payload) > _MAX_PAYLOAD:
                raise ValueError(f"{len(command.payload)} bytes")
            wanted = msgspec.json.decode(command.payload, type=GoldenCommand)
        except UNREADABLE as error:
            log.warning("%s: not understood: %s", command.topic, str(error)[:200])
            return
        if wanted.camera != self.camera or not self.limit.take():
            return
        answer = make_answer(self.topics, command.reply_to, command.correlation, self.obey(wanted))
        if answer is not None:
            self.messages.append(answer)
            self.wake()

    def reset(self) -> None:
        """Does nothing: an answer is not retained."""

    def pending_messages(self) -> list[Message]:
        """The answers to publish now."""
        return [self.messages.popleft() for _ in range(len(self.messages))]

    def close(self) -> None:
        """Does nothing."""
