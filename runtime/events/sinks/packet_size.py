"""How many bytes a message is on the wire, as MQTT 5 frames it at QoS 1 ("MQTT Version 5.0", OASIS, 3.3).

    1 byte type, 1 to 4 for the length, the topic, 2 for the packet's identifier, properties, payload

TLS, TCP and IP come on top, and with them what the network makes of it; acknowledgements come the other way. MQTT 3.1.1
has no properties, and so some bytes less; a sink that is no broker frames otherwise, or not at all.
"""

from __future__ import annotations

from . import Message

_TEXT = 2  # bytes for the length of a text
_IDENTIFIER = 2
PING = 2


def framed(message: Message) -> int:
    """Bytes of the packet that publishes it."""
    properties = 1 + _TEXT + len(message.content_type.encode())
    if message.correlation:
        properties += 1 + _TEXT + len(message.correlation)
    rest = _TEXT + len(message.topic.encode()) + _IDENTIFIER + _length(properties) + properties + len(message.payload)
    return 1 + _length(rest) + rest


def _length(number: int) -> int:
    """Bytes of a variable byte integer."""
    return 1 if number < 1 << 7 else 2 if number < 1 << 14 else 3 if number < 1 << 21 else 4
