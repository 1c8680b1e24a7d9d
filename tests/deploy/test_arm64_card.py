"""A card for arm64 as `make card ARCH=arm64` makes it: its file systems, and the first boot's command under emulation.

systemd does not run under emulation, so nothing boots: the command of the unit is read from the card and run.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from card import mounted_card
from emulated_system import EmulatedSystem, why_not_here
from paths import ROOT, TESTS

from vedette.deploy.seed import Seed, SeedBroker, SeedCamera, SeedDevice, render_seed

CARD = Path(os.environ.get("ARM64_CARD", ROOT / "build" / "card" / "vedette-arm64.img"))
V1 = TESTS / "bundles" / "v1"
SEED = "vedette.seed"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CARD.exists(), reason="needs a card: make deb; make card ARCH=arm64"),
    pytest.mark.skipif(shutil.which("mcopy") is None, reason="needs mcopy: apt-get install mtools"),
]


@pytest.fixture
def system(tmp_path: Path) -> Iterator[EmulatedSystem]:
    if reason := why_not_here():
        pytest.skip(reason)
    with mounted_card(tmp_path, CARD) as root:
        system = EmulatedSystem("trixie", root)
        system.add_cores()
        yield system


def test_first_boot_takes_the_seed_once(system: EmulatedSystem, tmp_path: Path) -> None:
    units = system.root / "usr/lib/systemd/system"
    assert (system.root / "etc/systemd/system/multi-user.target.wants/vedette-first-boot.service").is_symlink()
    assert (system.root / "etc/machine-id").read_text() == ""
    assert not list(system.root.glob("etc/ssh/ssh_host_*"))
    assert "LABEL=bootfs /boot/firmware vfat" in (system.root / "etc/fstab").read_text()
    assert system.run("uname -m; dpkg-query -W -f '${Status} ${Architecture}' vedette").splitlines() == [
        "aarch64",
        "install ok installed arm64",
    ]

    line = system.root / "opt/line"
    line.mkdir()
    cv2.imwrite(str(line / "part.png"), np.full((96, 96, 3), 128, np.uint8))

    # The box's files go onto the FAT partition and are read from it, as its kernel would.
    seed = Seed(
        instance="box7-1",
        device=SeedDevice(name="box7", site="plant"),
        broker=SeedBroker(url="mqtts://broker.plant:8883", username="box7", password="s3cret"),
        cameras=(SeedCamera(name="door", source="file:/opt/line", bundle="weave.vedette"),),
        keys={"weave.pub": (V1 / "vedette.pub").read_text()},
    )
    box, image, firmware = tmp_path / "box", tmp_path / "card.img", system.root / "boot/firmware"
    box.mkdir()
    (box / SEED).write_text(render_seed(seed))
    shutil.copy(V1 / "weave.vedette", box)
    subprocess.run(["cp", "--sparse=always", str(CARD), str(image)], check=True)
    subprocess.run(["mcopy", "-o", "-i", f"{image}@@1M", *map(str, box.iterdir()), "::"], check=True)
    for path in box.iterdir():
        subprocess.run(["mcopy", "-i", f"{image}@@1M", f"::{path.name}", str(firmware)], check=True)

    lines = (units / "vedette-first-boot.service").read_text().splitlines()
    (command,) = (line.removeprefix("ExecStart=") for line in lines if line.startswith("ExecStart="))
    said = system.run(command)
    assert not (firmware / SEED).exists(), said
    assert (firmware / f"{SEED}.result").read_text() == "ok: instance box7-1, device box7, cameras door\n"
    assert (system.root / "etc/vedette/cameras/door.toml").exists()
    assert b"s3cret" not in b"".join(path.read_bytes() for path in firmware.iterdir())
    again = system.start(command)
    assert "vedette.seed" in again.communicate()[0]
    assert again.returncode
