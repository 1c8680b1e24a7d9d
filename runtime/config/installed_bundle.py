"""Where the bundle of a camera is: a path, or the current release of an installed product."""

from __future__ import annotations

import re
from pathlib import Path

from ..errors import ConfigProblem

MODELS_FOLDER = "models"
"""Folder of the installed models in the state folder; no camera can have this name."""
REQUESTS_FOLDER = "configuration"
"""Folder of the requests to change a camera's file in the state folder; no camera can have this name."""
CURRENT_BUNDLE = Path("current", "bundle.vedette")
"""The current release of an installed model, below the folder of its product."""
INSTALLED = "installed:"


def resolve_bundle(bundle: str, camera_file: Path, state: Path) -> tuple[Path, str]:
    """The path of a bundle, and the product that is installed; empty if the camera's file names a path.

    Args:
        bundle: the key of the camera's file: a path, or `installed:NAME`
        camera_file: where the key stands; a relative path starts at its folder
        state: state folder of the device

    Raises:
        ConfigProblem: what follows `installed:` is no name.
    """
    if not bundle.startswith(INSTALLED):
        return camera_file.parent.resolve() / bundle, ""
    name = bundle.removeprefix(INSTALLED)
    if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*", name):
        hint = 'write bundle = "installed:NAME"; vedette models lists the names'
        raise ConfigProblem(f"{camera_file}: bundle: {name!r} is not a name", hint=hint)
    return state / MODELS_FOLDER / name / CURRENT_BUNDLE, name
