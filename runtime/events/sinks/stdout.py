"""Events as lines of JSON, for a terminal or a pipe. Printing is the receipt."""

from __future__ import annotations

import sys
import threading

from ...config.configuration import Broker
from . import Identity, Message, Order, Receipt


class Stdout:
    """`stdout:`"""

    def __init__(self, broker: Broker, identity: Identity) -> None:
        self.receipts: list[Receipt | Order] = []
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
            self.receipts.append(Receipt(message.sequence))

    def wait(self, seconds: float) -> list[Receipt | Order]:
        if not self.receipts:
            self.woken.wait(seconds)
            self.woken.clear()
        receipts, self.receipts = self.receipts, []
        return receipts

    def wake(self) -> None:
        self.woken.set()

    def close(self) -> None:
        pass
