"""Why a model found a frame unusual: where, and what a good part looks like."""

from __future__ import annotations

from typing import Any

import msgspec

from ..bundle.good_pictures import GoodPicture


class Explanation(msgspec.Struct, frozen=True):
    """The explanation of the last frame of a pipeline."""

    heat_map: Any
    """Over the whole frame, h x w, float32, in the unit of the score; NaN where the model does not see it."""
    threshold: float
    """Of the bundle."""
    nearest: GoodPicture | None
    """The picture of a good part that is most like the frame; None: the bundle has no pictures."""
