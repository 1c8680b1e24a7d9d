"""A Home Assistant core with nothing but MQTT, run by a Python that has the package homeassistant, never by this one.

Arguments: the port of the broker. Each line on standard input is answered by one line of JSON: `states` by the states
of all entities, `devices` by the registered devices, `restart` by Home Assistant's birth message again.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any

from homeassistant import auth, bootstrap, config_entries, core, loader
from homeassistant.components import mqtt
from homeassistant.helpers import device_registry
from homeassistant.setup import async_setup_component


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


async def start(port: int) -> core.HomeAssistant:
    folder = Path(tempfile.mkdtemp())
    folder.joinpath("configuration.yaml").write_text("")
    hass = core.HomeAssistant(str(folder))
    hass.config.skip_pip = True
    loader.async_setup(hass)
    hass.config_entries = config_entries.ConfigEntries(hass, {})
    await bootstrap.async_load_base_functionality(hass)
    hass.auth = await auth.auth_manager_from_config(hass, [], [])
    assert await async_setup_component(
        hass, "http", {"http": {"server_host": ["127.0.0.1"], "server_port": free_port()}}
    )
    entry = config_entries.ConfigEntry(
        version=1,
        minor_version=2,
        domain="mqtt",
        title="broker",
        data={"broker": "127.0.0.1", "port": port, "protocol": "5", "discovery": True},
        options={},
        source=config_entries.SOURCE_USER,
        unique_id=None,
        discovery_keys={},
    )
    await hass.config_entries.async_add(entry)
    await hass.async_start()
    return hass


async def answer(hass: core.HomeAssistant, line: str) -> Any:
    if line == "states":
        await hass.async_block_till_done()
        return {each.entity_id: {"state": each.state, **each.attributes} for each in hass.states.async_all()}
    if line == "devices":
        devices = device_registry.async_get(hass).devices.values()
        return [
            {"name": each.name, "model": each.model, "ids": sorted(map(list, each.identifiers))} for each in devices
        ]
    await mqtt.async_publish(hass, "homeassistant/status", "online")
    return {}


def tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def main() -> None:
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    hass = await start(int(sys.argv[1]))
    tell("ready")
    loop = asyncio.get_running_loop()
    while line := (await loop.run_in_executor(None, sys.stdin.readline)).strip():
        tell(json.dumps(await answer(hass, line), default=str))
    await hass.async_stop()


if __name__ == "__main__":
    asyncio.run(main())
