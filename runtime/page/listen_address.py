"""Where the page listens, and under which host names browsers may reach it.

Only this machine can reach a loopback address. Another address needs TLS, and a password or a token, because the page
shows pictures. A browser that was lured to a hostile site can still send requests to a loopback address; the check of
the host name refuses them, because that site's name is not known here (DNS rebinding).
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable

import msgspec

from ..config.page_table import PageSettings
from ..errors import ConfigProblem

_FORM = 'write it as listen = "127.0.0.1:8080", or "[::1]:8080" for IPv6'


class ListenAddress(msgspec.Struct, frozen=True):
    """An address and a port."""

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """True if only this machine can reach it."""
        return self.host == "localhost" or ipaddress.ip_address(self.host).is_loopback

    @property
    def is_any(self) -> bool:
        """True if it stands for all addresses of the machine."""
        return self.host != "localhost" and ipaddress.ip_address(self.host).is_unspecified

    @property
    def family(self) -> socket.AddressFamily:
        """The family of its socket."""
        return socket.AF_INET6 if ":" in self.host else socket.AF_INET

    def url(self, scheme: str) -> str:
        """The page's URL at this address."""
        return f"{scheme}://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


def parse_listen_address(settings: PageSettings) -> ListenAddress:
    """The address of `[page] listen`, which is safe with the rest of the table.

    Raises:
        ConfigProblem: it is not an address, or others reach it and there is no TLS or neither password nor token.
    """
    host, colon, port = settings.listen.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") if host.startswith("[") else host
    if not colon or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise ConfigProblem(f"[page] listen {settings.listen!r}: not an address and a port", hint=_FORM)
    if host != "localhost":
        try:
            ipaddress.ip_address(host)
        except ValueError:
            raise ConfigProblem(f"[page] listen: {host!r} is not an IP address", hint=_FORM) from None
    address = ListenAddress(host, int(port))
    if address.is_loopback:
        return address
    if not settings.cert_file:
        hint = "set cert_file and key_file (vedette ca issues them), or listen on 127.0.0.1 and use an SSH tunnel"
        raise ConfigProblem(f"[page] listen {settings.listen}: other machines reach it, and it has no TLS", hint=hint)
    if not (settings.password_file or settings.token_file):
        hint = "set password_file and run vedette page password; there is no default password"
        raise ConfigProblem(f"[page] listen {settings.listen}: anybody could look in without a password", hint=hint)
    return address


class KnownHosts:
    """Host names under which the page answers; addresses are always known, because no name was resolved to them."""

    def __init__(self, names: Iterable[str]) -> None:
        own = {name.lower().rstrip(".") for name in names if name}
        self.names = own | {f"{name}.local" for name in own if "." not in name} | {"localhost"}

    @classmethod
    def of_device(cls, device: str, settings: PageSettings) -> KnownHosts:
        """Those of a device: its name, the machine's name, and what the settings add."""
        return cls((device, socket.gethostname(), *settings.hosts))

    def knows(self, header: str) -> bool:
        """Whether the value of a `Host` header names this device."""
        host = split_host(header)
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return host in self.names
        return True


def split_host(header: str) -> str:
    """The host of a `Host` header, in small letters, without its port and without brackets; empty: it is malformed."""
    if header.startswith("["):
        host, bracket, _ = header[1:].partition("]")
        return host.lower() if bracket else ""
    return header.partition(":")[0].lower().rstrip(".")
