"""The decoder of YOLOv8 and similar detectors: class scores, and distance distributions from the cell's center.

It follows the published last layer of that family: four distributions of 16 bins (Li et al., "Generalized Focal Loss",
2020) around the center of the cell, in strides, and a sigmoid for each class; there is no objectness. NanoDet-m has the
same form with other bins.

Weights with this name are under AGPL-3.0, which binds everyone who puts them into a product. Vedette contains none and
recommends none. The decoder is for networks of this shape with another licence: declare it as model.licence.
"""

from __future__ import annotations

from .nanodet import NanoDetDecoder


class YoloV8Decoder(NanoDetDecoder):
    """Decodes `box0`, `class0`, …: 64 and K channels."""
