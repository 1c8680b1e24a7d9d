"""Where the bundle of a camera goes, and how the camera's file names it."""

from __future__ import annotations

from pathlib import Path

from vedette.runtime.config.installed_bundle import INSTALLED
from vedette.runtime.errors import ConfigProblem

from .durable_files import PlannedFile


def place_bundle(bundle: str, cameras: Path, present: str) -> tuple[str, list[PlannedFile]]:
    """The value of the key `bundle`, and the files to write for it: a copy beside the camera's file.

    Args:
        bundle: absolute path of the bundle, or `installed:NAME`
        cameras: folder of the camera's file
        present: the key's present value; kept if it names that very file. Empty: none

    Raises:
        ConfigProblem: the bundle cannot be read.
    """
    if bundle.startswith(INSTALLED):
        return bundle, []
    path = Path(bundle)
    if present and not present.startswith(INSTALLED) and (cameras / present).resolve() == path.resolve():
        return present, []
    if path.resolve().parent == cameras.resolve():
        return path.name, []
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigProblem(f"{path}: {error.strerror}", hint="check the path of the bundle (--bundle)") from None
    return path.name, [PlannedFile(cameras / path.name, content)]
