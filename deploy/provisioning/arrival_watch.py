"""`vedette provision --watch`: listens at the broker until all boxes of a table have come up."""

from __future__ import annotations

import time
from pathlib import Path

import click
from paho.mqtt.client import MQTTMessage

from vedette.runtime.config.configuration import BrokerSettings
from vedette.runtime.errors import ConfigProblem

from ..broker_client import BrokerClient
from .arrivals import Arrivals
from .fleet_settings import OPERATOR
from .fleet_table import Box
from .provision_state import ProvisionState

_POLL_SECONDS = 0.2


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

    def take(message: MQTTMessage) -> None:
        if line := arrivals.take(message.topic, bytes(message.payload)):
            click.echo(f"{time.strftime('%H:%M:%S')}  {line}")

    client = BrokerClient(
        broker,
        "watch",
        [f"{broker.prefix}/v1/+/+/+/+/{level}/#" for level in ("info", "availability")],
        take,
        login_hint="give --username and --password-file",
        reach_hint="check --broker, the network, and that the broker runs with the files of broker/",
    )
    click.echo(f"waiting for {len(boxes)} boxes at {broker.url}")
    end = None if wait is None else time.monotonic() + wait
    while arrivals.waiting and (end is None or time.monotonic() < end):
        client.poll(_POLL_SECONDS)
    client.close()
    click.echo(arrivals.table())
    if arrivals.waiting:
        click.echo(f"{len(arrivals.waiting)} of {len(boxes)} boxes have not come up", err=True)
    return not arrivals.waiting
