"""The bridge: it reads the messages of boxes at our broker, and is an edge node at the broker of the SCADA system."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable

import click
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion

from vedette.runtime.config.configuration import BrokerSettings
from vedette.runtime.config.credentials import read_secret
from vedette.runtime.distribution import installed_version
from vedette.runtime.events.event import new_event_id
from vedette.runtime.events.sinks.mqtt import broker_address
from vedette.runtime.events.sinks.mqtt_tls import make_tls_context

from ..broker_client import BrokerClient
from .camera_metrics import LEVELS, CameraMetrics, read_topic
from .edge_node import EdgeNode, SparkplugMessage

MAX_CAMERAS = 10_000
_RETRY_SECONDS, _CONNECT_SECONDS, _LOOP_SECONDS = 5.0, 10.0, 0.05
_REBIRTH_SECONDS = 1.0
"""Births that hosts ask for are at least so far apart, however many ask."""
_SILENCE_SECONDS = 5.0
"""So long our broker may be away before the cameras count as gone."""


class HostConnection:
    """The edge node's connection: each has a last will of its own, and begins with births.

    Args:
        broker: the broker of the SCADA system
        node: the edge node
    """

    def __init__(self, broker: BrokerSettings, node: EdgeNode) -> None:
        self.broker, self.node = broker, node
        self.client: Client | None = None
        self.is_born = self.is_rebirth_due = False
        self.next_attempt = self.next_rebirth = 0.0
        self.identity = f"vedette-sparkplug-{new_event_id()[-12:]}"

    def poll(self, seconds: float) -> None:
        """Sends and receives for so long; connects if it is not connected."""
        if self.client is None:
            if time.monotonic() >= self.next_attempt:
                self.next_attempt = time.monotonic() + _RETRY_SECONDS
                self._connect()
            return
        if self.client.loop(seconds) != MQTTErrorCode.MQTT_ERR_SUCCESS:
            self._drop("the connection is lost")
        elif self.is_rebirth_due and time.monotonic() >= self.next_rebirth:
            self.is_rebirth_due, self.next_rebirth = False, time.monotonic() + _REBIRTH_SECONDS
            self.send(self.node.birth())

    def send(self, messages: Iterable[SparkplugMessage]) -> None:
        """Sends messages at QoS 0. Without a connection they are lost: the next birth says what holds then."""
        for message in messages:
            if self.client is not None and self.is_born:
                self.client.publish(message.topic, message.payload, 0)

    def close(self) -> None:
        """Says that the node and its devices are gone, and disconnects."""
        if self.client is not None:
            if self.is_born:
                self.client.publish(self.will.topic, self.will.payload, 0)
                while self.client.want_write() and self.client.loop(_LOOP_SECONDS) == MQTTErrorCode.MQTT_ERR_SUCCESS:
                    pass
            self.client.disconnect()
        self.client, self.is_born = None, False

    def _connect(self) -> None:
        self.will = self.node.begin_connection()
        client = Client(CallbackAPIVersion.VERSION2, self.identity, clean_session=True,
                        protocol=MQTTProtocolVersion.MQTTv311)  # fmt: skip
        client.connect_timeout = _CONNECT_SECONDS
        client.will_set(self.will.topic, self.will.payload, 0, retain=False)
        if self.broker.username:
            client.username_pw_set(self.broker.username, read_secret(self.broker.password_file, "--host-password-file"))
        if (tls := make_tls_context(self.broker)) is not None:
            client.tls_set_context(tls)
        client.on_connect = lambda client, _data, _flags, reason, _properties: (
            self._drop(f"refused: {reason}") if reason.is_failure else client.subscribe(self.node.topic("NCMD"), 1)
        )
        client.on_subscribe = lambda *_: self._birth()
        client.on_message = lambda _client, _data, message: self._take(message)
        try:
            client.connect(*broker_address(self.broker.url))
        except OSError as error:
            click.echo(f"{self.broker.url}: {error}; tried again in {_RETRY_SECONDS:.0f} s", err=True)
            return
        self.client, self.is_born = client, False

    def _birth(self) -> None:
        self.is_born = True
        self.send(self.node.birth())
        click.echo(f"{self.broker.url}: edge node {self.node.group}/{self.node.name}, {len(self.node.devices)} cameras")

    def _take(self, message: MQTTMessage) -> None:
        if self.node.is_rebirth(message.topic, bytes(message.payload)):
            self.is_rebirth_due = True

    def _drop(self, reason: str) -> None:
        click.echo(f"{self.broker.url}: {reason}; tried again in {_RETRY_SECONDS:.0f} s", err=True)
        if self.client is not None:
            with contextlib.suppress(OSError):
                self.client.disconnect()
        self.client, self.is_born = None, False
        self.next_attempt = time.monotonic() + _RETRY_SECONDS


class SparkplugBridge:
    """Reads the boxes, and publishes what changes.

    Args:
        broker: our broker, with the prefix of the boxes
        host: the broker of the SCADA system
        group: Sparkplug group ID
        name: Sparkplug edge node ID

    Raises:
        ConfigProblem: our broker refuses the login.
        MachineProblem: our broker cannot be reached.
    """

    def __init__(self, broker: BrokerSettings, host: BrokerSettings, group: str, name: str) -> None:
        self.prefix = broker.prefix
        self.node = EdgeNode(group, name, {"Program": "vedette", "Version": installed_version()})
        self.host = HostConnection(host, self.node)
        self.cameras: dict[str, CameraMetrics] = {}
        self.last_heard = time.monotonic()
        """When our broker was connected last."""
        self.client = BrokerClient(
            broker,
            "sparkplug",
            [f"{broker.prefix}/v1/+/+/+/+/{level}" for level in LEVELS],
            self._take,
            login_hint="give --username and --password-file",
            reach_hint="check --broker, the network, and that the broker runs and speaks MQTT 5",
        )

    def poll(self) -> None:
        """Passes on what came; to be called again and again."""
        self.client.poll(_LOOP_SECONDS)
        self.host.poll(_LOOP_SECONDS)
        if self.client.client.is_connected():
            self.last_heard = time.monotonic()
        elif time.monotonic() - self.last_heard > _SILENCE_SECONDS:
            for device in list(self.node.devices):  # nobody knows how they are
                self.host.send(self.node.remove(device))

    def close(self) -> None:
        """Says that all is gone, and disconnects."""
        self.host.close()
        self.client.close()

    def _take(self, message: MQTTMessage) -> None:
        camera = read_topic(self.prefix, message.topic)
        if camera is None or (camera.device not in self.cameras and len(self.cameras) >= MAX_CAMERAS):
            return
        known = self.cameras.setdefault(camera.device, CameraMetrics(camera.device))
        metrics = known.take(camera, bytes(message.payload), time.time())
        if not known.is_online:
            self.host.send(self.node.remove(camera.device))
        elif camera.device in self.node.devices:
            self.host.send(self.node.report(camera.device, metrics))
        else:
            late = [each for each in metrics if each.is_historical]
            self.host.send(self.node.report(camera.device, [*known.current.values(), *late]))
