"""The services of cameras whose files were changed: systemd restarts them, or their user has to."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from pathlib import Path

from ..config.configuration import SYSTEM_FOLDER

SYSTEMD = Path("/run/systemd/system")  # it exists if systemd is the service manager: sd_booted(3)


def name_restart(folder: Path, camera: str) -> str:
    """The command that makes a camera run with its changed file. The unit reads /etc/vedette alone.

    Args:
        folder: with vedette.toml
        camera: its name
    """
    if folder.absolute() != SYSTEM_FOLDER:
        return f"end the daemon of {camera}, if it runs; then vedette run {camera} --config {folder.absolute()}"
    return f"systemctl restart vedette@{camera}"


def restart_cameras(folder: Path, cameras: Iterable[str]) -> list[str]:
    """Restarts the units that run the cameras, each once; returns the commands that are left to the user.

    Units that failed are started: a wrong file may have ended them. All stay as they are if `folder` is not the one
    that they read.
    """
    if folder.absolute() != SYSTEM_FOLDER or not SYSTEMD.is_dir():
        return [name_restart(folder, camera) for camera in cameras]
    listed = _systemctl("list-units", "--plain", "--no-legend", "--state=active,activating,failed", "vedette@*.service")
    running = [line.split()[0].removesuffix(".service") for line in listed.stdout.splitlines() if line.strip()]
    left: dict[str, bool] = {}
    for camera in cameras:
        # One unit may run several cameras: vedette@door:yard.
        units = [unit for unit in running if camera in unit.removeprefix("vedette@").split(":")]
        for unit in units or [f"vedette@{camera}"]:
            if unit not in left:
                left[unit] = not units or _systemctl("restart", unit).returncode != 0
    return [f"systemctl restart {unit}" for unit, is_left in left.items() if is_left]


def _systemctl(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemctl", *arguments], check=False, capture_output=True, text=True)  # noqa: S603, S607
