"""What a cell of each column may hold. A check returns the value, or raises with the reason."""

from __future__ import annotations

import functools
import ipaddress
import re
import zoneinfo
from collections.abc import Callable

from vedette.runtime.camera.sources import SOURCES
from vedette.runtime.plugin_tables import split_url

from .certificate_fields import check_name

CAMERA_COLUMNS = ("camera", "source", "camera_username", "camera_password", "bundle")
MAX_HOST_NAME = 63
MAX_REVISION = 1_000_000


def _printable(value: str) -> str:
    if not value.isprintable():
        raise ValueError("holds characters that cannot be printed")
    return value


def _level(value: str) -> str:
    check_name(value)
    return value


def _box_name(value: str) -> str:
    check_name(value)
    if len(value) > MAX_HOST_NAME:
        raise ValueError(f"longer than {MAX_HOST_NAME} characters, and it becomes the host name")
    return value


@functools.cache
def _known_timezones() -> set[str]:
    return zoneinfo.available_timezones()


def _timezone(value: str) -> str:
    known = _known_timezones()
    if known and value not in known:
        raise ValueError("no time zone; write it like Europe/Berlin")
    return value


def _revision(value: str) -> int:
    if not value.isdecimal() or not 1 <= int(value) <= MAX_REVISION:
        raise ValueError(f"not a whole number from 1 to {MAX_REVISION}")
    return int(value)


def _address(value: str) -> str:
    if "/" not in value:
        raise ValueError("write it with the length of its prefix: 192.168.1.20/24")
    return str(ipaddress.ip_interface(value))


def _gateway(value: str) -> str:
    return str(ipaddress.ip_address(value))


def _servers(value: str) -> tuple[str, ...]:
    return tuple(str(ipaddress.ip_address(each)) for each in value.split())


def _ssid(value: str) -> str:
    if len(value.encode()) > 32:
        raise ValueError("longer than 32 bytes")
    return _printable(value)


def _wifi_password(value: str) -> str:
    if not re.fullmatch(r"[ -~]{8,63}", value):
        raise ValueError("not 8 to 63 characters of ASCII")
    return value


def _country(value: str) -> str:
    if not re.fullmatch(r"[A-Z]{2}", value):
        raise ValueError("not a country in two capitals, such as DE")
    return value


def _ssh_key(value: str) -> str:
    if not re.match(r"(ssh-(ed25519|rsa)|ecdsa-sha2-\S+|sk-\S+) [A-Za-z0-9+/=]+( |\Z)", value):
        raise ValueError("not a public key; write the whole line of the file .pub")
    return _printable(value)


def _source(value: str) -> str:
    if split_url(value, "source").scheme not in SOURCES:
        raise ValueError(f"a source begins with {', '.join(f'{scheme}:' for scheme in SOURCES)}")
    return _printable(value)


CHECKS: dict[str, Callable[[str], object]] = {
    "name": _box_name,
    "site": _level,
    "area": _level,
    "line": _level,
    "timezone": _timezone,
    "revision": _revision,
    "address": _address,
    "gateway": _gateway,
    "dns": _servers,
    "wifi_ssid": _ssid,
    "wifi_password": _wifi_password,
    "wifi_country": _country,
    "ssh_key": _ssh_key,
    "note": _printable,
    "camera": _level,
    "source": _source,
    "camera_username": _printable,
    "camera_password": _printable,
    "bundle": _printable,
}
"""The check of each column; a camera's columns may end in a number."""
