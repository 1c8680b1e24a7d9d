"""A card, from the table to the first message: provisioned, booted by systemd, seen at the broker; no command on it.

The machine shares this one's network. The card's FAT partition is written and read by mtools, and given to the machine
as a folder: not every kernel has the file system.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from card import CARD, MARKS, Machine, mounted_card
from mosquitto import Mosquitto
from paths import ROOT, TESTS
from waiting import patience, wait_for

from vedette.runtime.cli import main

FAT = "@@1M"
SECRETS = (b"PRIVATE KEY", b"password")
STORED = TESTS / "bundles" / "v1"
PAGE = ROOT / "docs" / "from-card-to-event.md"

pytestmark = MARKS


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    with mounted_card(tmp_path) as root:
        yield root


def make_parts(folder: Path) -> None:
    """Pictures of a line, as a recording."""
    folder.mkdir()
    rng = np.random.default_rng(5)
    for number in range(20):
        cv2.imwrite(str(folder / f"{number:03}.png"), rng.integers(0, 255, (96, 96, 3), np.uint8))
    subprocess.run(["chmod", "-R", "a+rX", str(folder)], check=True)


def provision(tmp_path: Path, port: int) -> list[str]:
    """Follows "Many boxes" of the page up to the cards; returns the command that watches them come up."""
    section = PAGE.read_text().partition("\n## Many boxes\n")[2].partition("\n## ")[0]
    *commands, watch = [shlex.split(line)[1:] for line in section.splitlines() if line.startswith("    vedette ")]
    shutil.copy(STORED / "weave.vedette", tmp_path / "cells.vedette")
    shutil.copy(STORED / "vedette.pub", tmp_path)
    (tmp_path / "fleet.csv").write_text("name,line\nbox-001,line1\n")
    (tmp_path / "fleet.toml").write_text(
        f'[broker]\nurl = "mqtts://127.0.0.1:{port}"\nfolder = "{tmp_path}/out/broker"\nlocal_port = 0\n'
        '[defaults]\nsource = "file:/opt/parts?fps=5&loop=true"\nbundle = "cells.vedette"\n'
    )
    for command in commands:
        main(command)
    assert watch[-1] == "--watch"
    return watch


def write_fat(tmp_path: Path) -> Path:
    """The box's files, written to a FAT partition and read from it: names and bytes survive."""
    image, fat, box = tmp_path / "card.img", tmp_path / "fat", tmp_path / "out" / "boxes" / "box-001"
    subprocess.run(["cp", "--sparse=always", str(CARD), str(image)], check=True)
    subprocess.run(["mcopy", "-o", "-i", f"{image}{FAT}", *map(str, box.iterdir()), "::"], check=True)
    fat.mkdir()
    for path in box.iterdir():
        subprocess.run(["mcopy", "-i", f"{image}{FAT}", f"::{path.name}", str(fat)], check=True)
        assert (fat / path.name).read_bytes() == path.read_bytes()
    image.unlink()
    return fat


def test_a_box_comes_up_with_no_command_on_it(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_proof: Callable[..., None]
) -> None:
    monkeypatch.chdir(tmp_path)
    links = root / "usr/lib/systemd/system/multi-user.target.wants"
    assert (links / "vedette-first-boot.service").is_symlink(), "the package enables it"
    assert not [path for path in (root / "etc/vedette").rglob("*") if path.is_file()], "it would hide what slots share"
    make_parts(root / "opt" / "parts")
    broker = Mosquitto(tmp_path / "mosquitto")
    watch, state = provision(tmp_path, broker.port), tmp_path / "mosquitto"
    broker.config.write_text(f"user root\npersistence_location {state}/\ninclude_dir {tmp_path}/out/broker\n")
    broker.start()
    fat, log = write_fat(tmp_path), tmp_path / "boot.log"
    switched_on = time.monotonic()
    machine = Machine(root, log, f"--bind={fat}:/boot/firmware")
    machine.switch_on()
    try:
        main([*watch, "--wait", str(120 * patience())])
        record_proof(tries=2, losses=0, seconds_to_message=round(time.monotonic() - switched_on, 1))
        wait_for(lambda: not (fat / "vedette.seed").exists(), "the seed to be removed")
        left = b"".join(path.read_bytes() for path in fat.iterdir())
        assert not [secret for secret in SECRETS if secret in left]
        machine.switch_off()
        broker.kill()
        (state / "mosquitto.db").unlink()  # it forgets the first message
        broker.start()

        machine.switch_on()  # the second boot has no seed, and comes up as well
        address = next(iter((root / "etc/vedette").glob("vedette.toml"))).read_text()
        assert f"mqtts://127.0.0.1:{broker.port}" in address
        main([*watch, "--wait", str(120 * patience())])
    except SystemExit:
        pytest.fail(f"the box did not come up: {log.read_text(errors='replace')[-3000:]}")
    finally:
        machine.switch_off()
        broker.kill()
