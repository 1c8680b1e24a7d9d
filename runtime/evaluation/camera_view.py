"""What a camera shows its model of a picture: not its privacy zones, and nothing outside of its region of interest."""

from __future__ import annotations

from pathlib import Path

import msgspec

from ..bundle.manifest import Manifest
from ..camera.privacy_warnings import fitted_zones
from ..config.configuration import load_config
from ..config.polygon import Polygon


class CameraView(msgspec.Struct, frozen=True):
    """Polygons of [x, y], fractions 0…1 of the frame from the top left."""

    zones: tuple[Polygon, ...]
    """Privacy zones, which are black."""
    region: Polygon = ()
    """The region of interest; empty: the whole frame."""


def read_view(manifest: Manifest, folder: Path, camera: str | None) -> CameraView:
    """The view of a camera; without one, that of the images of the build.

    Args:
        manifest: of the bundle
        folder: of the configuration
        camera: name of the camera; None: no camera

    Raises:
        BundleProblem: the manifest holds no polygons where the zones of its build belong.
        ConfigProblem: there is no such camera, or its configuration is wrong.
    """
    fitted = fitted_zones(manifest)
    if camera is None:
        return CameraView(fitted)
    settings = load_config(folder, camera)
    return CameraView(settings.privacy.zones or fitted, settings.region)
