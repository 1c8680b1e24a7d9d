"""What mosquitto needs for the boxes of a table: listeners, passwords, access rights, and a bridge to copy from."""

from __future__ import annotations

from collections.abc import Mapping

from .fleet_settings import OPERATOR, READER, FleetBroker
from .provision_state import Login

_HEAD = """\
# Written by vedette provision; changes are lost at its next run.
"""
# What an acknowledgment is worth needs the five lines of persistence (docs/delivery.md).
_CONFIGURATION = """\
# {folder} holds the other files of this folder.
allow_anonymous false
password_file {folder}/passwords
acl_file {folder}/acl
persistence true
autosave_interval 1
autosave_on_changes true
max_queued_messages 100000
max_inflight_messages 20
"""
_TLS = """\
cafile {folder}/ca.pem
certfile {folder}/server.pem
keyfile {folder}/server.key
"""
_CERTIFICATES = """\
require_certificate true
use_identity_as_username true
crlfile {folder}/crl.pem
"""
_ACCESS = """\
# A box writes below its own name and reads its own commands. Its name is the user name: of the login, or of the
# certificate.
pattern write {prefix}/v1/+/+/+/%u/#
pattern read {prefix}/v1/+/+/+/%u/cmd/#

# Whoever watches and commands the boxes.
user {operator}
topic readwrite {prefix}/v1/#
topic read $SYS/#

# Whoever only reads, such as a dashboard.
user {reader}
topic read {prefix}/v1/#
"""
_BRIDGE = """\
# An example: what the boxes say goes on to another broker, and its commands come back. Copy it to
# /etc/mosquitto/conf.d/bridge.conf and set address, user and password.
connection vedette-bridge
address broker.example.com:8883
bridge_capath /etc/ssl/certs
remote_username USER
remote_password PASSWORD
remote_clientid {host}-bridge
bridge_protocol_version mqttv50
cleansession false
notifications false
try_private true
topic {prefix}/v1/# out 1
topic {prefix}/v1/+/+/+/+/cmd/# in 1
"""


def render_broker_files(broker: FleetBroker, boxes: tuple[str, ...], logins: Mapping[str, Login]) -> dict[str, str]:
    """The files by name; certificates are not among them.

    Args:
        broker: the broker
        boxes: names of the boxes
        logins: of the boxes if they log in with a password, of the operator and the reader
    """
    users = [OPERATOR, READER, *(boxes if broker.login == "password" else ())]
    return {
        "vedette.conf": render_configuration(broker),
        "passwords": "".join(f"{user}:{logins[user].hash}\n" for user in users),
        "acl": _HEAD + _ACCESS.format(prefix=broker.prefix, operator=OPERATOR, reader=READER),
        "bridge.conf.example": _BRIDGE.format(prefix=broker.prefix, host=broker.host),
    }


def render_configuration(broker: FleetBroker) -> str:
    """The listeners: one for the boxes, one for programs on the broker's machine."""
    text = _HEAD + _CONFIGURATION.format(folder=broker.folder)
    text += f"\n# The boxes: they log in with a {broker.login}.\nlistener {broker.port}\n"
    if broker.is_tls:
        text += _TLS.format(folder=broker.folder)
    if broker.login == "certificate":
        text += _CERTIFICATES.format(folder=broker.folder)
    if broker.local_port:
        text += f"\n# Programs on this machine: they log in with a password.\nlistener {broker.local_port} 127.0.0.1\n"
    return text
