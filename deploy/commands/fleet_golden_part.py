"""`vedette fleet golden-part`: reference parts of a line, ordered from afar."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from vedette.runtime.bundle.keys import read_private_key
from vedette.runtime.commands import options
from vedette.runtime.commands.golden_part import end_command, watch_check
from vedette.runtime.errors import ConfigProblem
from vedette.runtime.line.golden_messages import GoldenCommand

from ..fleet.golden_orders import GoldenOrders
from .fleet_login import connect, login

_path = click.Path(path_type=Path)


@click.command("golden-part")
@click.argument("camera")
@click.option("--key", type=_path, help="Private key that signs the order; the box trusts it.")
@click.option("--acknowledge", is_flag=True, help="Acknowledge what failed or was overdue; then check again.")
@click.option("--show", is_flag=True, help="Print how it is, and do nothing; needs no key.")
@click.option("--by", default="", metavar="NAME", help="Who does so.")
@click.option("--seconds", default=900.0, show_default=True, type=click.FloatRange(1, 86400), help="Longest wait.")
@login
@options.as_json
def golden_part(
    camera: str, key: Path | None, acknowledge: bool, show: bool, by: str, seconds: float, as_json: bool, **more: Any
) -> None:
    """Check the inspection at CAMERA of the box --to with reference parts, as vedette golden-part does at the box."""
    if acknowledge and show:
        raise click.UsageError("give --acknowledge or --show, not both")
    if not show and (key is None or not by.strip()):
        raise ConfigProblem("an order needs a key and a name", hint="give --key FILE and --by NAME, or --show")
    private = None if key is None else read_private_key(key)
    only = more.pop("only")
    connection, inventory = connect(more.pop("out"), more.pop("url"), more.pop("prefix"), more)
    try:
        boxes = inventory.find(only)
        if len(boxes) != 1:
            hint = "name one: --to SITE/AREA/LINE/NAME"
            raise ConfigProblem(f"{len(boxes)} boxes are meant, and a check is that of one", hint=hint)
        orders = GoldenOrders(connection, boxes[0].place, camera, private)
        command = GoldenCommand("acknowledge" if acknowledge else "show" if show else "begin", by)
        status = orders.show() if show else orders.give(command)
        if command.action == "begin":
            status = watch_check(status, orders.show, seconds, quiet=as_json)
    finally:
        connection.close()
    end_command(command, status, camera, as_json)
