"""How the commands of `vedette fleet` reach the broker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec

from vedette.runtime.commands import options
from vedette.runtime.config.configuration import BrokerSettings

from ..fleet.fleet_connection import FleetConnection
from ..fleet.inventory import Inventory
from ..fleet.rollout_run import listen
from ..provisioning.arrival_watch import find_broker

_path = click.Path(path_type=Path)

login = options.combine(
    click.option("--broker", "url", default="", help="URL, such as mqtts://broker.plant:8883. [default: --from]"),
    click.option("--from", "out", type=_path, default=Path(), help="Folder that vedette provision wrote."),
    click.option("--prefix", default="vedette", show_default=True, help="First levels of the topics."),
    click.option("--username", default="", help="User at the broker."),
    click.option("--password-file", type=_path, help="Its password."),
    click.option("--ca-file", type=_path, help="Authority of the broker's certificate."),
    click.option("--cert-file", type=_path, help="Certificate to log in with."),
    click.option("--key-file", type=_path, help="Private key of --cert-file."),
    click.option("--only", "--to", "only", multiple=True, help="Boxes: SITE/AREA/LINE/NAME, * for any name."),
)
"""Every subcommand has these."""


def connect(out: Path, url: str, prefix: str, login: dict[str, Any]) -> tuple[FleetConnection, Inventory]:
    """The broker's client, with what the boxes have left there."""
    certificate, private = login.pop("cert_file"), login.pop("key_file")
    broker: BrokerSettings = find_broker(out, url, prefix, **login)
    if certificate:
        broker = msgspec.structs.replace(broker, cert_file=str(certificate), key_file=str(private or ""))
    inventory = Inventory(broker.prefix)
    connection = FleetConnection(broker, inventory)
    listen(connection, inventory)
    return connection, inventory
