"""What is checked and told once, when a daemon starts, before it loads anything large."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path

from ..bundle.release_memory import open_bundle_to_run
from ..camera.privacy_warnings import describe_zone_difference
from ..config import credential_warnings
from ..config.camera_products import list_product_settings
from ..config.configuration import Config, load_config
from ..errors import Problem
from .process_claim import claim_camera

log = logging.getLogger(__name__)

_OWNER_ONLY = 0o077  # files 0600, folders 0700


@contextlib.contextmanager
def start_camera(folder: Path, camera: str) -> Iterator[Config]:
    """Prepares this process for the daemon of a camera, and claims the camera until the context is left.

    Args:
        folder: with vedette.toml
        camera: name of the camera

    Yields:
        its configuration

    Raises:
        Problem: the configuration is wrong, or another process watches the camera.
    """
    settings = load_config(folder, camera)
    before = os.umask(_OWNER_ONLY)  # whatever a daemon writes, under systemd or not
    try:
        with claim_camera(settings):
            for warning in credential_warnings.list_warnings(settings):
                log.warning("%s", warning)
            _warn_of_zones(settings)
            yield settings
    finally:
        os.umask(before)


def _warn_of_zones(settings: Config) -> None:
    if not settings.privacy.zones:
        return
    for each in list_product_settings(settings):
        with contextlib.suppress(Problem):  # the daemon reports it
            manifest = open_bundle_to_run(each.bundle, each.keys, each.state_folder).manifest
            if warning := describe_zone_difference(each.privacy, manifest):
                log.warning("%s", warning)
