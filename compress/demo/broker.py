"""An MQTT 5 broker on a free loopback port, for the demonstration: rumqttd, inside the PyPI package `iotcore`."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

_CONFIG = """\
id = 0

[router]
id = 0
max_connections = 100
max_outgoing_packet_count = 200
max_segment_size = 104857600
max_segment_count = 10

[v5.1]
name = "v5"
listen = "127.0.0.1:{port}"
next_connection_delay_ms = 1

[v5.1.connections]
connection_timeout_ms = 60000
max_payload_size = 262144
max_inflight_count = 100
dynamic_filters = true
"""


def write_broker_config(folder: Path) -> tuple[Path, int]:
    """Write the configuration of the broker into `folder`; returns its path and the port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    path = folder / "rumqttd.toml"
    path.write_text(_CONFIG.format(port=port))
    return path, port


def create_broker(folder: Path) -> tuple[Any, str]:
    """A broker as a context manager, and its URL; its configuration lies in `folder`."""
    import iotcore

    folder.mkdir(parents=True, exist_ok=True)
    path, port = write_broker_config(folder)
    return iotcore.Broker(config_path=str(path)), f"mqtt://127.0.0.1:{port}"
