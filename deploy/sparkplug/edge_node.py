"""A Sparkplug B edge node: what it publishes when (Eclipse Sparkplug 3.0.0, chapters 4 to 6). It sends nothing itself.

    NBIRTH  first after each connection, and after a command "Node Control/Rebirth": sequence number 0
    DBIRTH  all metrics of a device, with names and aliases
    DDATA   the metrics that changed, by alias
    DDEATH  the device is gone
    NDEATH  the last will of the connection: all devices are gone, too

All are sent at QoS 0 and not retained. A reader finds losses by gaps of the sequence number and asks for a rebirth.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from .payload import BOOLEAN, STRING, UINT64, Metric, decode_payload, encode_payload

REBIRTH = "Node Control/Rebirth"
_MODULO = 256  # of sequence numbers and of numbers of connections


class SparkplugMessage(msgspec.Struct, frozen=True):
    """A message to publish."""

    topic: str
    payload: bytes


class EdgeNode:
    """The state of one edge node.

    Args:
        group: group ID
        name: edge node ID
        properties: what NBIRTH says of the node, as text
    """

    def __init__(self, group: str, name: str, properties: Mapping[str, str]) -> None:
        self.group, self.name, self.properties = group, name, properties
        self.births = -1
        """Number of the connection, 0…255 (bdSeq)."""
        self.sequence = -1
        self.devices: dict[str, dict[str, Metric]] = {}
        """Metrics of the living devices by name, as they were sent last."""
        self.aliases: dict[tuple[str, str], int] = {}

    def topic(self, kind: str, device: str = "") -> str:
        """Topic of a message of this node, or of one of its devices."""
        return f"spBv1.0/{self.group}/{kind}/{self.name}" + (f"/{device}" if device else "")

    def begin_connection(self) -> SparkplugMessage:
        """The last will for the next connection."""
        self.births = (self.births + 1) % _MODULO
        return SparkplugMessage(self.topic("NDEATH"), encode_payload([self._births()], None))

    def birth(self) -> Iterator[SparkplugMessage]:
        """The messages that begin a connection, or answer a rebirth command."""
        self.sequence = -1
        node = [self._births(), Metric(REBIRTH, BOOLEAN, False)]
        node += [Metric(f"Properties/{name}", STRING, value) for name, value in self.properties.items()]
        yield self._message("NBIRTH", "", node)
        for device in self.devices:
            yield self._birth_device(device)

    def is_rebirth(self, topic: str, payload: bytes) -> bool:
        """Whether a message is the command to send all births again."""
        try:
            _, metrics = decode_payload(payload)
        except ValueError:
            return False
        return topic == self.topic("NCMD") and any(each.name == REBIRTH and each.value is True for each in metrics)

    def report(self, device: str, metrics: Iterable[Metric]) -> Iterator[SparkplugMessage]:
        """The message about what changed, if anything did; a new device or metric needs a birth."""
        known = self.devices.setdefault(device, {})
        given = {each.name: each for each in metrics}
        current = {name: each for name, each in given.items() if not each.is_historical}
        is_born = bool(known)
        is_new = not given.keys() <= known.keys()
        changed = [
            each
            for each in given.values()
            if each.name not in known or each.is_historical or each.value != known[each.name].value
        ]
        known.update(current)
        for name, each in given.items():  # the birth needs a value now of what has only been so before
            known.setdefault(name, msgspec.structs.replace(each, value=None, milliseconds=0, is_historical=False))
        if is_new or not is_born:
            yield self._birth_device(device)
            changed = [each for each in changed if each.is_historical]
        if changed:
            yield self._message("DDATA", device, [self._by_alias(device, each) for each in changed])

    def remove(self, device: str) -> Iterator[SparkplugMessage]:
        """The message that a device is gone, if it was there."""
        if self.devices.pop(device, None):
            yield self._message("DDEATH", device, [])

    def _birth_device(self, device: str) -> SparkplugMessage:
        named = [
            msgspec.structs.replace(each, alias=self._alias(device, each.name))
            for each in self.devices[device].values()
        ]
        return self._message("DBIRTH", device, named)

    def _by_alias(self, device: str, metric: Metric) -> Metric:
        return msgspec.structs.replace(metric, name="", alias=self._alias(device, metric.name))

    def _alias(self, device: str, name: str) -> int:
        """A number that no other metric of the node has."""
        return self.aliases.setdefault((device, name), len(self.aliases) + 1)

    def _births(self) -> Metric:
        return Metric("bdSeq", UINT64, self.births)

    def _message(self, kind: str, device: str, metrics: list[Metric]) -> SparkplugMessage:
        self.sequence = (self.sequence + 1) % _MODULO
        return SparkplugMessage(self.topic(kind, device), encode_payload(metrics, self.sequence))
