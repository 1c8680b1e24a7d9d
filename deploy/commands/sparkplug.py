"""`vedette sparkplug`: the cameras at a broker as devices of a Sparkplug B edge node."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import click

from vedette.runtime.config.configuration import BrokerSettings
from vedette.runtime.errors import ConfigProblem

_path = click.Path(path_type=Path)


@click.command()
@click.option("--broker", "url", required=True, help="URL of the boxes' broker, such as mqtts://broker.plant:8883.")
@click.option("--prefix", default="vedette", show_default=True, help="First levels of the boxes' topics.")
@click.option("--username", default="", help="User at the boxes' broker.")
@click.option("--password-file", type=_path, help="Its password.")
@click.option("--ca-file", type=_path, help="Authority of the certificate of the boxes' broker.")
@click.option("--host", "host_url", required=True, help="URL of the broker of the SCADA system; it may be the same.")
@click.option("--host-username", default="", help="User there.")
@click.option("--host-password-file", type=_path, help="Its password.")
@click.option("--host-ca-file", type=_path, help="Authority of the certificate there.")
@click.option("--group", default="Vedette", show_default=True, help="Sparkplug group ID.")
@click.option("--node", default="cameras", show_default=True, help="Sparkplug edge node ID.")
def sparkplug(
    url: str, prefix: str, username: str, password_file: Path | None, ca_file: Path | None,
    host_url: str, host_username: str, host_password_file: Path | None, host_ca_file: Path | None,
    group: str, node: str,
) -> None:  # fmt: skip
    """Show the cameras at a broker to a SCADA system, as devices of a Sparkplug B edge node.

    It runs until it is interrupted. Sparkplug sends at QoS 0: what is sent while a connection is down is lost there.
    The events at the boxes' broker stay the record.
    """
    for option, name in (("--group", group), ("--node", node)):
        if not re.fullmatch(r"[^+#/\x00-\x1f\x7f]+", name):
            raise ConfigProblem(f"{option} {name!r}: not a Sparkplug ID", hint="leave out /, + and #")
    try:
        from ..sparkplug.bridge import SparkplugBridge
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("google"):
            raise
        raise ConfigProblem("protobuf is not installed", hint='install it: pip install "vedette[sparkplug]"') from None
    broker = BrokerSettings(
        url=url, prefix=prefix, username=username, password_file=str(password_file or ""), ca_file=str(ca_file or "")
    )
    host = BrokerSettings(
        url=host_url, username=host_username, password_file=str(host_password_file or ""),
        ca_file=str(host_ca_file or ""),
    )  # fmt: skip
    bridge = SparkplugBridge(broker, host, group, node)
    stop: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _frame: stop.append(number))
    while not stop:
        bridge.poll()
    bridge.close()
