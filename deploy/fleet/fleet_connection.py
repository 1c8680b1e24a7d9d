"""The connection of `vedette fleet` to the broker: it listens to all boxes, and publishes orders and pieces."""

from __future__ import annotations

from collections.abc import Callable

from paho.mqtt.client import MQTTMessage
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from vedette.runtime.config.configuration import BrokerSettings

from ..broker_client import BrokerClient
from .inventory import LEVELS, Inventory

ANSWERS = "res/fleet"
"""Below the topics of a box: where it answers orders of this program."""


class FleetConnection:
    """A connected client; it reconnects by itself.

    Args:
        broker: the broker and the login there
        inventory: takes what boxes say

    Raises:
        ConfigProblem: the broker refuses the login.
        MachineProblem: it cannot be reached.
    """

    def __init__(self, broker: BrokerSettings, inventory: Inventory) -> None:
        self.inventory, self.root = inventory, f"{broker.prefix}/v1"
        self.on_answer: Callable[[str, str, bytes], None] = lambda _place, _nonce, _payload: None
        """Takes the place of a box, the nonce of an order and the answer."""
        boxes = f"{self.root}/+/+/+/+"
        self.client = BrokerClient(
            broker,
            "fleet",
            [*[f"{boxes}/{level}/+" for level in LEVELS], f"{boxes}/{ANSWERS}/+"],
            self._take,
            login_hint="give --username and --password-file, or --from DIR",
            reach_hint="check --broker, the network, and that the broker runs and speaks MQTT 5",
        )

    def poll(self, seconds: float) -> None:
        """Receives for so long; tries to reconnect if the connection is lost."""
        self.client.poll(seconds)

    def command(self, place: str, name: str, payload: bytes, nonce: str) -> None:
        """Publishes a command to a box; its answers come to `on_answer`."""
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
        properties.ResponseTopic = f"{self.root}/{place}/{ANSWERS}/{nonce}"
        self.client.publish(f"{self.root}/{place}/cmd/{name}", payload, properties)

    def close(self) -> None:
        """Sends what waits, and disconnects."""
        self.client.close()

    def _take(self, message: MQTTMessage) -> None:
        topic = message.topic
        levels = topic.removeprefix(f"{self.root}/").split("/")
        if len(levels) == 7 and "/".join(levels[4:6]) == ANSWERS:
            self.on_answer("/".join(levels[:4]), levels[6], bytes(message.payload))
        else:
            self.inventory.take(topic, bytes(message.payload), message.retain)
