"""Settings of image augmentation: the table `[augment]` of a goal file."""

from __future__ import annotations

from typing import Annotated

import msgspec

_SmallFraction = Annotated[float, msgspec.Meta(ge=0, le=0.5)]


class AugmentationSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[augment]`: the largest variation of each training image. 0 or false switches a kind off.

    A variation as large as a defect hides the defect, so each amount is small by default.
    """

    shift: _SmallFraction = 0.03
    """Largest shift, as a fraction of the side. A larger shift than the misplacement of a part hides this defect."""
    rotate: Annotated[float, msgspec.Meta(ge=0, le=180)] = 3.0
    """Largest rotation in degrees, in either direction. It hides parts that are mounted askew by less."""
    flip: bool = False
    """Flips left-right and upside down, each with probability 0.5. Use it for parts without an orientation, such as
    surfaces or solar cells. It hides parts in a wrong orientation."""
    light: _SmallFraction = 0.1
    """Largest change of brightness, as a fraction of the pixel range, and of contrast, as a fraction of the contrast.
    It hides stains that are as faint."""
    illumination: _SmallFraction = 0.0
    """Largest change of the lamp: gain and gamma change by up to this fraction, in either direction, and each color
    channel by up to half of it. It hides discoloration that is as faint."""
    blur: Annotated[float, msgspec.Meta(ge=0, le=5)] = 0.5
    """Largest standard deviation of the blur, in pixels of the model's input. It hides hairlines that are narrower."""
    noise: Annotated[float, msgspec.Meta(ge=0, le=0.2)] = 0.01
    """Standard deviation of the noise, as a fraction of the pixel range. It hides graininess that is as faint."""

    @property
    def is_off(self) -> bool:
        """Whether nothing is varied."""
        return not any(msgspec.structs.astuple(self))


OTHER_LAMP = AugmentationSettings(shift=0.0, rotate=0.0, light=0.0, illumination=0.2, blur=0.0, noise=0.0)
"""The default of anomaly models: another lamp alone. Without it, a gain of 0.9 alone raised false alarms to 1 on toy
figures; with it, six sets lost nothing without a change of the light (docs/accuracy.md, "Fitting to varied images")."""
