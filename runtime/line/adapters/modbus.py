"""Modbus TCP, as a server or a client; register_map.py has the addresses.

    modbus://0.0.0.0:502                       the line controller is the client, and reads and writes this device
    modbus://plc:502?role=client&poll=0.005    this device polls the line controller

As a client it reads the coils and holding registers of the map from `inputs` on, and writes the outputs as coils and
holding registers from `outputs` on. The trigger of a server takes the time at which the request came.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from ...config.configuration import Config
from ...distribution import require_module
from ...errors import ConfigProblem
from ...plugin_tables import parse_options, split_url
from . import LineAdapter
from .modbus_options import ModbusOptions

PORT = 502


def make_modbus_adapter(settings: Config) -> LineAdapter:
    """The server or the client that `trigger.source` asks for.

    Raises:
        ConfigProblem: the URL is wrong.
        MachineProblem: pymodbus is not installed.
    """
    assert settings.trigger is not None
    parts = split_url(settings.trigger.source, "trigger.source")
    options = parse_options(urlsplit(settings.trigger.source).query, ModbusOptions, "trigger.source")
    if not parts.hostname:
        hint = "write modbus://0.0.0.0:502, or modbus://HOST:502?role=client"
        raise ConfigProblem("trigger.source: no address", hint=hint)
    require_module("pymodbus", "pymodbus", "modbus", "trigger.source")
    address = (parts.hostname, parts.port or PORT)
    if options.role == "server":
        from .modbus_server import ModbusServer

        return ModbusServer(address, options.unit)
    from .modbus_client import ModbusClient

    return ModbusClient(address, options)
