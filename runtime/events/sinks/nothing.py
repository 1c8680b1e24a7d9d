"""The sink of a device without a broker: it takes every event and sends nothing."""

from __future__ import annotations

from . import Acknowledgement, Message
from .stdout import StdoutSink


class NothingSink(StdoutSink):
    """For a device whose events go to `[[sinks]]` alone: `none:`"""

    def send(self, message: Message) -> None:
        if message.sequence is not None:
            self.acknowledgements.append(Acknowledgement(message.sequence))
