"""The examples in the pages: indented and fenced blocks, each with the page and the line where it stands."""

from __future__ import annotations

import json
import re
import textwrap
import tomllib
from typing import Any, NamedTuple

from paths import ROOT

from vedette.runtime.config.integration_tables import IntegrationSettings

PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
COMMANDS = (
    *("vedette", "make", "sudo", "pip", "python3", "python3.12", "git", "scp", "grep", "mosquitto_sub", "."),
    *(
        "mosquitto_pub",
        "python",
        "rpi-imager",
        "ssh",
        "tests/check",
        "tests/mutate",
        ".venv/bin/vedette",
        ".venv/bin/python",
    ),
)
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_GOAL_TABLES = {"data", "goal", "model", "recipe", "inspect", "augment"}
_DEVICE_TABLES = {"device", "broker", "outbox", "page", "sinks", "shifts", *IntegrationSettings.__struct_fields__}


class Example(NamedTuple):
    """A block of a page."""

    page: str
    line: int
    text: str
    language: str = ""
    before: str = ""
    """The paragraph above an indented block, in one line."""

    @property
    def toml(self) -> dict[str, Any] | None:
        """The block as TOML; None if it is something else."""
        try:
            return tomllib.loads(self.text)
        except tomllib.TOMLDecodeError:
            return None

    @property
    def kind(self) -> str:
        """What it is: goal, device, camera, fleet, profile, json, shell, python or text."""
        if self.language == "python":
            return "python"
        content = self.toml
        if content:
            return _kind_of_file(set(content))
        if self.text.lstrip().startswith("{"):
            json.loads(self.text)
            return "json"
        return "shell" if self.text.split()[0] in COMMANDS else "text"

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def _kind_of_file(tables: set[str]) -> str:
    """The kind of a TOML file with these tables and keys at its top."""
    if "task" in tables or tables <= _GOAL_TABLES:
        return "goal"
    if "defaults" in tables:
        return "fleet"
    if tables <= _DEVICE_TABLES:
        return "device"
    return "profile" if "clock_mhz" in tables else "camera"


def list_examples() -> list[Example]:
    """All blocks of all pages."""
    found = []
    for page in PAGES:
        text = page.read_text()
        for block in _FENCE.finditer(text):
            found += [Example(str(page.relative_to(ROOT)), text.count("\n", 0, block.start()) + 1, block[2], block[1])]
        blanked = _FENCE.sub(lambda fence: "\n" * fence[0].count("\n"), text)
        for block in re.finditer(r"(?<=\n\n)(?:(?: {4}.*)\n|\n(?= {4}))+", blanked):
            paragraph = blanked[: block.start()].rstrip("\n").rpartition("\n\n")[2]
            before = paragraph.rpartition("\n")[2]
            body = textwrap.dedent(block[0]).strip("\n")
            if body and not (before.lstrip().startswith(("-", "*")) and not _looks_like_code(body)):
                line = blanked.count("\n", 0, block.start()) + 1
                found.append(Example(str(page.relative_to(ROOT)), line, body, before=paragraph.replace("\n", " ")))
    return found


def _looks_like_code(body: str) -> bool:
    return body.split(maxsplit=1)[0] in COMMANDS or "=" in body or body.startswith("[")
