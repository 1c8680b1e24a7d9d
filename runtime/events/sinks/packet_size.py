"""Size of an MQTT 5 PUBLISH packet at QoS 1 ("MQTT Version 5.0", OASIS, section 3.3).

    1 byte type, 1 to 4 bytes remaining length, topic, 2 bytes packet identifier, properties, payload

Overhead of TLS, TCP and IP is not included, nor are acknowledgements from the broker. MQTT 3.1.1 has no properties, so
its packets are some bytes smaller. A sink other than MQTT has other framing or none.
"""

from __future__ import annotations

from . import Message

_LENGTH_PREFIX_BYTES = 2  # before each string
_PACKET_ID_BYTES = 2
PING_BYTES = 2


def packet_bytes(message: Message) -> int:
    """Size in bytes of the packet that publishes `message`."""
    properties = 1 + _LENGTH_PREFIX_BYTES + len(message.content_type.encode())
    if message.correlation:
        properties += 1 + _LENGTH_PREFIX_BYTES + len(message.correlation)
    remaining = (
        _LENGTH_PREFIX_BYTES
        + len(message.topic.encode())
        + _PACKET_ID_BYTES
        + _variable_length_bytes(properties)
        + properties
        + len(message.payload)
    )
    return 1 + _variable_length_bytes(remaining) + remaining


def _variable_length_bytes(number: int) -> int:
    """Size in bytes of `number` as a variable byte integer."""
    return 1 if number < 1 << 7 else 2 if number < 1 << 14 else 3 if number < 1 << 21 else 4
