"""An MQTT broker process that tests kill and start again."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

from waiting import wait_for

from vedette.compress.demo.broker import write_broker_config


class RumqttdBroker:
    """rumqttd in a process of its own, which can be killed and started again on the same port."""

    def __init__(self, folder: Path) -> None:
        self.config, self.port = write_broker_config(folder)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        code = f"import iotcore; iotcore.IotCoreBroker(config_path={str(self.config)!r}).run_forever()"
        self.process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL)
        wait_for(self.answers, "the broker to listen")

    def answers(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()
