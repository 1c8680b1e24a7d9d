"""The key `bundle` of a camera's file, changed in its text: comments and order stay."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

from ..atomic_file import write_atomically
from ..config.camera_products import list_installed
from ..config.configuration import camera_names, load_config
from ..config.installed_bundle import INSTALLED
from ..errors import ConfigProblem, Problem

LAST_GOOD = ".last"
_BUNDLE_LINE = re.compile(r"""^(\s*bundle\s*=\s*)("[^"\n]*"|'[^'\n]*')""", re.MULTILINE)


def point_to_installed(folder: Path, camera: str, name: str) -> bool:
    """Makes a camera run the installed product `name`; the file as it was is kept as `NAME.toml.last`.

    Returns:
        False: it does so already.

    Raises:
        ConfigProblem: the file is wrong, or has no line `bundle = "…"` or several products.
        MachineProblem: it cannot be written.
    """
    settings = load_config(folder, camera)
    if name in list_installed(settings):
        return False
    path = settings.camera_file
    if settings.products:
        hint = f'write bundle = "{INSTALLED}{name}" into the table of the product, and start the camera again'
        raise ConfigProblem(f"{path}: it has several products, and nothing says which one this is", hint=hint)
    text = path.read_text(encoding="utf-8-sig")
    changed, count = _BUNDLE_LINE.subn(rf'\g<1>"{INSTALLED}{name}"', text, count=1)
    if not count:
        raise ConfigProblem(f'{path}: no line bundle = "…"', hint=f'write bundle = "{INSTALLED}{name}" into it')
    hint = "run the command as root (sudo)"
    write_atomically(last_good_file(path), text.encode(), hint, like=path)
    write_atomically(path, changed.encode(), hint, like=path)
    try:
        load_config(folder, camera)
    except Problem:
        write_atomically(path, text.encode(), hint, like=path)
        raise
    return True


def restore_last_good(folder: Path, camera: str) -> Path:
    """Puts the last good file of a camera back; the one that it replaces becomes the last one.

    Raises:
        ConfigProblem: there is none.
        MachineProblem: the file cannot be written.
    """
    path = folder / "cameras" / f"{camera}.toml"
    last = last_good_file(path)
    try:
        good = last.read_bytes()
    except OSError as error:
        if not path.exists():
            hint = f"there are {', '.join(camera_names(folder)) or 'none'}"
            raise ConfigProblem(f"{path}: no such camera", hint=hint) from None
        hint = "it is written when vedette install or vedette configure changes the camera's file"
        raise ConfigProblem(f"{last}: {error.strerror}", hint=hint) from None
    present = path.read_bytes() if path.exists() else b""
    write_atomically(path, good, "run the command as root (sudo)", like=last)
    if present:
        write_atomically(last, present, "run the command as root (sudo)", like=last)
    return path


def last_good_file(path: Path) -> Path:
    """Where the last good content of a camera's file is."""
    return path.with_name(path.name + LAST_GOOD)


def cameras_of(name: str, folder: Path) -> list[str]:
    """The cameras that run an installed product; cameras with a faulty file are left out."""
    cameras = []
    for camera in camera_names(folder):
        with contextlib.suppress(Problem):
            if name in list_installed(load_config(folder, camera)):
                cameras.append(camera)
    return cameras
