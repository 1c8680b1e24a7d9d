"""`vedette install`: installs a bundle on this device."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click

from ..config.configuration import load_config
from ..installation.camera_bundle import cameras_of, point_to_installed
from ..installation.camera_service import restart_cameras
from ..installation.installation_check import check_bundle, preview_installation
from ..installation.installation_preview import InstallationPreview
from ..installation.installer import Installation, install_bundle
from ..installation.probation_record import Conditions
from . import options


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
@click.option("--check", is_flag=True, help="Only say what would change: the bundle is verified, no model runs.")
@options.config
@options.as_json
def install(
    bundle: Path,
    cameras: tuple[str, ...],
    minutes: float,
    max_ms: float | None,
    band: float,
    check: bool,
    folder: Path,
    as_json: bool,
) -> None:
    """Install BUNDLE: verify it, try it on this machine, and let the cameras of its product run it on probation.

    A release that fails its probation is rolled back by the daemon, which sends an event about it.
    """
    for camera in cameras:
        load_config(folder, camera)
    if check:
        preview = preview_installation(check_bundle(bundle, folder, cameras))
        if as_json:
            options.print_json(preview)
        else:
            _print_preview(preview)
        return
    conditions = Conditions(minutes=minutes, max_ms=max_ms, band=band)
    installation = install_bundle(bundle, folder, conditions, cameras, partial(click.echo, err=True))
    changed = [camera for camera in cameras if point_to_installed(folder, camera, installation.name)]
    left = restart_cameras(folder, changed)
    if as_json:
        options.print_json(installation)
    else:
        _print_installation(installation, cameras_of(installation.name, folder), changed, bool(left))
    for command in left:
        click.echo(f"left to do: {command}", err=True)


def _print_preview(preview: InstallationPreview) -> None:
    click.echo(f"{preview.name}: release {preview.release}, signed by {preview.key_file} ({preview.signer})")
    click.echo(f"security review of the build: {preview.review}")
    now = "no release is installed" if preview.current is None else f"release {preview.current} is current"
    before = "none" if preview.previous is None else preview.previous
    click.echo(f"now: {now}; a rollback would then take: {before}")
    click.echo(f"run by: {', '.join(preview.cameras) or 'no camera'}")
    if preview.removed:
        click.echo(f"removed: release {', '.join(map(str, preview.removed))}")


def _print_installation(installation: Installation, cameras: list[str], changed: list[str], is_left: bool) -> None:
    """What is installed, and which cameras run it.

    Args:
        installation: the installation
        cameras: run the product
        changed: of these, those whose files were changed just now
        is_left: whether the user has to start a changed camera
    """
    click.echo(f"{installation.name}: release {installation.release} is current")
    if installation.probation_minutes:
        click.echo(
            f"on probation for {installation.probation_minutes:g} minutes; release before it: {installation.previous}"
        )
    if present := [camera for camera in cameras if camera not in changed]:
        click.echo(f"run by: {', '.join(present)}; a running daemon takes it within seconds")
    if changed:
        how = "from its next start on" if is_left else "its service has been started again"
        click.echo(f"run by: {', '.join(changed)}; {how}")
    if not cameras:
        click.echo(f'no camera runs it: use --camera, or write bundle = "installed:{installation.name}"')
