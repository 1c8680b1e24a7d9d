"""MQTT 5 at QoS 1 through paho: the one pair in which paho shows a refused publish.

    mqtt://host:port     plain
    mqtts://host:port    TLS, with a certificate of its own where the broker asks for one

paho keeps a queue and sends it again by itself; here the outbox is the queue, so every connection is a new client
with a clean start, and only a small window of messages is ever given to it. Its network loop is run by the caller's
own thread: there is no other thread that could die unseen, and what goes wrong in it is raised where it can be
handled.
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

from ...config.configuration import Broker
from ...config.credentials import at_hand, secret
from ...errors import ConfigProblem
from ...plugins import split_url
from . import Identity, IdentityTaken, Message, Order, Receipt

log = logging.getLogger(__name__)

_CONNECT_SECONDS = 5.0
# What paho raises on bytes that are not MQTT.
_GARBLED = (MQTTException, OSError, ValueError, LookupError, struct.error)
_NO_SUBSCRIBERS = 0x10  # a success to MQTT: the broker took the message, and nobody was there to have it
_LATER = (0x80, 0x83, 0x97)  # unspecified, implementation specific, quota exceeded: it may be taken later
_TAKEN_OVER = 0x8E
_PORTS = {"mqtt": 1883, "mqtts": 8883}


def address(url: str) -> tuple[str, int]:
    """Host and port of `mqtt://host:port` or `mqtts://host:port`.

    Raises:
        ConfigProblem: it is not of that form.
    """
    parts = split_url(url, "broker.url")
    hint = "write mqtt://host:1883; user and password go to broker.username and broker.password_file"
    try:
        host, port = (parts.hostname or "").encode("idna").decode(), parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError as error:
        raise ConfigProblem(f"broker.url: {error}", hint=hint) from None
    if parts.scheme not in _PORTS or not host or parts.username or parts.password:
        raise ConfigProblem(f"broker.url is not of the form mqtt://host:port ({parts.scheme}://{host})", hint=hint)
    return host, port


class Mqtt:
    """See above."""

    def __init__(self, broker: Broker, identity: Identity) -> None:
        self.host, self.port = address(broker.url)
        self.password = secret(broker.password_file, "broker.password_file")
        self.tls = _tls(broker)
        self.broker, self.modern = broker, broker.protocol == "5"
        if not self.modern:
            log.warning("MQTT 3.1.1: the broker cannot say that it refuses an event, which then counts as delivered")
        self.identity = identity
        self.client: Client | None = None
        self.connected: ReasonCode | None = None
        self.lost, self.taken_over = "", False
        self.sequences: dict[int, int] = {}
        self.receipts: list[Receipt | Order] = []
        self.unheard = False
        self.listener, self.bell = socket.socketpair()
        for end in (self.listener, self.bell):
            end.setblocking(False)

    def open(self) -> None:
        client = self._new_client()
        self.client, self.connected, self.lost, self.taken_over = client, None, "", False
        self.sequences.clear()
        self.receipts.clear()
        try:
            fresh = True if self.modern else MQTT_CLEAN_START_FIRST_ONLY  # all that 3.1.1 may be given
            client.connect(self.host, self.port, keepalive=self.broker.keepalive, clean_start=fresh)
        except OSError as error:
            raise ConnectionError(f"{self.host}:{self.port}: {error}") from None
        self._await_connack(time.monotonic() + _CONNECT_SECONDS)
        for message in self.identity.online:
            self.send(message)
        if self.identity.commands:
            client.subscribe(self.identity.commands, qos=1)

    def _await_connack(self, deadline: float) -> None:
        while self.connected is None:
            if time.monotonic() > deadline:
                raise ConnectionError(f"{self.host}:{self.port} does not answer as an MQTT broker")
            try:
                self._pump(0.1)
            except ConnectionError:
                if self.connected is None:
                    raise
        if self.connected.is_failure:
            raise ConnectionError(f"{self.host}:{self.port} turned us away: {self.connected}")

    def _new_client(self) -> Client:
        clean, protocol = (None, MQTTProtocolVersion.MQTTv5) if self.modern else (True, MQTTProtocolVersion.MQTTv311)
        client = Client(CallbackAPIVersion.VERSION2, self.identity.client, clean, protocol=protocol)
        client.connect_timeout = _CONNECT_SECONDS
        if self.broker.username:
            client.username_pw_set(self.broker.username, self.password)
        if (will := self.identity.offline) is not None:
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
        properties = None
        if self.modern:
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
            properties.ContentType = message.content_type
            if message.correlation:
                properties.CorrelationData = message.correlation
        try:
            info = self.client.publish(message.topic, message.payload, 1, message.retain, properties)
        except ValueError as error:  # it can never be sent, now or later
            if message.sequence is not None:
                self.receipts.append(Receipt(message.sequence, str(error)))
            return
        if info.rc != MQTT_ERR_SUCCESS:
            raise ConnectionError(f"publish failed with code {info.rc}")
        if message.sequence is not None:
            self.sequences[info.mid] = message.sequence

    def wait(self, seconds: float) -> list[Receipt | Order]:
        if not self.receipts:
            self._pump(seconds)
        receipts, self.receipts = self.receipts, []
        return receipts

    def wake(self) -> None:
        with contextlib.suppress(BlockingIOError):  # a full buffer is a bell that rings already
            self.bell.send(b"!")

    def close(self) -> None:
        if self.client is None:
            return
        if self.connected is not None and not self.connected.is_failure and not self.lost:
            with contextlib.suppress(OSError):
                if self.identity.stopped is not None:
                    self.send(self.identity.stopped)
                    self._pump(0.2)
                self.client.disconnect()
        stream = self.client.socket()
        if stream is not None:
            stream.close()
        self.client = None

    def _pump(self, seconds: float) -> None:
        """One turn of paho's loop: reads, writes and keeps the connection alive."""
        client = self.client
        stream = client.socket() if client is not None else None
        if client is None or stream is None:
            raise ConnectionError(self.lost or "the connection is gone")
        try:
            buffered = isinstance(stream, ssl.SSLSocket) and stream.pending() > 0  # select cannot see it
            writers = [stream] if client.want_write() else []
            readable, writable, _ = select.select(
                [stream, self.listener], writers, [], 0 if buffered else min(seconds, 1.0)
            )
        except (OSError, ValueError) as error:  # the socket was closed under us
            raise ConnectionError(str(error)) from None
        if self.listener in readable:
            self.listener.recv(4096)
        try:
            if stream in readable or buffered:
                client.loop_read()
            if stream in writable:
                client.loop_write()
            client.loop_misc()
        except _GARBLED as error:
            raise ConnectionError(f"{self.host}:{self.port} does not speak MQTT: {error}") from None
        if self.taken_over:
            raise IdentityTaken(self.lost)
        if self.lost or client.socket() is None:
            raise ConnectionError(self.lost or "the connection is gone")

    def _on_connect(self, _client: Client, _data: Any, _flags: ConnectFlags, reason: ReasonCode, _: Any) -> None:
        self.connected = reason

    def _on_disconnect(self, _client: Client, _data: Any, _flags: DisconnectFlags, reason: ReasonCode, _: Any) -> None:
        self.lost = f"{self.host}:{self.port} is gone: {reason}"
        self.taken_over = reason.value == _TAKEN_OVER

    def _on_publish(self, _client: Client, _data: Any, mid: int, reason: ReasonCode, _: Any) -> None:
        sequence = self.sequences.pop(mid, None)
        if sequence is None:
            return
        unheard = reason.value == _NO_SUBSCRIBERS
        if reason.value in _LATER or (unheard and self.broker.require_subscriber):
            self.receipts.append(Receipt(sequence, busy=str(reason)))
        else:
            self.receipts.append(Receipt(sequence, refused=str(reason) if reason.is_failure else ""))
        if unheard != self.unheard:
            log.warning("nobody subscribes to our events") if unheard else log.info("somebody subscribes to our events")
            self.unheard = unheard

    def _on_message(self, _client: Client, _data: Any, message: MQTTMessage) -> None:
        asked = message.properties
        reply, correlation = getattr(asked, "ResponseTopic", ""), getattr(asked, "CorrelationData", b"")
        self.receipts.append(Order(bytes(message.payload), reply, correlation))


def _tls(broker: Broker) -> ssl.SSLContext | None:
    """None where the broker is spoken to in plain.

    Raises:
        ConfigProblem: a certificate or a key cannot be read.
    """
    if split_url(broker.url, "broker.url").scheme != "mqtts":
        return None
    try:
        context = ssl.create_default_context(cafile=at_hand(broker.ca_file) or None)
        if broker.cert_file:
            context.load_cert_chain(at_hand(broker.cert_file), at_hand(broker.key_file) or None)
    except OSError as error:  # ssl.SSLError is one
        files = ", ".join(filter(None, (broker.ca_file, broker.cert_file, broker.key_file)))
        hint = "broker.ca_file, cert_file and key_file are PEM files that the daemon may read"
        raise ConfigProblem(f"broker: {files}: {error}", hint=hint) from None
    return context
