"""The broker's answer to a connection: a refused login is told as that, with the keys to check."""

from __future__ import annotations

from paho.mqtt.reasoncodes import ReasonCode

from ...config.configuration import BrokerSettings
from . import LoginRefused

_LOGIN_REFUSED = (0x86, 0x87, 0x8C)  # bad user name or password, not authorized, bad authentication method


def check_connack(reason: ReasonCode, address: str, broker: BrokerSettings) -> None:
    """Checks that the broker has accepted the connection.

    Args:
        reason: of CONNACK
        address: host and port
        broker: the settings that were tried

    Raises:
        LoginRefused: it refuses the login.
        ConnectionError: it refuses the connection.
    """
    if reason.value in _LOGIN_REFUSED:
        raise LoginRefused(_describe_refused_login(address, broker, str(reason)))
    if reason.is_failure:
        raise ConnectionError(f"{address} refused the connection: {reason}")


def _describe_refused_login(address: str, broker: BrokerSettings, reason: str) -> str:
    if broker.username:
        keys = "broker.username and broker.password_file"
        return f"{address} refuses the login of the user {broker.username} ({reason}): check {keys}"
    if broker.cert_file:
        return f"{address} refuses the certificate of this client ({reason}): check broker.cert_file and key_file"
    return f"{address} asks for a login ({reason}): write broker.username and broker.password_file"


def describe_disconnect(reason: ReasonCode, connack: ReasonCode | None, broker: BrokerSettings) -> str:
    """Why a connection ended. A broker that does not know this version of MQTT ends it without an answer."""
    return f"disconnected: {reason}" if connack is not None else f"does not answer MQTT {broker.protocol}"
