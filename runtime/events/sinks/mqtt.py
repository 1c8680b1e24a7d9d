"""MQTT sink with paho. Only with MQTT 5 at QoS 1 does paho report a refused publish.

    mqtt://host:port     plain
    mqtts://host:port    TLS, with a client certificate if the broker requires one

paho has its own queue and retransmits from it. Here the outbox is the queue: each connection uses a new client with a
clean start, and paho holds only a small window of messages. The caller's thread runs paho's network loop, so no other
thread can die unnoticed, and errors are raised where they can be handled.
"""

from __future__ import annotations

import contextlib
import logging
import select
import socket
import ssl
import struct
import time
from typing import Any

from paho.mqtt import MQTTException
from paho.mqtt.client import (
    MQTT_CLEAN_START_FIRST_ONLY,
    MQTT_ERR_SUCCESS,
    Client,
    ConnectFlags,
    DisconnectFlags,
    MQTTMessage,
)
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from ...config.configuration import BrokerSettings
from ...config.credentials import read_secret
from ...errors import ConfigProblem
from ...plugin_tables import split_url
from . import Acknowledgement, Command, Message, MessageRefused, MqttSessionSettings, SessionTakenOver
from .mqtt_limits import WINDOW, connect_limits, narrow_window
from .mqtt_login import check_connack, describe_disconnect
from .mqtt_tls import make_tls_context
from .packet_size import packet_bytes

log = logging.getLogger(__name__)

_CONNECT_SECONDS = 5.0
_PROTOCOL_ERRORS = (MQTTException, OSError, ValueError, LookupError, struct.error)  # raised by paho on invalid bytes
_NO_SUBSCRIBERS = 0x10  # no failure in MQTT: the broker accepted the message, but had no subscriber for it
_RETRYABLE = (0x80, 0x83, 0x97)  # unspecified error, implementation specific error, quota exceeded
_MESSAGE_REFUSED = (0x81, 0x82, 0x90, 0x95, 0x99, 0x9A)  # malformed, protocol, topic, too large, format, retain
_LOSS_TYPES = {0x8E: SessionTakenOver} | dict.fromkeys(_MESSAGE_REFUSED, MessageRefused)
_PORTS = {"mqtt": 1883, "mqtts": 8883}


def broker_address(url: str) -> tuple[str, int]:
    """Host and port of `mqtt://host:port` or `mqtts://host:port`.

    Raises:
        ConfigProblem: the URL has another form.
    """
    parts = split_url(url, "broker.url")
    hint = "write mqtt://host:1883; set the user and password with broker.username and broker.password_file"
    try:
        host, port = (parts.hostname or "").encode("idna").decode(), parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError as error:
        raise ConfigProblem(f"broker.url: {error}", hint=hint) from None
    if parts.scheme not in _PORTS or not host:
        raise ConfigProblem(f"broker.url is not of the form mqtt://host:port ({parts.scheme}://{host})", hint=hint)
    return host, port


class MqttSink:
    """An MQTT connection: `mqtt://host:port` or `mqtts://host:port`."""

    def __init__(self, broker: BrokerSettings, identity: MqttSessionSettings) -> None:
        self.host, self.port = broker_address(broker.url)
        self.password = read_secret(broker.password_file, "broker.password_file")
        self.tls = make_tls_context(broker)
        self.broker, self.is_mqtt5 = broker, broker.protocol == "5"
        if not self.is_mqtt5:
            log.warning("MQTT 3.1.1 does not report refused events: a refused event counts as delivered")
        self.identity = identity
        self.client: Client | None = None
        self.connack: ReasonCode | None = None
        self.loss, self.loss_type = "", ConnectionError
        self.max_packet_bytes, self.window = float("inf"), WINDOW
        self.sequence_by_packet: dict[int, int | str] = {}  # of other messages than events: the topic
        self.refused_topics: set[str] = set()
        self.incoming: list[Acknowledgement | Command] = []
        self.no_subscribers = False
        self.wake_receiver, self.wake_sender = socket.socketpair()
        for end in (self.wake_receiver, self.wake_sender):
            end.setblocking(False)

    def open(self) -> None:
        client = self._new_client()
        self.client, self.connack, self.loss, self.loss_type = client, None, "", ConnectionError
        self.max_packet_bytes = float("inf")
        self.sequence_by_packet.clear()
        self.incoming.clear()
        try:
            clean_start = True if self.is_mqtt5 else MQTT_CLEAN_START_FIRST_ONLY  # paho allows True only for MQTT 5
            limits = connect_limits() if self.is_mqtt5 else None
            client.connect(self.host, self.port, self.broker.keepalive, clean_start=clean_start, properties=limits)
        except OSError as error:
            raise ConnectionError(f"{self.host}:{self.port}: {error}") from None
        self._await_connack(time.monotonic() + _CONNECT_SECONDS)
        if self.window < client.max_inflight_messages:
            client.disconnect()
            self.open()
            return
        for message in self.identity.birth_messages:
            self.send(message)
        for topic in filter(None, (self.identity.command_topic, *self.identity.more_topics)):
            client.subscribe(topic, qos=1)

    def _await_connack(self, deadline: float) -> None:
        while self.connack is None:
            if time.monotonic() > deadline:
                raise ConnectionError(f"{self.host}:{self.port} does not answer as an MQTT broker")
            try:
                self._run_loop(0.1)
            except ConnectionError:
                if self.connack is None:
                    raise
        check_connack(self.connack, f"{self.host}:{self.port}", self.broker)

    def _new_client(self) -> Client:
        clean, protocol = (None, MQTTProtocolVersion.MQTTv5) if self.is_mqtt5 else (True, MQTTProtocolVersion.MQTTv311)
        client = Client(CallbackAPIVersion.VERSION2, self.identity.client_id, clean, protocol=protocol)
        client.connect_timeout = _CONNECT_SECONDS
        client.max_inflight_messages_set(self.window)
        if self.broker.username:
            client.username_pw_set(self.broker.username, self.password)
        if (will := self.identity.last_will) is not None:
            client.will_set(will.topic, will.payload, qos=1, retain=will.retain)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_message = self._on_message
        if self.tls is not None:
            client.tls_set_context(self.tls)
        return client

    def send(self, message: Message) -> None:
        assert self.client is not None  # the forwarder opens before it sends
        if (size := packet_bytes(message)) > self.max_packet_bytes:
            reason = f"its packet of {size} bytes is larger than the broker takes, {self.max_packet_bytes:.0f}"
            log.warning("%s: %s", message.topic, reason)
            if message.sequence is not None:
                self.incoming.append(Acknowledgement(message.sequence, reason))
            return
        properties = None
        if self.is_mqtt5:
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            properties.ContentType = message.content_type
            if message.correlation:
                properties.CorrelationData = message.correlation
        try:
            info = self.client.publish(message.topic, message.payload, 1, message.retain, properties)
        except ValueError as error:  # an invalid message, which can never be sent
            if message.sequence is not None:
                self.incoming.append(Acknowledgement(message.sequence, str(error)))
            return
        if info.rc != MQTT_ERR_SUCCESS:
            raise ConnectionError(f"publish failed with code {info.rc}")
        self.sequence_by_packet[info.mid] = message.topic if message.sequence is None else message.sequence

    def wait(self, seconds: float) -> list[Acknowledgement | Command]:
        if not self.incoming:
            self._run_loop(seconds)
        incoming, self.incoming = self.incoming, []
        return incoming

    def wake(self) -> None:
        with contextlib.suppress(BlockingIOError):  # the buffer is full, so `wait` returns anyway
            self.wake_sender.send(b"!")

    def close(self) -> None:
        if self.client is None:
            return
        if self.connack is not None and not self.connack.is_failure and not self.loss:
            with contextlib.suppress(OSError):
                if self.identity.stop_message is not None:
                    self.send(self.identity.stop_message)
                    self._run_loop(0.2)
                self.client.disconnect()
        stream = self.client.socket()
        if stream is not None:
            stream.close()
        self.client = None

    def _run_loop(self, seconds: float) -> None:
        """Runs one iteration of paho's loop: reads, writes and sends pings."""
        client = self.client
        stream = client.socket() if client is not None else None
        if client is None or stream is None:
            raise ConnectionError(self.loss or "the connection is lost")
        try:
            buffered = isinstance(stream, ssl.SSLSocket) and stream.pending() > 0  # not visible to select
            writers = [stream] if client.want_write() else []
            readable, writable, _ = select.select(
                [stream, self.wake_receiver], writers, [], 0 if buffered else min(seconds, 1.0)
            )
        except (OSError, ValueError) as error:  # paho has closed the socket
            raise ConnectionError(str(error)) from None
        if self.wake_receiver in readable:
            self.wake_receiver.recv(4096)
        try:
            if stream in readable or buffered:
                client.loop_read()
            if stream in writable:
                client.loop_write()
            client.loop_misc()
        except _PROTOCOL_ERRORS as error:
            raise ConnectionError(f"{self.host}:{self.port} does not speak MQTT: {error}") from None
        if self.loss or client.socket() is None:
            raise self.loss_type(self.loss or "the connection is lost")

    def _on_connect(self, _client: Client, _data: Any, _: ConnectFlags, reason: ReasonCode, properties: Any) -> None:
        self.connack = reason
        self.window = narrow_window(self.window, properties)
        self.max_packet_bytes = getattr(properties, "MaximumPacketSize", float("inf"))

    def _on_disconnect(self, _client: Client, _data: Any, _flags: DisconnectFlags, reason: ReasonCode, _: Any) -> None:
        self.loss = f"{self.host}:{self.port} {describe_disconnect(reason, self.connack, self.broker)}"
        self.loss_type = _LOSS_TYPES.get(reason.value, ConnectionError)

    def _on_publish(self, _client: Client, _data: Any, mid: int, reason: ReasonCode, _: Any) -> None:
        sequence = self.sequence_by_packet.pop(mid, None)
        if not isinstance(sequence, int):
            if reason.is_failure and sequence is not None and sequence not in self.refused_topics:
                self.refused_topics.add(sequence)
                log.warning("the broker refuses messages on %s: %s", sequence, reason)
            return
        no_subscribers = reason.value == _NO_SUBSCRIBERS
        if reason.value in _RETRYABLE or (no_subscribers and self.broker.require_subscriber):
            self.incoming.append(Acknowledgement(sequence, busy=str(reason)))
        else:
            self.incoming.append(Acknowledgement(sequence, refused=str(reason) if reason.is_failure else ""))
        if no_subscribers != self.no_subscribers:
            log.warning("events have no subscriber") if no_subscribers else log.info("events have a subscriber")
            self.no_subscribers = no_subscribers

    def _on_message(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        properties = message.properties
        reply, correlation = getattr(properties, "ResponseTopic", ""), getattr(properties, "CorrelationData", b"")
        self.incoming.append(Command(bytes(message.payload), reply, correlation, message.retain, message.topic))
