"""Orders about the reference parts of a line, given from afar: ask the box for its challenge, sign, send, wait."""

from __future__ import annotations

import secrets
import time

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from vedette.runtime.errors import UNREADABLE, ConfigProblem, MachineProblem
from vedette.runtime.line.golden_messages import GoldenCommand, GoldenStatus
from vedette.runtime.line.golden_order import GoldenOrder, sign_golden_order

from .fleet_connection import FleetConnection

_COMMAND = "golden-part"
_PATIENCE_SECONDS = 20.0
_REPEAT_SECONDS = 3.0
_POLL_SECONDS = 0.2


class GoldenOrders:
    """Gives orders to the daemon of one camera.

    Args:
        connection: to the broker; its answers come here
        place: SITE/AREA/LINE/NAME of the box
        camera: name of the camera
        key: signs the orders; None: it only looks
    """

    def __init__(
        self, connection: FleetConnection, place: str, camera: str, key: Ed25519PrivateKey | None = None
    ) -> None:
        self.connection, self.place, self.camera, self.key = connection, place, camera, key
        self.challenge = ""
        self.answers: dict[str, GoldenStatus] = {}
        connection.on_answer = self._take

    def show(self) -> GoldenStatus:
        """How it is.

        Raises:
            MachineProblem: the box does not answer.
        """
        return self._ask(msgspec.json.encode(GoldenCommand("show", camera=self.camera)), repeats=True)

    def give(self, command: GoldenCommand) -> GoldenStatus:
        """Gives a signed order, and returns the answer.

        Raises:
            ConfigProblem: the box refuses it.
            MachineProblem: the box does not answer.
        """
        self.show()
        assert self.key is not None
        try:
            order = msgspec.convert(
                {
                    "challenge": self.challenge,
                    "to": (self.place,),
                    "camera": self.camera,
                    "action": command.action,
                    "by": command.by,
                },
                GoldenOrder,
            )
        except msgspec.ValidationError as error:
            raise ConfigProblem(f"not an order: {error}", hint="docs/golden-parts.md lists the fields") from None
        status = self._ask(sign_golden_order(order, self.key))
        if status.error:
            raise ConfigProblem(f"{self.place} {self.camera}: {status.error}", hint="--show says how it is")
        return status

    def _ask(self, payload: bytes, repeats: bool = False) -> GoldenStatus:
        """The answer to a command; one that changes nothing is repeated, because a box takes a few a second."""
        name, began = secrets.token_hex(16), time.monotonic()
        sent = float("-inf")
        while name not in self.answers:
            now = time.monotonic()
            if sent < began or (repeats and now - sent > _REPEAT_SECONDS):
                self.connection.command(self.place, _COMMAND, payload, name)
                sent = now
            if now - began > _PATIENCE_SECONDS:
                hint = f"[golden_parts] of cameras/{self.camera}.toml needs mqtt = true; and vedette fleet status"
                raise MachineProblem(f"{self.place}: the camera {self.camera} does not answer", hint=hint)
            self.connection.poll(_POLL_SECONDS)
        status = self.answers.pop(name)
        self.challenge = status.challenge
        return status

    def _take(self, place: str, name: str, payload: bytes) -> None:
        if place != self.place:
            return
        try:
            self.answers[name] = msgspec.json.decode(payload, type=GoldenStatus)
        except UNREADABLE:
            return
