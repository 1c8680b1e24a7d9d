"""The tables `[[sinks]]` of vedette.toml: where events go beside the broker."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from typing import Annotated, Literal
from urllib.parse import urlsplit

import msgspec

_NAME = r"^[a-z0-9][a-z0-9_-]{0,31}\Z"  # goes into the outbox, log lines and labels of metrics
_ADDRESS = re.compile(r"[^@\s<>,;:\"]{1,64}@[^@\s<>,;:\"]{1,255}")
_RESERVED = "broker"
_MAIL_PORTS = {"starttls": 587, "tls": 465, "none": 25}

SinkName = Annotated[str, msgspec.Meta(pattern=_NAME)]
Seconds = Annotated[float, msgspec.Meta(ge=1, le=120)]


class SinkSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="use", kw_only=True):
    """What all sinks have."""

    name: SinkName
    rules: tuple[str, ...] = ()
    """Only events of these rules, or of these parts of the device (`camera`, `outbox`, …); empty: all."""
    timeout: Seconds = 10.0
    """Seconds for which the receiver may say nothing. A whole exchange is cut after four times as long."""
    ca_file: str = ""
    """Certificate authority of the receiver's certificate; empty: the authorities that the system trusts."""


class WebhookSettings(SinkSettings, frozen=True, tag="webhook", kw_only=True):
    """An HTTPS endpoint that gets each event by POST, signed as "Standard Webhooks" says."""

    name: SinkName = "webhook"
    url: str
    secret_file: str = ""
    """File with the secret of the signature, `whsec_` and base64; empty: no signature."""
    plain_http: bool = False
    """True: http:// is permitted to other machines, too."""

    def __post_init__(self) -> None:
        form = "url is not of the form https://host/path, without a user and password"
        try:  # messages of the standard library would quote a password
            parts = urlsplit(self.url)
            is_valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            raise ValueError(form) from None
        if not is_valid or "@" in parts.netloc or not self.url.isascii() or not self.url.isprintable():
            raise ValueError(form)
        if " " in self.url or parts.fragment:
            raise ValueError(form)
        if parts.scheme == "http" and not self.plain_http and not is_loopback(parts.hostname or ""):
            raise ValueError("http:// to another machine: use https://, or write plain_http = true")


class MailSettings(SinkSettings, frozen=True, tag="smtp", kw_only=True, rename={"sender": "from"}):
    """A mail server that gets events as mail: new events, and those about the device."""

    name: SinkName = "smtp"
    host: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9._:-]+\Z")]
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 0
    """0: 587, 465 or 25, by `security`."""
    security: Literal["starttls", "tls", "none"] = "starttls"
    username: str = ""
    password_file: str = ""
    sender: str
    to: Annotated[tuple[str, ...], msgspec.Meta(min_length=1, max_length=100)]
    interval: Annotated[float, msgspec.Meta(ge=0, le=86400)] = 300.0
    """Seconds between two mails; what happens in between comes in one mail."""
    thumbnails: bool = True
    """Whether the thumbnails of events are attached, if the camera takes any."""
    timeout: Seconds = 20.0

    def __post_init__(self) -> None:
        for address in (self.sender, *self.to):
            if not _ADDRESS.fullmatch(address) or not address.isascii() or not address.isprintable():
                raise ValueError(f"{address!r} is not a mail address like box7@plant.example")
        if bool(self.username) != bool(self.password_file):
            raise ValueError("username and password_file go together")
        if self.security == "none" and self.username and not is_loopback(self.host):
            raise ValueError('security = "none" would send the password in clear to another machine')

    @property
    def server_port(self) -> int:
        """The port to connect to."""
        return self.port or _MAIL_PORTS[self.security]


AnySink = WebhookSettings | MailSettings


def check_names(sinks: Sequence[AnySink]) -> str:
    """What is wrong with the names of the sinks; empty: nothing."""
    names = [each.name for each in sinks]
    if _RESERVED in names:
        return f"a sink cannot be called {_RESERVED!r}"
    double = sorted({name for name in names if names.count(name) > 1})
    return f"two sinks are called {double[0]!r}: write a name = for each" if double else ""


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, by its name alone."""
    if host.rstrip(".").lower() in ("localhost", "localhost.localdomain"):
        return True
    try:
        return ipaddress.ip_address(host.split("%", maxsplit=1)[0]).is_loopback
    except ValueError:
        return False
