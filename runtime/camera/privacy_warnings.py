"""Whether the privacy zones of a camera are those that its model was fitted with."""

from __future__ import annotations

import msgspec

from ..bundle.manifest import Manifest
from ..config.camera_tables import PrivacySettings
from ..config.polygon import Polygon
from ..errors import BundleProblem

FITTED_ZONES = "privacy"
"""Key in `measured` of the manifest: the zones that were black in all images of the build."""
_TASKS = ("anomaly", "classify", "embed")  # a detector finds nothing in a black area, and nothing moves there


def fitted_zones(manifest: Manifest) -> tuple[Polygon, ...]:
    """The zones that were black in all images of the build.

    Raises:
        BundleProblem: `measured` holds something else under that key.
    """
    try:
        return msgspec.convert(manifest.measured.get(FITTED_ZONES, ()), tuple[Polygon, ...])
    except msgspec.ValidationError as error:
        raise BundleProblem(f"measured.{FITTED_ZONES}: {error}", hint="build the bundle again") from None


def describe_zone_difference(privacy: PrivacySettings, manifest: Manifest) -> str:
    """A sentence about zones that the model does not know, with the remedy; empty if there are none."""
    if manifest.task not in _TASKS or not privacy.zones:
        return ""
    fitted = fitted_zones(manifest)
    if privacy.zones == fitted:
        return ""
    state = "with other privacy zones" if fitted else "without privacy zones"
    return (
        f"{manifest.name} was fitted {state}, so it may score the black area as a defect: "
        "build it with the same polygons as [data] privacy, or check what it says of good parts"
    )
