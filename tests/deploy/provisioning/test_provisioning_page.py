"""The commands and files of docs/provisioning.md work as they stand there."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from paths import ROOT

from vedette.deploy.provisioning.fleet_cells import CHECKS
from vedette.deploy.seed import read_seed
from vedette.runtime.cli import main

PAGE = (ROOT / "docs" / "provisioning.md").read_text()


def block(language: str) -> str:
    (text,) = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    return text


def test_the_commands_of_the_page_make_three_cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("fleet.csv").write_text(block("csv"))
    Path("fleet.toml").write_text(block("toml"))
    Path("vedette.pub").write_text("a public key\n")
    Path("cells.vedette").write_bytes(b"a bundle")
    for command in block("sh").splitlines():
        main(shlex.split(command)[1:])
    for line in re.findall(r"^    vedette (ca .*?)(?:  #.*)?$", PAGE, re.MULTILINE)[1:]:
        main(shlex.split(line))
    seed = read_seed(Path("out/boxes/box-002/vedette.seed"))
    assert (seed.device.site, seed.device.line, seed.device.timezone) == ("plant", "line1", "Europe/Berlin")
    assert seed.broker.url == "mqtts://broker.plant:8883"
    assert seed.keys == {"vedette.pub": "a public key\n"}
    assert sorted(path.name for path in Path("out/boxes").iterdir()) == ["box-001", "box-002", "box-003"]


def test_the_page_lists_every_column() -> None:
    rows = re.search(r"\| column \| meaning \|\n(.*?)\n\n", PAGE, re.DOTALL)
    assert rows is not None
    first_cells = " ".join(row.split("|")[1] for row in rows[1].splitlines())
    assert set(re.findall(r"`([a-z_]+)`", first_cells)) == set(CHECKS)
