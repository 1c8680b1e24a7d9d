"""A container (systemd-nspawn) on a copy-on-write view of this machine, with this project as a wheel installs it.

A target of the test's own starts `proof.py` in it, whose reports are JSON files; the container then powers off.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mosquitto import BINARY
from paths import ROOT

MARKS = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(
        any(shutil.which(each) is None for each in ("systemd-nspawn", "useradd")), reason="needs systemd-container"
    ),
    pytest.mark.skipif(BINARY is None, reason="needs mosquitto: apt-get install mosquitto"),
]
_RUN = """\
#!/bin/sh
PYTHONHOME=/opt/python LD_LIBRARY_PATH=/opt/python/lib \
PYTHONPATH=/opt/vedette/lib:/opt/packages PYTHONDONTWRITEBYTECODE=1 \
exec /opt/python/bin/python3 -m vedette.runtime.cli "$@"
"""
_PROOF_SERVICE = """\
[Unit]
After=basic.target
[Service]
Environment=PYTHONHOME=/opt/python LD_LIBRARY_PATH=/opt/python/lib
ExecStart=/opt/python/bin/python3 /results/proof.py
ExecStopPost=/bin/systemctl --no-block poweroff
StandardOutput=file:/results/proof.log
StandardError=file:/results/proof.log
"""


@contextlib.contextmanager
def copied_machine(folder: Path, proof: str, target: str, units: Iterable[str]) -> Iterator[tuple[Path, Path]]:
    """The root directory of the container, and the folder of results.

    Args:
        folder: where both are made
        proof: the program that runs in the container
        target: the unit that the container boots to; it requires `proof.service`
        units: files of deploy/ that are installed
    """
    root, upper, work, results = (folder / name for name in ("root", "upper", "work", "results"))
    for each in (root, upper, work, results):
        each.mkdir()
    layers = f"lowerdir=/,upperdir={upper},workdir={work}"
    if subprocess.run(["mount", "-t", "overlay", "overlay", "-o", layers, root], check=False).returncode:
        pytest.skip("this machine cannot mount an overlay")
    try:
        subprocess.run(["chroot", root, "useradd", "--system", "--groups", "video", "vedette"], check=True)
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*pip, "--target", root / "opt/vedette/lib", ROOT], check=True)
        (root / "etc/vedette").mkdir()
        (root / "opt/vedette/bin").mkdir()
        (root / "opt/vedette/bin/vedette").write_text(_RUN)
        (root / "opt/vedette/bin/vedette").chmod(0o755)
        system = root / "etc/systemd/system"
        for unit in units:
            shutil.copy(ROOT / "deploy" / unit, system)
        (system / "proof.target").write_text(target)
        (system / "proof.service").write_text(_PROOF_SERVICE)
        (results / "proof.py").write_text(proof)
        yield root, results
    finally:
        subprocess.run(["umount", "-l", root], check=True)


def boot(root: Path, results: Path) -> subprocess.Popen[bytes]:
    """Boots the container."""
    # Python may be in a home folder, which the unit cannot access.
    binds = {sys.base_prefix: "/opt/python", sysconfig.get_paths()["purelib"]: "/opt/packages"}
    command = ["systemd-nspawn", "-q", "-D", str(root), "--register=no", "--keep-unit", f"--bind={results}:/results"]
    command += [f"--bind-ro={here}:{there}" for here, there in binds.items()]
    return subprocess.Popen(
        [*command, "-b", "systemd.unit=proof.target"], stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL
    )


def wait_for_report(container: subprocess.Popen[bytes], results: Path, name: str, seconds: float = 180) -> Any:
    """Waits for a report of the proof; fails with its log."""
    deadline = time.monotonic() + seconds
    while not (results / name).exists():
        log = (results / "proof.log").read_text() if (results / "proof.log").exists() else ""
        assert container.poll() is None, log
        assert time.monotonic() < deadline, log
        time.sleep(0.2)
    return json.loads((results / name).read_text())
