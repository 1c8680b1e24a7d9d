"""The options of `opcua:` addresses; apart, so that reading a configuration needs no asyncua."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from ..handshake_state import SIGNALS
from .signal_addresses import SignalAddresses

VALUES = ("part", "verdict", "shown_product")


class OpcUaOptions(SignalAddresses, frozen=True, forbid_unknown_fields=True):
    """Options after `?`. Nodes are those of the line controller's server, as in ns=3;s=Line.Trigger."""

    trigger: str = ""
    """With this node the device is a client, without it the server. A Boolean, or a counter."""
    acknowledge: str = ""
    product: str = ""
    serial: str = ""
    part: str = ""
    verdict: str = ""
    shown_product: str = ""
    """The product index of the part whose result is shown."""
    interval: Annotated[float, msgspec.Meta(ge=0.001, le=1)] = 0.01
    """Client: seconds between two messages of the subscription."""
    security: Literal["certificate", "none"] = "certificate"
    certificate: str = ""
    """File of the device's own certificate, PEM or DER."""
    key: str = ""
    """File of its private key."""
    trusted: str = ""
    """Server: folder with certificates of clients or their authorities. Client: file of the server's certificate."""
    user: str = ""
    """Client: user at the line controller."""
    password_file: str = ""

    @property
    def is_client(self) -> bool:
        """Whether the line controller is the server."""
        return bool(self.trigger)

    def __post_init__(self) -> None:
        given = [bool(self.certificate), bool(self.key), bool(self.trusted)]
        if any(given) and not all(given):
            raise ValueError("certificate, key and trusted need each other")
        if bool(self.user) != bool(self.password_file):
            raise ValueError("user and password_file need each other")
        nodes = ("acknowledge", "product", "serial", *SIGNALS, *VALUES, "user")
        if not self.is_client and any(map(self.address_of, nodes)):
            raise ValueError("nodes and a user are for a client, which needs trigger=NODE")
