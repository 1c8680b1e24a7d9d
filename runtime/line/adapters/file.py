"""Triggers from a file, for replay: `file:triggers.txt`, relative to the camera's file.

Each line is a time in seconds after the start, and a serial number if there is one. An empty line and what follows `#`
are left out. The daemon ends when the last part has its verdict.

    0.5  A-0001
    0.6  A-0002
"""

from __future__ import annotations

import math
import threading
import time
from urllib.parse import unquote

from ...config.configuration import Config
from ...errors import UNREADABLE, ConfigProblem
from ...plugin_tables import split_url
from ..handshake import Outputs
from . import LineInputs


class TriggerFile:
    """The adapter `file:`; nobody reads its outputs."""

    fault = ""

    def __init__(self, settings: Config) -> None:
        assert settings.trigger is not None
        path = settings.base / unquote(split_url(settings.trigger.source, "trigger.source").path)
        try:
            lines = path.read_text().splitlines()
        except OSError as error:
            raise ConfigProblem(f"trigger.source: {path}: {error.strerror}", hint="check the path") from None
        except UNREADABLE:
            raise ConfigProblem(f"trigger.source: {path} is no text", hint="write a time in each line") from None
        self.triggers = [
            parsed for number, line in enumerate(lines) if (parsed := _parse(f"{path}:{number + 1}", line))
        ]
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._run, name="triggers", daemon=True)

    def start(self, inputs: LineInputs) -> None:
        self.inputs, self.started = inputs, time.monotonic()
        self.thread.start()

    def _run(self) -> None:
        for moment, serial in sorted(self.triggers, key=lambda each: each[0]):
            if self.stopping.wait(max(0.0, self.started + moment - time.monotonic())):
                return
            self.inputs.trigger(serial)
        self.inputs.end()

    def show(self, outputs: Outputs) -> None:
        """Does nothing."""

    def close(self) -> None:
        self.stopping.set()


def _parse(place: str, line: str) -> tuple[float, str] | None:
    words = line.partition("#")[0].split(maxsplit=1)
    if not words:
        return None
    try:
        moment = float(words[0])
    except ValueError:
        moment = math.nan
    if not 0 <= moment < math.inf:
        hint = "begin each line with seconds after the start, as in: 0.5 A-0001"
        raise ConfigProblem(f"trigger.source: {place}: {words[0]!r} is no time", hint=hint)
    return moment, words[1].strip() if len(words) > 1 else ""
