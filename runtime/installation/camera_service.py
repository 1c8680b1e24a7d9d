"""The service of a camera whose file was changed: systemd restarts it, or its user has to."""

from __future__ import annotations

import subprocess
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
        return f"end the daemon of {camera}, if it runs; then vedette run {camera} --config {folder}"
    return f"systemctl restart vedette@{camera}"


def restart_camera(folder: Path, camera: str) -> str | None:
    """Restarts a camera's unit if it runs; returns the command that is left, if the unit cannot be restarted.

    The unit of the same name stays as it is if `folder` is not the one that it reads.
    """
    command = ["systemctl", "try-restart", f"vedette@{camera}"]
    if folder.absolute() != SYSTEM_FOLDER or not SYSTEMD.is_dir():
        return name_restart(folder, camera)
    done = subprocess.run(command, check=False, capture_output=True)  # noqa: S603
    return None if done.returncode == 0 else name_restart(folder, camera)
