"""`vedette install`: installs a bundle on this device."""

from __future__ import annotations

import subprocess
from functools import partial
from pathlib import Path

import click

from ..config.configuration import load_config
from ..installation.camera_bundle import point_to_installed
from ..installation.installer import Installation, cameras_of, install_bundle
from ..installation.probation_record import Conditions
from . import options

SYSTEMD = Path("/run/systemd/system")  # it exists if systemd is the service manager: sd_booted(3)


@click.command()
@options.bundle
@click.option("--camera", "cameras", multiple=True, help="Make this camera run the product from now on.")
@click.option(
    "--probation",
    "minutes",
    type=click.FloatRange(0, 10_000),
    default=10.0,
    show_default=True,
    metavar="MINUTES",
    help="How long a camera must run with it before it is accepted; 0: it is accepted at once.",
)
@click.option(
    "--max-ms",
    type=click.FloatRange(0, min_open=True),
    help="Most milliseconds that 95 % of the frames may take on probation. [default: the goal of the bundle]",
)
@click.option(
    "--band",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    default=0.05,
    show_default=True,
    help="Share of frames on which it may decide differently from the release before.",
)
@options.config
@options.as_json
def install(
    bundle: Path,
    cameras: tuple[str, ...],
    minutes: float,
    max_ms: float | None,
    band: float,
    folder: Path,
    as_json: bool,
) -> None:
    """Install BUNDLE: verify it, try it on this machine, and let the cameras of its product run it on probation.

    A release that fails its probation is rolled back by the daemon, which sends an event about it.
    """
    for camera in cameras:
        load_config(folder, camera)
    conditions = Conditions(minutes=minutes, max_ms=max_ms, band=band)
    installation = install_bundle(bundle, folder, conditions, cameras, partial(click.echo, err=True))
    changed = [camera for camera in cameras if point_to_installed(folder, camera, installation.name)]
    left = _restart_units(changed)
    if as_json:
        options.print_json(installation)
    else:
        _print_installation(installation, cameras_of(installation.name, folder))
    for unit in left:
        click.echo(f"left to do: systemctl restart {unit}", err=True)


def _print_installation(installation: Installation, cameras: list[str]) -> None:
    click.echo(f"{installation.name}: release {installation.release} is current")
    if installation.probation_minutes:
        click.echo(f"on probation for {installation.probation_minutes:g} minutes; before it: {installation.previous}")
    if cameras:
        click.echo(f"run by: {', '.join(cameras)}; a running daemon takes it within seconds")
    else:
        click.echo(f'no camera runs it: use --camera, or write bundle = "installed:{installation.name}"')


def _restart_units(cameras: list[str]) -> list[str]:
    """Restarts the units that run the cameras, each once; returns those that are left to the user."""
    if not SYSTEMD.is_dir():
        return [f"vedette@{camera}" for camera in cameras]
    listed = _systemctl("list-units", "--plain", "--no-legend", "--state=active,activating", "vedette@*.service")
    running = {line.split()[0].removesuffix(".service") for line in listed.stdout.splitlines() if line.strip()}
    left: dict[str, bool] = {}
    for camera in cameras:
        # One unit may run several cameras: vedette@door:yard.
        units = [unit for unit in running if camera in unit.removeprefix("vedette@").split(":")]
        for unit in units or [f"vedette@{camera}"]:
            if unit not in left:
                left[unit] = not units or _systemctl("restart", unit).returncode != 0
    return [unit for unit, is_left in left.items() if is_left]


def _systemctl(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemctl", *arguments], check=False, capture_output=True, text=True)  # noqa: S603, S607
