"""Notifications to systemd: ready, stopping, watchdog (sd_notify(3)); without systemd they do nothing."""

from __future__ import annotations

import os
import socket
import time


class SystemdNotifier:
    """The datagram socket in $NOTIFY_SOCKET."""

    def __init__(self) -> None:
        address = os.environ.get("NOTIFY_SOCKET", "")
        self.address = "\0" + address[1:] if address.startswith("@") else address
        self.interval = int(os.environ.get("WATCHDOG_USEC", "0")) / 2e6
        self.last_fed = float("-inf")

    def notify_ready(self) -> None:
        self._send("READY=1")

    def notify_stopping(self) -> None:
        self._send("STOPPING=1")

    def feed_watchdog(self) -> None:
        """Feeds the watchdog, at most twice in its interval."""
        if self.interval and time.monotonic() - self.last_fed >= self.interval:
            self.last_fed = time.monotonic()
            self._send("WATCHDOG=1")

    def _send(self, message: str) -> None:
        if self.address:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as connection:
                connection.connect(self.address)
                connection.send(message.encode())
