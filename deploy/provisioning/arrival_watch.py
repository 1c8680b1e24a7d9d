"""`vedette provision --watch`: listens at the broker until all boxes of a table have come up."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

import click
from paho.mqtt.client import MQTT_ERR_SUCCESS, Client, ConnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from vedette.runtime.config.configuration import BrokerSettings
from vedette.runtime.config.credentials import read_secret
from vedette.runtime.errors import ConfigProblem, MachineProblem
from vedette.runtime.events.event import new_event_id
from vedette.runtime.events.sinks import LoginRefused
from vedette.runtime.events.sinks.mqtt import broker_address
from vedette.runtime.events.sinks.mqtt_login import check_connack
from vedette.runtime.events.sinks.mqtt_tls import make_tls_context

from .arrivals import Arrivals
from .fleet_settings import OPERATOR
from .fleet_table import Box
from .provision_state import ProvisionState

_CONNECT_SECONDS = 10.0
_LOOP_SECONDS = 0.2


def find_broker(
    out: Path, url: str, prefix: str, username: str, password_file: Path | None, ca_file: Path | None
) -> BrokerSettings:
    """The broker and the operator's login: from the arguments, else from the folder of an earlier run.

    Raises:
        ConfigProblem: neither names a broker.
    """
    state = ProvisionState.read(out)
    url = url or (state.url if state else "")
    if not url:
        raise ConfigProblem("which broker?", hint="give --broker URL, or the --out of a run that wrote cards")
    files = {name: out / "operator" / f"{OPERATOR}.{name}" for name in ("pem", "key", "password")}
    own_ca = out / "operator" / "ca.pem"
    has_pair = not username and files["pem"].exists()
    if not username and not has_pair and files["password"].exists():
        username, password_file = OPERATOR, password_file or files["password"]
    return BrokerSettings(
        url=url,
        prefix=state.prefix if state else prefix,
        username=username,
        password_file=str(password_file or ""),
        ca_file=str(ca_file or (own_ca if own_ca.exists() else "")),
        cert_file=str(files["pem"]) if has_pair else "",
        key_file=str(files["key"]) if has_pair else "",
    )


def watch_arrivals(boxes: tuple[Box, ...], broker: BrokerSettings, out: Path, wait: float | None) -> bool:
    """Prints each box that comes up, until all have.

    Args:
        boxes: the table
        broker: the broker, and the login there
        out: folder of the run that wrote the cards
        wait: seconds after which it gives up; None: never

    Returns:
        Whether all boxes came up.
    """
    state = ProvisionState.read(out)
    arrivals = Arrivals(boxes, broker.prefix, state.instances if state else {})

    def take(_client: Client, _data: object, message: MQTTMessage) -> None:
        if line := arrivals.take(message.topic, bytes(message.payload)):
            click.echo(f"{time.strftime('%H:%M:%S')}  {line}")

    client = _connect(broker, [f"{broker.prefix}/v1/+/+/+/+/{level}/#" for level in ("info", "availability")])
    client.on_message = take
    click.echo(f"waiting for {len(boxes)} boxes at {broker.url}")
    end = None if wait is None else time.monotonic() + wait
    while arrivals.waiting and (end is None or time.monotonic() < end):
        if client.loop(_LOOP_SECONDS) != MQTT_ERR_SUCCESS:
            time.sleep(_LOOP_SECONDS)
            _reconnect(client)
    client.disconnect()
    click.echo(arrivals.table())
    if arrivals.waiting:
        click.echo(f"{len(arrivals.waiting)} of {len(boxes)} boxes have not come up", err=True)
    return not arrivals.waiting


def _connect(broker: BrokerSettings, topics: list[str]) -> Client:
    """A client that is connected, and subscribes to `topics` at each connection.

    Raises:
        ConfigProblem: the broker refuses the login.
        MachineProblem: it cannot be reached.
    """
    host, port = broker_address(broker.url)
    client = Client(
        CallbackAPIVersion.VERSION2, f"vedette-watch-{new_event_id()[-12:]}", protocol=MQTTProtocolVersion.MQTTv5
    )
    client.connect_timeout = _CONNECT_SECONDS
    if broker.username:
        client.username_pw_set(broker.username, read_secret(broker.password_file, "--password-file"))
    if (tls := make_tls_context(broker)) is not None:
        client.tls_set_context(tls)
    answers = list[ReasonCode]()

    def greet(
        client: Client, _data: object, _flags: ConnectFlags, reason: ReasonCode, _properties: Properties | None
    ) -> None:
        answers.append(reason)
        for topic in topics:
            client.subscribe(topic, qos=1)

    client.on_connect = greet
    hint = "check --broker, the network, and that the broker runs with the files of broker/"
    try:
        client.connect(host, port)
        end = time.monotonic() + _CONNECT_SECONDS
        while not answers and time.monotonic() < end and client.loop(_LOOP_SECONDS) == MQTT_ERR_SUCCESS:
            pass
        if not answers:
            raise ConnectionError("the connection was closed before an answer")
        check_connack(answers[0], broker.url, broker)
    except LoginRefused as error:
        raise ConfigProblem(str(error), hint="give --username and --password-file") from None
    except OSError as error:
        raise MachineProblem(f"{broker.url}: {error}", hint=hint) from None
    return client


def _reconnect(client: Client) -> None:
    """One attempt; the next turn of the loop makes another if it fails."""
    with suppress(OSError):
        client.reconnect()
