"""Standard-output sink: one line of JSON for each event. A printed event is acknowledged."""

from __future__ import annotations

import sys
import threading

from ...config.configuration import BrokerSettings
from . import Acknowledgement, Command, Message, MqttSessionSettings


class StdoutSink:
    """Prints events to standard output: `stdout:`"""

    def __init__(self, broker: BrokerSettings, identity: MqttSessionSettings) -> None:
        self.acknowledgements: list[Acknowledgement | Command] = []
        self.woken = threading.Event()

    def open(self) -> None:
        pass

    def send(self, message: Message) -> None:
        if message.sequence is not None:
            try:
                sys.stdout.write(message.payload.decode() + "\n")
                sys.stdout.flush()
            except OSError as error:
                raise ConnectionError(f"standard output: {error}") from None
            self.acknowledgements.append(Acknowledgement(message.sequence))

    def wait(self, seconds: float) -> list[Acknowledgement | Command]:
        if not self.acknowledgements:
            self.woken.wait(seconds)
            self.woken.clear()
        acknowledgements, self.acknowledgements = self.acknowledgements, []
        return acknowledgements

    def wake(self) -> None:
        self.woken.set()

    def close(self) -> None:
        pass
