"""Commands at the broker: how many of them are taken, and where the device answers.

Whoever may publish commands must not be able to stop the device, to delay its events, or to make it publish elsewhere.
"""

from __future__ import annotations

import time
from collections import deque
from typing import Any

import msgspec

from .sinks import Message
from .topics import Topics


class CommandLimit:
    """Counts commands.

    Args:
        most: how many are taken in a second
    """

    def __init__(self, most: int) -> None:
        self.times = deque[float](maxlen=most)

    def take(self) -> bool:
        """Counts one more; returns False, and does not count it, if it is one of too many."""
        now = time.monotonic()
        if len(self.times) == self.times.maxlen and now - self.times[0] < 1.0:
            return False
        self.times.append(now)
        return True


def make_answer(topics: Topics, reply_to: str, correlation: bytes, body: Any) -> Message | None:
    """The answer to a command, as JSON; None: whoever sent it wants none, or names a topic that is not for answers."""
    if not topics.is_response(reply_to):
        return None
    payload = msgspec.json.encode(body)
    return Message(reply_to, payload, content_type="application/json", correlation=correlation)
