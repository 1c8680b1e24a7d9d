"""`vedette run`: the daemon of one camera, or of several, each in its own process."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

import click

from ..camera_processes import CameraProcesses, load_libraries
from ..config.camera_products import list_product_settings
from ..config.configuration import camera_names, load_config
from ..daemon import Daemon
from ..errors import ConfigProblem, Problem
from ..installation.probation_start import count_start_on_probation
from ..monitoring.start_checks import start_camera
from . import options


@click.command()
@click.argument("cameras", metavar="[CAMERA]...", nargs=-1)
@click.option("--all", "run_all", is_flag=True, help="Run every camera that has a file.")
@options.config
def run(cameras: tuple[str, ...], run_all: bool, folder: Path) -> None:
    """Run the daemon of CAMERA: infer on its frames and send events, until a signal or the end of a recording.

    Several cameras (door yard, or door:yard for the name of a unit) run in a process each, which share the memory of
    the libraries. If one ends, the others go on; it is started again, unless its exit code is 0, 2 or 3.

    Exit code 2: wrong configuration; 3: invalid bundle; 4: this machine lacks a resource.
    """
    if run_all == bool(cameras):
        raise click.UsageError("name the cameras, or use --all")
    names = camera_names(folder) if run_all else list(dict.fromkeys(":".join(cameras).split(":")))
    if not names:
        raise ConfigProblem(f"{folder}: no camera has a file", hint="write cameras/NAME.toml; docs/config.md shows one")
    if len(names) == 1 and not run_all:
        return _run_camera(names[0], folder)
    load_libraries(_backend_names(names, folder))
    sys.exit(CameraProcesses(names, lambda camera: _run_camera(camera, folder)).run())


def _run_camera(camera: str, folder: Path) -> None:
    with start_camera(folder, camera) as settings, contextlib.ExitStack() as counted:
        for product in {each.installed: each for each in list_product_settings(settings)}.values():
            counted.enter_context(count_start_on_probation(product))
        Daemon(settings).run()


def _backend_names(cameras: list[str], folder: Path) -> set[str]:
    names = set()
    for camera in cameras:
        try:
            names.add(load_config(folder, camera).backend)
        except Problem:  # its own process tells it
            continue
    return names
