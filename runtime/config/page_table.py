"""The table `[page]` of vedette.toml: the page that a device shows to a browser. Off unless `listen` is set."""

from __future__ import annotations

from typing import Annotated

import msgspec

_HostName = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?\Z")]


class PageSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[page]`. Paths are relative to the folder of vedette.toml."""

    listen: str = ""
    """`ADDRESS:PORT`, for example `127.0.0.1:8080`; empty: there is no page. An address that other machines reach needs
    `cert_file`, `key_file`, and a password or a token."""
    password_file: str = ""
    """File that `vedette page password` writes; it holds a hash, never the password."""
    token_file: str = ""
    """File with a secret of 32 characters or more, for programs (`Authorization: Bearer`) or to sign in with."""
    cert_file: str = ""
    """Certificate chain of the page, PEM."""
    key_file: str = ""
    """Private key of `cert_file`, PEM."""
    hosts: tuple[_HostName, ...] = ()
    """Further host names under which browsers reach the page. Addresses, `localhost`, the name of the machine and that
    of the device, each with `.local` as well, are known."""

    def __post_init__(self) -> None:
        if bool(self.cert_file) != bool(self.key_file):
            raise ValueError("cert_file and key_file go together")


class PageTable(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The part of vedette.toml that only the page reads."""

    page: PageSettings = PageSettings()
