"""A card, from the table to the first message: provisioned, booted by systemd, seen at the broker; no command on it.

The card is that of `make card`. systemd-nspawn boots it as a machine of its own that shares this one's network, on a
copy-on-write view, so that the image stays as it is. The FAT partition is written and read by mtools, and given to the
machine as a folder: not every kernel has the file system.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from mosquitto import BINARY, Mosquitto
from paths import ROOT, TESTS
from waiting import patience, wait_for

from vedette.runtime.cli import main

CARD = Path(os.environ.get("CARD", ROOT / "build" / "card" / "vedette-amd64.img"))
FAT, MIB = "@@1M", 1 << 20
ROOT_OFFSET = 513 * MIB
NEEDED = ("systemd-nspawn", "mcopy", "mount")
SECRETS = (b"PRIVATE KEY", b"password")
STORED = TESTS / "bundles" / "v1"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(any(shutil.which(each) is None for each in NEEDED), reason=f"needs {', '.join(NEEDED)}"),
    pytest.mark.skipif(BINARY is None, reason="needs mosquitto: apt-get install mosquitto"),
    pytest.mark.skipif(not CARD.exists(), reason="needs a card: make deb card"),
]


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """The card's root file system; what is written to it is lost."""
    lower, upper, work, merged = (tmp_path / name for name in ("lower", "upper", "work", "merged"))
    for each in (lower, upper, work, merged):
        each.mkdir()
    loop = ["mount", "-o", f"loop,ro,noload,offset={ROOT_OFFSET}", str(CARD), str(lower)]
    if subprocess.run(loop, check=False, capture_output=True).returncode:
        pytest.skip("this machine has no loop devices")
    try:
        layers = f"lowerdir={lower},upperdir={upper},workdir={work}"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", layers, str(merged)], check=True)
        yield merged
    finally:
        for each in (merged, lower):
            subprocess.run(["umount", "-l", str(each)], check=False)


def boot(root: Path, fat: Path, log: Path) -> subprocess.Popen[bytes]:
    """Switches the machine on."""
    command = ["systemd-nspawn", "-q", "-D", str(root), "--register=no", "--keep-unit", f"--bind={fat}:/boot/firmware"]
    with log.open("ab") as file:
        return subprocess.Popen([*command, "-b"], stdin=subprocess.DEVNULL, stdout=file, stderr=file)


def switch_off(machine: subprocess.Popen[bytes]) -> None:
    """Tells the systemd of the machine to power off; nspawn itself would leave it running if it were killed."""
    if machine.poll() is not None:
        return
    leaders = [int(each) for each in Path(f"/proc/{machine.pid}/task/{machine.pid}/children").read_text().split()]
    for leader in leaders:
        os.kill(leader, signal.SIGRTMIN + 4)  # systemd(1): poweroff.target
    try:
        machine.wait(60 * patience())
    except subprocess.TimeoutExpired:
        for leader in leaders:
            os.kill(leader, signal.SIGKILL)
        machine.kill()
        machine.wait()


def make_parts(folder: Path) -> None:
    """Pictures of a line, as a recording."""
    folder.mkdir()
    rng = np.random.default_rng(5)
    for number in range(20):
        cv2.imwrite(str(folder / f"{number:03}.png"), rng.integers(0, 255, (96, 96, 3), np.uint8))
    subprocess.run(["chmod", "-R", "a+rX", str(folder)], check=True)


def provision(tmp_path: Path, port: int) -> list[str]:
    """Writes the card's files; returns the arguments of `vedette provision --watch`."""
    shutil.copy(STORED / "weave.vedette", tmp_path)
    (public,) = STORED.glob("*.pub")
    table, settings, out = tmp_path / "fleet.csv", tmp_path / "fleet.toml", tmp_path / "out"
    table.write_text("name,line,source,bundle\nbox-001,line1,file:/opt/parts?fps=5&loop=true,weave.vedette\n")
    settings.write_text(f'[broker]\nurl = "mqtts://127.0.0.1:{port}"\nfolder = "{out}/broker"\nlocal_port = 0\n')
    arguments = ["provision", str(table), "--out", str(out), "--settings", str(settings)]
    main(["ca", "init", str(tmp_path / "ca")])
    main([*arguments, "--ca", str(tmp_path / "ca"), "--key", str(public)])
    return [*arguments, "--watch"]


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


def test_a_box_comes_up_with_no_command_on_it(root: Path, tmp_path: Path, record_proof: Callable[..., None]) -> None:
    if not (root / "usr/lib/systemd/system/vedette-first-boot.service").exists():
        pytest.skip("the package on the card has no first boot")
    make_parts(root / "opt" / "parts")
    broker = Mosquitto(tmp_path / "mosquitto")
    watch, state = provision(tmp_path, broker.port), tmp_path / "mosquitto"
    broker.config.write_text(f"user root\npersistence_location {state}/\ninclude_dir {tmp_path}/out/broker\n")
    broker.start()
    fat, log = write_fat(tmp_path), tmp_path / "boot.log"
    switched_on = time.monotonic()
    machine = boot(root, fat, log)
    try:
        main([*watch, "--wait", str(120 * patience())])
        record_proof(tries=2, losses=0, seconds_to_message=round(time.monotonic() - switched_on, 1))
        wait_for(lambda: not (fat / "vedette.seed").exists(), "the seed to be removed")
        left = b"".join(path.read_bytes() for path in fat.iterdir())
        assert not [secret for secret in SECRETS if secret in left]
        switch_off(machine)
        broker.kill()
        (state / "mosquitto.db").unlink()  # it forgets the first message
        broker.start()

        machine = boot(root, fat, log)  # the second boot has no seed, and comes up as well
        address = next(iter((root / "etc/vedette").glob("vedette.toml"))).read_text()
        assert f"mqtts://127.0.0.1:{broker.port}" in address
        main([*watch, "--wait", str(120 * patience())])
    except SystemExit:
        pytest.fail(f"the box did not come up: {log.read_text(errors='replace')[-3000:]}")
    finally:
        switch_off(machine)
        broker.kill()
