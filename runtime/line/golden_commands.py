"""Commands about reference parts over MQTT: `cmd/golden-part`, if `[golden_parts] mqtt` allows them.

    {"camera": "door", "action": "show"}
    {"order": "<JSON text>", "key": "<ID>", "signature": "<Base64>"}      begins a check, or acknowledges a failure

What is not signed reads alone: a begun check lets the next parts pass a locked output as references, and locks one that
is free. A signed order names the challenge of the newest answer (golden_order.py). The answer goes to the response
topic of the command, below the device's `res/`. Retained commands are ignored.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable

import msgspec

from ..bundle.keys import Keyring
from ..bundle.signed_order import OrderRefused, SignedOrder
from ..config.configuration import Config
from ..errors import UNREADABLE, Problem
from ..events.commands import CommandLimit, make_answer
from ..events.sinks import Command, Message
from ..events.topics import Topics
from .golden_messages import GoldenCommand, GoldenStatus
from .golden_order import MAX_ORDER_BYTES, Challenge, open_golden_order

log = logging.getLogger(__name__)

MAX_COMMANDS = 5  # a second; more are ignored
UNSIGNED = "not signed: over MQTT a check is begun, and a failure acknowledged, by a signed order"


class _Addressed(msgspec.Struct):
    """What every command says, signed or not."""

    camera: str = ""


class GoldenCommands:
    """Takes the commands of one camera.

    Args:
        settings: configuration of the camera
        obey: obeys a command of a user of the device, or of a key
        wake: called when an answer waits

    Raises:
        ConfigProblem: the folder of trusted keys is missing, or a file in it is no key.
    """

    def __init__(
        self, settings: Config, obey: Callable[[GoldenCommand, str], GoldenStatus], wake: Callable[[], None]
    ) -> None:
        golden, device = settings.golden_parts, settings.device
        self.camera, self.topics, self.obey, self.wake = settings.camera, Topics.from_config(settings), obey, wake
        self.keys = settings.base / golden.keys if golden is not None and golden.keys else settings.keys
        Keyring.read(self.keys)  # a mistake is told at the start
        self.place = "/".join((device.site, device.area, device.line, device.name))
        self.challenge = Challenge()
        self.limit = CommandLimit(MAX_COMMANDS)
        self.messages = deque[Message](maxlen=16)

    def take(self, command: Command) -> None:
        """Takes a command. Never raises."""
        if command.topic != self.topics.command("golden-part") or command.retained:
            return
        try:
            if len(command.payload) > 2 * MAX_ORDER_BYTES:
                raise ValueError(f"{len(command.payload)} bytes")
            is_signed, camera = _read_address(command.payload)
            if camera != self.camera or not self.limit.take():
                return
            status = self._obey_order(command.payload) if is_signed else self._obey_unsigned(command.payload)
        except UNREADABLE as error:
            log.warning("%s: not understood: %s", command.topic, str(error)[:200])
            return
        status = msgspec.structs.replace(status, challenge=self.challenge.show())
        answer = make_answer(self.topics, command.reply_to, command.correlation, status)
        if answer is not None:
            self.messages.append(answer)
            self.wake()

    def _obey_unsigned(self, payload: bytes) -> GoldenStatus:
        wanted = msgspec.json.decode(payload, type=GoldenCommand)
        return self.obey(wanted, "") if wanted.action == "show" else self._refuse(UNSIGNED)

    def _obey_order(self, payload: bytes) -> GoldenStatus:
        try:
            order, wanted, signer = open_golden_order(payload, Keyring.read(self.keys), self.place)
            if not self.challenge.use(order.challenge):
                raise OrderRefused("its challenge is not that of the newest answer: ask again, and sign anew")
        except Problem as problem:
            return self._refuse(problem.message)
        return self.obey(wanted, f"key {signer}")

    def _refuse(self, reason: str) -> GoldenStatus:
        log.warning("a command about reference parts was refused: %s", reason[:200])
        return msgspec.structs.replace(self.obey(GoldenCommand("show"), ""), error=reason)

    def reset(self) -> None:
        """Does nothing: an answer is not retained."""

    def pending_messages(self) -> list[Message]:
        """The answers to publish now."""
        return [self.messages.popleft() for _ in range(len(self.messages))]

    def close(self) -> None:
        """Does nothing."""


def _read_address(payload: bytes) -> tuple[bool, str]:
    """Whether a command is signed, and which camera it names; nothing is verified."""
    try:
        text = msgspec.json.decode(payload, type=SignedOrder).order
    except msgspec.ValidationError:
        return False, msgspec.json.decode(payload, type=_Addressed).camera
    return True, msgspec.json.decode(text, type=_Addressed).camera
