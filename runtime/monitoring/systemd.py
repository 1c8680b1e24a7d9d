"""Tells systemd how it goes (sd_notify(3)); does nothing where nobody asked."""

from __future__ import annotations

import os
import socket
import time


class Notifier:
    """The datagram socket in $NOTIFY_SOCKET."""

    def __init__(self) -> None:
        address = os.environ.get("NOTIFY_SOCKET", "")
        self.address = "\0" + address[1:] if address.startswith("@") else address
        self.interval = int(os.environ.get("WATCHDOG_USEC", "0")) / 2e6
        self.beaten = float("-inf")

    def ready(self) -> None:
        self._send("READY=1")

    def stopping(self) -> None:
        self._send("STOPPING=1")

    def status(self, text: str) -> None:
        self._send(f"STATUS={text}")

    def beat(self) -> None:
        """Feeds the watchdog, at most as often as it needs."""
        if self.interval and time.monotonic() - self.beaten >= self.interval:
            self.beaten = time.monotonic()
            self._send("WATCHDOG=1")

    def _send(self, message: str) -> None:
        if self.address:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as connection:
                connection.connect(self.address)
                connection.send(message.encode())
