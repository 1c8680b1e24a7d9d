"""OPC UA, as a server or a client of the line controller.

    opcua://0.0.0.0:4840?certificate=…&key=…&trusted=…     the line controller is the client of this device
    opcua://plc:4840?trigger=ns=3;s=Line.Trigger&…         this device subscribes to nodes of the line controller

Without certificates only this machine can connect, unless the address says `security=none`.
"""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

import msgspec

from ...config.configuration import Config
from ...config.credentials import resolve_credential_path
from ...distribution import require_module
from ...errors import ConfigProblem
from ...plugin_tables import parse_options, split_url
from . import LineAdapter
from .opcua_options import OpcUaOptions

PORT = 4840


def make_opcua_adapter(settings: Config) -> LineAdapter:
    """The server or the client that `trigger.source` asks for.

    Raises:
        ConfigProblem: the URL is wrong, or would be open to a network without certificates.
        MachineProblem: asyncua is not installed.
    """
    assert settings.trigger is not None
    parts = split_url(settings.trigger.source, "trigger.source")
    options = parse_options(urlsplit(settings.trigger.source).query, OpcUaOptions, "trigger.source")
    if not parts.hostname:
        hint = "write opcua://127.0.0.1:4840, or opcua://HOST:4840?trigger=NODE"
        raise ConfigProblem("trigger.source: no address", hint=hint)
    if not options.certificate and options.security != "none" and not _is_local(parts.hostname):
        hint = "add certificate=, key= and trusted=, or security=none for a network of its own"
        raise ConfigProblem(f"trigger.source: {parts.hostname} without certificates is open to everybody", hint=hint)
    if settings.trigger.acknowledge and options.is_client and not options.acknowledge:
        hint = "add acknowledge=NODE, or take trigger.acknowledge out"
        raise ConfigProblem("trigger.source: no node for the acknowledgment", hint=hint)
    require_module("asyncua", "asyncua", "opcua", "trigger.source")
    files = {
        name: resolve_credential_path(getattr(options, name), settings.base)
        for name in ("certificate", "key", "trusted", "password_file")
    }
    options = msgspec.structs.replace(options, **files)
    if options.certificate:
        from .opcua_security import application_uri

        try:
            application_uri(options.certificate)
        except (OSError, ValueError) as error:
            hint = "docs/line.md shows how to make a certificate"
            raise ConfigProblem(f"trigger.source: certificate: {error}", hint=hint) from None
    address = (parts.hostname, parts.port or PORT)
    if options.is_client:
        from .opcua_client import OpcUaClient

        return OpcUaClient(address, parts.path, options)
    from .opcua_server import OpcUaServer

    return OpcUaServer(address, options, settings.camera)


def _is_local(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
