"""A real Home Assistant core in a process of its own, of a Python that has it."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

COMMAND = shlex.split(os.environ.get("VEDETTE_HOME_ASSISTANT", ""))
"""A command that starts a Python with the packages homeassistant (from 2024.12 on) and paho-mqtt; empty: none is here.

For example `chroot /srv/trixie /venv/bin/python`: Home Assistant needs a newer Python than Debian 12 has.
"""


class HomeAssistantProcess:
    """Home Assistant at the broker on a port of this machine; it starts with no entities."""

    def __init__(self, port: int, folder: Path) -> None:
        script = Path(__file__).with_name("home_assistant_probe.py").read_text()
        self.log = folder / "home-assistant.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*COMMAND, "-c", script, str(port)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self.process.stdout.readline() == "ready\n", self.log.read_text()

    def ask(self, line: str) -> Any:
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def state(self, entity: str) -> str | None:
        """The state of an entity; None: there is none of that name."""
        found: dict[str, Any] = self.ask("states").get(entity, {})
        return found.get("state")

    def wait_for(self, wait_until: Callable[..., None], entity: str, *states: str | None) -> None:
        wait_until(lambda: self.state(entity) in states, f"{entity} to be {states}", 60)

    def close(self) -> None:
        self.process.stdin.close()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
