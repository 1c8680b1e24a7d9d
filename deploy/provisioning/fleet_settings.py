"""What all boxes of a table share: the broker, and defaults of columns; `fleet.toml`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec

from vedette.runtime.config.configuration import BrokerSettings
from vedette.runtime.config.toml_file import read_toml
from vedette.runtime.errors import ConfigProblem, locate_errors
from vedette.runtime.events.sinks.mqtt import broker_address

DOCS = "docs/provisioning.md"
OPERATOR = "vedette-operator"
"""Who watches and commands the boxes."""
READER = "vedette-reader"
"""Who only reads, such as a dashboard."""
_FOLDER = Annotated[str, msgspec.Meta(pattern=r"^/[A-Za-z0-9_./-]+\Z")]


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class FleetBroker(_Table, frozen=True):
    """`[broker]`: what the boxes connect to, and how they log in."""

    url: str = ""
    """`mqtts://HOST:PORT` or `mqtt://HOST:PORT`, as the boxes reach it."""
    prefix: str = "vedette"
    login: Literal["certificate", "password"] = "certificate"
    hosts: tuple[str, ...] = ()
    """Further names and addresses of the broker, for its certificate."""
    folder: _FOLDER = "/etc/mosquitto/vedette"
    """Where the files of `broker/` will lie on the broker's machine."""
    local_port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 1883
    """Port for programs on the broker's machine, which log in with a password; 0: none."""

    @property
    def host(self) -> str:
        """Host of `url`."""
        return broker_address(self.url)[0]

    @property
    def port(self) -> int:
        """Port of `url`."""
        return broker_address(self.url)[1]

    @property
    def is_tls(self) -> bool:
        """Whether `url` is `mqtts:`."""
        return urlsplit(self.url).scheme == "mqtts"


class FleetSettings(_Table, frozen=True):
    """The whole file."""

    broker: FleetBroker = FleetBroker()
    defaults: dict[str, str | int] = {}
    """Values of columns that the table lacks, or where a cell is empty."""
    keys: tuple[str, ...] = ()
    """Public keys (`.pub`) whose bundles the boxes run; relative to this file."""


def read_settings(path: Path | None) -> FleetSettings:
    """Reads `fleet.toml`; None: all defaults.

    Raises:
        ConfigProblem: a key is wrong.
    """
    settings = FleetSettings() if path is None else read_toml(path, FleetSettings, docs=DOCS)
    with locate_errors("broker.prefix"):
        _check_prefix(settings.broker.prefix)
    return settings


def choose_broker(settings: FleetSettings, url: str, has_authority: bool) -> FleetSettings:
    """The settings with the broker that the boxes will connect to.

    Args:
        settings: what `fleet.toml` says
        url: the broker's URL, instead of that in the file
        has_authority: whether certificates can be signed

    Raises:
        ConfigProblem: the URL is missing or wrong, or certificates are wanted without an authority.
    """
    broker = msgspec.structs.replace(settings.broker, url=url or settings.broker.url)
    if not broker.url:
        raise ConfigProblem("which broker do the boxes connect to?", hint="give --broker mqtts://HOST:8883")
    broker_address(broker.url)
    if broker.is_tls and not has_authority:
        hint = "make an authority (vedette ca init ca), and give --ca ca"
        raise ConfigProblem(f"{broker.url}: TLS needs a certificate of the broker", hint=hint)
    if not broker.is_tls and broker.login == "certificate":
        hint = 'write mqtts:// and give --ca; or, for a network that nobody else can reach, login = "password"'
        raise ConfigProblem(f"{broker.url}: boxes with certificates need TLS", hint=hint)
    if broker.local_port == broker.port:
        broker = msgspec.structs.replace(broker, local_port=0)
    return msgspec.structs.replace(settings, broker=broker)


def _check_prefix(prefix: str) -> None:
    try:
        msgspec.convert({"prefix": prefix}, BrokerSettings)
    except msgspec.ValidationError as error:
        raise ConfigProblem(str(error), hint="levels of a topic: vedette or plant/vedette") from None
