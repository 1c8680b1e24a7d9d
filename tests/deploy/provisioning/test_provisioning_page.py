"""The commands and files of docs/provisioning.md work as they stand there."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest
from paths import ROOT, TESTS

from vedette.deploy.provisioning.fleet_cells import CHECKS
from vedette.deploy.seed import read_seed
from vedette.runtime.cli import main

STORED = TESTS / "bundles" / "v1"
PAGE = (ROOT / "docs" / "provisioning.md").read_text()


def block(language: str) -> str:
    (text,) = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    return text


def test_the_commands_of_the_page_make_three_cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("fleet.csv").write_text(block("csv"))
    Path("fleet.toml").write_text(block("toml"))
    (public,) = STORED.glob("*.pub")
    shutil.copy(public, "vedette.pub")
    shutil.copy(STORED / "weave.vedette", "cells.vedette")
    for command in block("sh").splitlines():
        main(shlex.split(command)[1:])
    for line in re.findall(r"^    vedette (ca .*?)(?:  #.*)?$", PAGE, re.MULTILINE)[1:]:
        main(shlex.split(line))
    seed = read_seed(Path("out/boxes/box-002/vedette.seed"))
    assert (seed.device.site, seed.device.line, seed.device.timezone) == ("plant", "line1", "Europe/Berlin")
    assert seed.broker.url == "mqtts://broker.plant:8883"
    assert seed.keys == {"vedette.pub": public.read_text()}
    assert sorted(path.name for path in Path("out/boxes").iterdir()) == ["box-001", "box-002", "box-003"]


def test_the_page_lists_every_column() -> None:
    rows = re.search(r"\| column \| meaning \|\n(.*?)\n\n", PAGE, re.DOTALL)
    assert rows is not None
    first_cells = " ".join(row.split("|")[1] for row in rows[1].splitlines())
    assert set(re.findall(r"`([a-z_]+)`", first_cells)) == set(CHECKS)


def test_a_bundle_that_no_trusted_key_signed_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("fleet.csv").write_text("name,source,bundle\nbox1,v4l2:/dev/video0,a.vedette\nbox2,,\n")
    shutil.copy(STORED / "weave.vedette", "a.vedette")
    main(["keygen", "keys"])
    Path("fleet.toml").write_text('keys = ["keys/vedette.pub"]\n[broker]\nurl = "mqtt://x"\nlogin = "password"\n')
    with pytest.raises(SystemExit) as caught:
        main(["provision", "fleet.csv", "--out", "out", "--settings", "fleet.toml"])
    assert caught.value.code == 3
    assert "a.vedette" in capsys.readouterr().err
    assert not Path("out").exists()
