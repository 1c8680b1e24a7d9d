"""A lowered float network -> int8 ONNX, each tensor at the scale that ranges.py says."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import onnx
from numpy.typing import NDArray

from vedette.runtime.manifest import Input

from ..techniques.integers import quantised
from ..techniques.quantise import fed
from .ranges import Scales


def int8(model: onnx.ModelProto, images: Iterable[NDArray[Any]], spec: Input) -> onnx.ModelProto:
    """An int8 model with integer inputs and outputs: image 1 x H x W x 3, u8.

    Args:
        model: from `lowering.lower`: one input, 1 x 3 x H x W, normalised
        images: 1 x H x W x 3, u8, that ranges are taken from
        spec: how a pixel becomes a real value
    """
    model = onnx.ModelProto.FromString(model.SerializeToString())  # some scales ask for another graph
    feeds = fed(model, images, spec)
    return quantised(model, Scales(model, feeds, (1 / spec.std, round(spec.mean))).overrides(), feeds[0])
