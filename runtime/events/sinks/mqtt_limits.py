"""Limits of a connection with MQTT 5: what the device takes, and how many messages the broker takes at once.

Receive Maximum is how many messages at QoS 1 may be without an acknowledgment ("MQTT Version 5.0", OASIS, section 4.9).
A broker may end the connection of a client that sends more; 10 is the default of HiveMQ. paho does not look at it, and
takes a smaller window only before it connects. So who connects makes a new client with the window that is found here.
"""

from __future__ import annotations

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

WINDOW = 20  # messages at once, paho's own default
_MAX_COMMAND_BYTES = 64 << 10  # the broker keeps larger packets to itself


def connect_limits() -> Properties:
    """What the broker may send: the device takes small commands alone."""
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.MaximumPacketSize = _MAX_COMMAND_BYTES
    return properties


def narrow_window(window: int, connack: Properties | None) -> int:
    """The window for this broker: `window`, or fewer messages if it says so in the properties of CONNACK."""
    return min(window, getattr(connack, "ReceiveMaximum", window))
